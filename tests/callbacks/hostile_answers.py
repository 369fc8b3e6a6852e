"""Answers by which a receiver might harm who asks: each for `tests.provider.loopback.serving`."""

import asyncio
import gzip
import zlib

from tests.provider.loopback import Responder, always, answer

BOMB = gzip.compress(bytes(20_000_000))
MUCH = b"x" * 65_536
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
UPGRADE = b"HTTP/1.1 101 Up\r\nUpgrade: tcp\r\nConnection: upgrade\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def endless(start: bytes, block: bytes, *, pause_s: float = 0) -> Responder:
    """The start, and then this block again and again, for as long as somebody listens."""

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(start)
        while True:
            writer.write(block)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return respond


def then_silent(data: bytes) -> Responder:
    """These bytes and no more, the connection left open."""

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(data)
        await asyncio.Event().wait()

    return respond


def half_closed(data: bytes) -> Responder:
    """These bytes, then the end of our side only."""

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(data)
        writer.write_eof()
        await asyncio.Event().wait()

    return respond


def encoded(encoding: str, body: bytes) -> bytes:
    return answer(body, headers=f"Content-Encoding: {encoding}\r\n")


# Judged by their status, and read no further than allowed: responder, status, whether the body was cut.
ANSWERED: dict[str, tuple[Responder, int, bool]] = {
    "just as long as allowed": (always(answer(MUCH)), 200, False),
    "a byte longer": (always(answer(MUCH + b"x")), 200, True),
    "a length of terabytes": (endless(LENGTH % 99_999_999_999_999, MUCH), 200, True),
    "the largest length": (endless(LENGTH % (2**64 - 1), MUCH), 200, False),
    "until it closes, never": (endless(b"HTTP/1.1 200 OK\r\n\r\n", MUCH), 200, True),
    "of HTTP/1.0, never closing": (endless(b"HTTP/1.0 500 No\r\n\r\n", MUCH), 500, True),
    "endless chunks": (endless(CHUNKED, b"10000\r\n" + MUCH + b"\r\n"), 200, True),
    "endless chunks of a byte": (endless(CHUNKED, b"1\r\nx\r\n" * 10_000), 200, True),
    "an endless chunk extension": (endless(CHUNKED + b"1;", MUCH), 200, True),
    "endless chunk lengths": (endless(CHUNKED, b"0" * 1_000), 200, True),
    "endless, and a failure": (endless(CHUNKED.replace(b"200", b"503"), b"10000\r\n" + MUCH + b"\r\n"), 503, True),
    "endless, and a redirect": (endless(b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:1/\r\n\r\n", MUCH), 302, True),
    "a gzip bomb": (always(encoded("gzip", BOMB)), 200, False),
    "a gzip bomb in gzip": (always(encoded("gzip, gzip", gzip.compress(BOMB))), 200, False),
    "a deflate bomb": (always(encoded("deflate", zlib.compress(bytes(20_000_000)))), 200, False),
    "a chunked gzip bomb": (
        always(CHUNKED[:-2] + b"Content-Encoding: gzip\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BOMB), BOMB)), 200, False,
    ),
    "an endless gzip stream": (endless(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + BOMB, BOMB), 200, True),
    "what claims to be br": (always(encoded("br", b"\x00\xff" * 500)), 200, False),
    "what claims to be zstd": (always(encoded("zstd", b"\x28\xb5\x2f\xfd" * 500)), 200, False),
    "an encoding nobody knows": (always(encoded("x" * 4_000, b"y")), 200, False),
    "an upgrade and a flood": (endless(UPGRADE, MUCH), 101, False),
    "a few interim answers": (always(b"HTTP/1.1 103 Early\r\n\r\n" * 20 + answer()), 200, False),
    "an empty reason and no length": (always(b"HTTP/1.1 200\r\n\r\n", close=True), 200, False),
}  # fmt: skip

# No answer comes of these: responder and kind of failure.
FAILED: dict[str, tuple[Responder, str]] = {
    "nothing at all": (then_silent(b""), "timeout"),
    "half a status line": (then_silent(b"HTTP/1.1 2"), "timeout"),
    "a header without an end": (then_silent(b"HTTP/1.1 200 OK\r\nX: y"), "timeout"),
    "half a body": (then_silent(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "timeout"),
    "a chunk without an end": (then_silent(CHUNKED + b"ff\r\nx"), "timeout"),
    "no last chunk": (then_silent(CHUNKED + b"1\r\nx\r\n"), "timeout"),
    "a gzip body that stops": (then_silent(encoded("gzip", BOMB)[:-9]), "timeout"),
    "headers drop by drop": (endless(b"HTTP/1.1 200 OK\r\n", b"x", pause_s=0.01), "timeout"),
    "header lines drop by drop": (endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", pause_s=0.01), "timeout"),
    "a body drop by drop": (endless(LENGTH % 99_999, b"x", pause_s=0.01), "timeout"),
    "interim answers, slowly": (endless(b"", b"HTTP/1.1 103 Early\r\n\r\n", pause_s=0.01), "timeout"),
    "interim answers, fast": (endless(b"", b"HTTP/1.1 103 Early\r\n\r\n" * 4_000), "bad_answer"),
    "interim answers with headers": (endless(b"", b"HTTP/1.1 100 C\r\n" + b"A: b\r\n" * 90 + b"\r\n"), "bad_answer"),
    "a header of megabytes": (endless(b"HTTP/1.1 200 OK\r\nX: ", MUCH), "bad_answer"),
    "a name of megabytes": (endless(b"HTTP/1.1 200 OK\r\n", MUCH), "bad_answer"),
    "a status line of megabytes": (endless(b"HTTP/1.1 200 ", MUCH), "bad_answer"),
    "thousands of headers": (endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1_000), "bad_answer"),
    "a head of a megabyte": (
        always(b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"b" * 8_000 + b"\r\n") * 120 + b"\r\n"), "bad_answer",
    ),
    "thousands of trailers": (endless(CHUNKED + b"0\r\n", b"A: b\r\n" * 1_000), "bad_answer"),
    "a chunk beyond 64 bits": (always(CHUNKED + b"fffffffffffffffff\r\n"), "bad_answer"),
    "a negative length": (always(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "bad_answer"),
    "two framings": (always(CHUNKED[:-2] + b"Content-Length: 5\r\n\r\nhello"), "bad_answer"),
    "two lengths": (always(answer(headers="Content-Length: 8\r\n")), "bad_answer"),
    "a line feed without its return": (always(b"HTTP/1.1 200 OK\nA: \x00\r\n\r\n"), "bad_answer"),
    "no content, with content": (always(b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello"), "bad_answer"),
    "a length beyond 64 bits": (endless(LENGTH % 2**64, MUCH), "bad_answer"),
    "no HTTP": (endless(b"", b"SSH-2.0-OpenSSH\r\n"), "bad_answer"),
    "HTTP/2": (always(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18)), "bad_answer"),
    "zeros": (endless(b"", bytes(65_536)), "bad_answer"),
    "the end": (half_closed(b""), "disconnected"),
    "the end in a header": (half_closed(b"HTTP/1.1 200 OK\r\nX"), "disconnected"),
    "the end in a body": (half_closed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "bad_answer"),
    "the end in a chunk": (half_closed(CHUNKED + b"9\r\nhalf"), "bad_answer"),
}  # fmt: skip
