import asyncio
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.abc
import httpx
import pytest
import uvloop
from hypothesis import example, given
from hypothesis import strategies as st

from tests.provider.loopback import always, answer, serving
from worker.http import HttpAnswer, HttpClient, HttpError, MaybeSentError, NotSentError, request_url

SECRET_QUERY = "PhoneNoA=15000000000"


@asynccontextmanager
async def opened(**overrides: Any) -> AsyncIterator[HttpClient]:
    settings: dict[str, Any] = {"max_connections": 4, "max_answer_bytes": 10_000, "connect_timeout_ms": 1_000}
    client = HttpClient(**(settings | overrides))
    try:
        yield client
    finally:
        await client.aclose()


async def post(client: HttpClient, url: str, *, within_ms: int = 2_000, content: bytes = b"body") -> HttpAnswer:
    return await client.post(url, headers={}, content=content, total_timeout_ms=within_ms)


async def failure_of(client: HttpClient, url: str, **arguments: Any) -> HttpError:
    with pytest.raises(HttpError) as caught:
        await post(client, url, **arguments)
    return caught.value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def hang(writer: asyncio.StreamWriter, number: int) -> None:
    await asyncio.Event().wait()


# --- what is sent and what comes back ---


async def test_an_answer_of_any_status_is_returned_whole() -> None:
    served = answer(
        b'{"Code":"X"}', status=418, headers="X-Acs-Retry-After: 7\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    )
    async with serving(always(served)) as server, opened() as client:
        got = await post(client, server.url)
    assert (got.status, got.body) == (418, b'{"Code":"X"}')
    assert got.headers["x-acs-retry-after"] == "7"
    assert got.headers["set-cookie"] == "a=1, b=2"
    assert "Code" not in repr(got)


async def test_headers_and_body_arrive_as_given_and_little_is_added() -> None:
    async with serving(always(answer())) as server, opened() as client:
        await client.post(
            f"{server.url}path?a=1",
            headers={"Host": "provider.test", "Content-Type": "text/x", "Accept": "text/y"},
            content=b"payload",
            total_timeout_ms=1_000,
        )
    (request,) = server.requests
    assert (request.target, request.body) == ("/path?a=1", b"payload")
    assert request.headers == {
        "host": "provider.test",
        "content-type": "text/x",
        "content-length": "7",
        "accept": "text/y",
        "accept-encoding": "identity",
        "user-agent": "axn-bind-worker",
    }


async def test_an_empty_body_has_length_zero_and_no_content_type() -> None:
    async with serving(always(answer())) as server, opened() as client:
        await client.post(server.url, headers={"accept-encoding": "gzip"}, total_timeout_ms=1_000)
    assert server.requests[0].headers["content-length"] == "0"
    assert "content-type" not in server.requests[0].headers
    assert server.requests[0].headers["accept-encoding"] == "gzip"


async def test_a_connection_is_used_again() -> None:
    async with serving(always(answer())) as server, opened() as client:
        for _ in range(3):
            await post(client, server.url)
    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with serving(always(answer(status=307, headers="Location: /elsewhere\r\n"))) as server, opened() as client:
        got = await post(client, server.url)
    assert got.status == 307
    assert len(server.requests) == 1


async def test_cookies_are_not_sent_back() -> None:
    async with serving(always(answer(headers="Set-Cookie: a=1\r\n"))) as server, opened() as client:
        # A name, because cookie jars ignore bare addresses.
        for _ in range(2):
            await post(client, f"http://localhost:{server.port}/")
    assert "cookie" not in server.requests[1].headers


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with serving(always(answer())) as server, opened() as client:
        assert (await post(client, server.url)).status == 200


async def test_a_chunked_answer_is_read() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with serving(always(chunked)) as server, opened() as client:
        assert (await post(client, server.url)).body == b"abcde"


# --- proven: nothing was sent ---


async def test_a_refused_connection_is_not_sent() -> None:
    port = free_port()
    async with opened() as client:
        failure = await failure_of(client, f"http://127.0.0.1:{port}/?{SECRET_QUERY}")
    assert isinstance(failure, NotSentError)
    assert failure.kind == "connect_refused"
    assert failure.detail == "127.0.0.1: ClientConnectorError: Connection refused"


async def test_an_unknown_host_is_not_sent() -> None:
    async with opened() as client:
        failure = await failure_of(client, "http://nobody.invalid/")
    assert isinstance(failure, NotSentError)
    assert failure.kind == "dns"


async def test_a_server_without_tls_behind_https_is_not_sent() -> None:
    async with without_tls(b"HTTP/1.1 400 Plain HTTP here\r\n\r\n") as port, opened() as client:
        failure = await failure_of(client, f"https://127.0.0.1:{port}/")
    assert isinstance(failure, NotSentError)
    assert failure.kind == "tls"


async def test_a_reset_in_the_tls_handshake_is_not_sent() -> None:
    async with without_tls(None) as port, opened() as client:
        failure = await failure_of(client, f"https://127.0.0.1:{port}/")
    assert isinstance(failure, NotSentError)
    assert failure.kind == "tls"


async def test_a_certificate_nobody_vouches_for_is_not_sent(certificate: Path) -> None:
    async with serving(always(answer()), tls=server_tls(certificate)) as server, opened() as client:
        failure = await failure_of(client, f"https://127.0.0.1:{server.port}/")
    assert isinstance(failure, NotSentError)
    assert failure.kind == "tls"
    assert server.requests == []


async def test_a_certificate_of_the_given_file_is_trusted(certificate: Path) -> None:
    tls, ca_file = server_tls(certificate), str(certificate / "cert.pem")
    async with serving(always(answer()), tls=tls) as server, opened(ca_file=ca_file) as client:
        assert (await post(client, f"https://127.0.0.1:{server.port}/")).status == 200


async def test_a_connection_that_does_not_come_about_in_time_is_not_sent() -> None:
    with full_backlog() as port:
        async with opened(connect_timeout_ms=80) as client:
            failure = await failure_of(client, f"http://127.0.0.1:{port}/?{SECRET_QUERY}")
    assert isinstance(failure, NotSentError)
    assert failure.kind == "connect_timeout"
    assert SECRET_QUERY not in str(failure)


async def test_a_deadline_that_passes_while_connecting_is_not_sent() -> None:
    with full_backlog() as port:
        async with opened(connect_timeout_ms=5_000) as client:
            failure = await failure_of(client, f"http://127.0.0.1:{port}/", within_ms=80)
    assert isinstance(failure, NotSentError)
    assert failure.kind == "connect_timeout"


async def test_a_deadline_that_passes_while_waiting_for_a_free_connection_is_not_sent() -> None:
    async with serving(hang) as server, opened(max_connections=1) as client:
        first = asyncio.create_task(failure_of(client, server.url, within_ms=250))
        await server.received(1)
        second = await failure_of(client, server.url, within_ms=60)
        assert isinstance(await first, MaybeSentError)
    assert isinstance(second, NotSentError)
    assert second.kind == "connect_timeout"
    assert len(server.requests) == 1


@pytest.mark.parametrize("refusal", [RuntimeError("private"), PermissionError("private"), KeyError("private")])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_refusal_of_the_socket_factory_is_not_sent_and_is_handed_over(refusal: Exception, host: str) -> None:
    def refuse(_address: object) -> socket.socket:
        raise refusal

    async with serving(always(answer())) as server, opened(socket_factory=refuse) as client:
        failure = await failure_of(client, f"http://{host}:{server.port}/")
    assert isinstance(failure, NotSentError)
    assert failure.kind == "refused_by_guard"
    assert failure.refusal is refusal
    assert server.connections == 0


async def test_a_host_is_refused_by_the_guard_only_if_every_address_is() -> None:
    """The other address was tried, and its failure is what the caller must know."""

    class TwoAddresses(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
            common = {"hostname": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            return [common | {"host": address} for address in ("127.0.0.2", "127.0.0.1")]

        async def close(self) -> None:
            pass

    def refuse_one(address: Any) -> socket.socket:
        if address[4][0] == "127.0.0.2":
            raise PermissionError("private")
        return socket.socket(family=address[0], type=address[1], proto=address[2])

    async with opened(socket_factory=refuse_one) as client:
        connector = client._open_transport().exchange.connector
        connector._resolver = TwoAddresses()
        failure = await failure_of(client, f"http://two.test:{free_port()}/")
    assert isinstance(failure, NotSentError)
    assert (failure.kind, failure.refusal) == ("connect_refused", None)


async def test_a_socket_of_the_factory_is_used() -> None:
    made: list[object] = []

    def make(address: Any) -> socket.socket:
        made.append(address[4])
        return socket.socket(family=address[0], type=address[1], proto=address[2])

    async with serving(always(answer())) as server, opened(socket_factory=make) as client:
        assert (await post(client, server.url)).status == 200
    assert made == [("127.0.0.1", server.port)]


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://127.0.0.1/", "http://", "http://[::1", "http://a:99999999/", "http://u:p@a/"]
)
async def test_what_is_no_url_is_not_sent(url: str) -> None:
    async with opened() as client:
        failure = await failure_of(client, url)
    assert isinstance(failure, NotSentError)
    assert failure.kind == "bad_url"


@pytest.mark.parametrize("name", ["content-length", "Transfer-Encoding", "Expect", "a: b\r\nc", "a b\n"])
@pytest.mark.parametrize("value", ["5", "x\r\n\r\nPOST / HTTP/1.1", "x\ny", "x\ry", "x\0y"])
async def test_headers_that_end_a_request_elsewhere_are_not_sent(name: str, value: str) -> None:
    async with serving(always(answer())) as server, opened() as client:
        for headers in ({name: "5"}, {"a": value} if value != "5" else {name: value}):
            with pytest.raises(NotSentError) as caught:
                await client.post(server.url, headers=headers, content=b"body", total_timeout_ms=2_000)
            assert caught.value.kind == "bad_url"
        assert (await post(client, server.url)).status == 200
    assert len(server.requests) == 1


async def test_a_closed_client_sends_nothing() -> None:
    async with serving(always(answer())) as server, opened() as client:
        await post(client, server.url)
        await client.aclose()
        failure = await failure_of(client, server.url)
    assert isinstance(failure, NotSentError)
    assert failure.kind == "closed"
    assert len(server.requests) == 1


# --- everything else may have arrived ---


@pytest.mark.parametrize(
    ("served", "kind"),
    [
        pytest.param(b"", "disconnected", id="closed before the answer"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", "disconnected", id="half the headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "bad_answer", id="half the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nha", "bad_answer", id="half a chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "bad_answer", id="no chunk"),
        pytest.param(b"220 mail.example.org ESMTP ready\r\n", "bad_answer", id="not HTTP"),
        pytest.param(b"\x00\xff\x16\x03garbage\r\n\r\n", "bad_answer", id="garbage"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA\x00: b\r\n\r\n", "bad_answer", id="a broken header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", "bad_answer", id="an endless header"),
        pytest.param(answer(headers="Content-Length: 8\r\n"), "bad_answer", id="two lengths"),
    ],
)
async def test_a_broken_answer_is_maybe_sent_and_the_request_is_sent_once(served: bytes, kind: str) -> None:
    async with serving(always(served, close=True)) as server, opened() as client:
        failure = await failure_of(client, f"{server.url}?{SECRET_QUERY}")
    assert isinstance(failure, MaybeSentError)
    assert failure.kind == kind
    assert SECRET_QUERY not in f"{failure!r} {failure.detail}"
    assert len(server.requests) == 1


async def test_a_reused_connection_that_the_server_closes_is_maybe_sent_and_not_sent_again() -> None:
    async def answer_then_hang_up(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 2:
            writer.close()
        else:
            writer.write(answer())

    async with serving(answer_then_hang_up) as server, opened() as client:
        await post(client, server.url)
        failure = await failure_of(client, server.url)
        assert isinstance(failure, MaybeSentError)
        assert failure.kind == "disconnected"
        assert (len(server.requests), server.connections) == (2, 1)
        assert (await post(client, server.url)).status == 200


async def test_a_connection_reset_after_the_request_is_maybe_sent() -> None:
    async def reset(writer: asyncio.StreamWriter, number: int) -> None:
        reset_connection(writer)

    async with serving(reset) as server, opened() as client:
        failure = await failure_of(client, f"{server.url}?{SECRET_QUERY}")
    assert isinstance(failure, MaybeSentError)
    assert failure.kind == "reset"
    assert SECRET_QUERY not in str(failure)
    assert len(server.requests) == 1


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_one_deadline_covers_headers_and_body(begun: bytes) -> None:
    async def begin_and_hang(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(begun)
        await hang(writer, number)

    async with serving(begin_and_hang) as server, opened() as client:
        failure = await failure_of(client, server.url, within_ms=80)
    assert isinstance(failure, MaybeSentError)
    assert failure.kind == "timeout"
    assert len(server.requests) == 1


async def test_the_deadline_is_for_the_whole_answer_not_for_each_piece() -> None:
    async def drip(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with serving(drip) as server, opened() as client:
        failure = await failure_of(client, server.url, within_ms=120)
    assert failure.kind == "timeout"


@pytest.mark.parametrize("framing", ["length", "endless"])
async def test_an_answer_too_large_is_maybe_sent_and_its_connection_is_given_up(framing: str) -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_001
    served = answer(b"x" * 10_001) if framing == "length" else endless
    async with serving(always(served)) as server, opened() as client:
        failure = await failure_of(client, server.url)
    assert isinstance(failure, MaybeSentError)
    assert failure.kind == "answer_too_large"
    assert len(server.requests) == 1


async def test_an_answer_of_just_the_allowed_length_is_read() -> None:
    async with serving(always(answer(b"x" * 10_000))) as server, opened() as client:
        assert len((await post(client, server.url)).body) == 10_000


@pytest.mark.parametrize("length", [2, 60_000, 70_000, 300_000, 900_000])
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_what_comes_behind_an_answer_is_no_answer_to_the_next_request(length: int, framing: str) -> None:
    """Of any length: a long one is read in pieces, and its connection released in the middle of what is parsed."""
    body = b"x" * length
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (length, body)
    first = answer(body) if framing == "length" else chunked

    async def lie_once(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(first + answer(status=299) if number == 1 else answer(status=201))
        await writer.drain()

    async with serving(lie_once) as server, opened(max_answer_bytes=1_000_000, max_connections=1) as client:
        assert (await post(client, server.url)).body == body
        assert (await post(client, server.url)).status == 201


async def test_a_failure_carries_no_other_error_that_might_quote_the_url() -> None:
    async with serving(always(b"", close=True)) as server, opened() as client:
        failure = await failure_of(client, f"{server.url}?{SECRET_QUERY}")
    assert failure.__cause__ is None
    assert failure.__context__ is None


# --- cancelling, many at once, the other loop ---


async def test_a_server_that_falls_silent_is_given_up_before_the_total_is_over() -> None:
    async with serving(hang) as server, opened(read_timeout_ms=50) as client:
        with pytest.raises(MaybeSentError) as silent:
            await client.post(server.url, headers={}, content=b"x", total_timeout_ms=20_000)
    assert silent.value.kind == "timeout"


async def test_cancelling_is_never_swallowed_and_frees_the_connection() -> None:
    async with serving(hang) as server, opened(max_connections=1) as client:
        for sent in (1, 2):
            call = asyncio.create_task(post(client, server.url))
            await server.received(sent)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call


async def test_many_at_once_are_each_sent_once() -> None:
    async with serving(always(answer())) as server, opened(max_connections=4) as client:
        await asyncio.gather(*(post(client, server.url, content=str(n).encode()) for n in range(100)))
    assert sorted(int(request.body) for request in server.requests) == list(range(100))
    assert server.connections <= 4


@pytest.mark.parametrize(
    "check",
    [
        test_a_refused_connection_is_not_sent,
        test_a_server_without_tls_behind_https_is_not_sent,
        test_a_reset_in_the_tls_handshake_is_not_sent,
        test_a_reused_connection_that_the_server_closes_is_maybe_sent_and_not_sent_again,
        test_a_connection_reset_after_the_request_is_maybe_sent,
        test_a_deadline_that_passes_while_connecting_is_not_sent,
    ],
)
def test_uvloop_tells_the_same(check: Callable[[], Any]) -> None:
    uvloop.run(check())


# --- servers of a special kind ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=loopback"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*command.split(), *files], cwd=folder, check=True, capture_output=True)
    return folder


def server_tls(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@asynccontextmanager
async def without_tls(reply: bytes | None) -> AsyncIterator[int]:
    """A server that answers the TLS greeting with this, or with a reset."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if reply is None:
            reset_connection(writer)
        else:
            writer.write(reply)
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def reset_connection(writer: asyncio.StreamWriter) -> None:
    linger_zero = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
    writer.transport.abort()


@contextmanager
def full_backlog() -> Iterator[int]:
    """A listening port whose queue is full, so that the kernel leaves further connections unanswered."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address[1]


@given(st.text(max_size=20), st.text(alphabet="abcXYZ019-._~&=%/?#+ é\x00", max_size=30))
@example("h", "PhoneNoA=139&Expiration=2035-01-01%2000%3A00%3A00")
@example("h", "A=%2f")
def test_a_url_read_in_parts_is_the_url_that_httpx_reads(host: str, query: str) -> None:
    for url in (f"http://h.test/?{query}", f"https://{host}:8443/axn?{query}", f"http://{host}?{query}"):
        try:
            expected = httpx.URL(url)
        except httpx.InvalidURL:
            with pytest.raises(httpx.InvalidURL):
                request_url(url)
            continue
        got = request_url(url)
        told = (str(got), got.scheme, got.host, got.netloc, got.raw_path)
        assert told == (str(expected), expected.scheme, expected.host, expected.netloc, expected.raw_path)
