"""Receivers of three kinds in one process, each on every address of 127.0.0.0/8.

    healthy   answers 204 at once, and notes when each webhook-id came first; `GET /arrivals` and `GET /counts` tell
    dead      takes connections and requests, and answers nothing
    hostile   answers each request with the next of a list of floods, for as long as somebody reads

Prints its ports as a line of JSON, and ends when its standard input does.
"""

import asyncio
import gzip
import itertools
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import uvloop
from aiohttp import web

_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_MUCH = b"x" * 65_536
_BOMB = gzip.compress(bytes(50_000_000))

#: What a hostile answer begins with, what it goes on with for ever, and how long it waits before each piece.
_FLOODS: tuple[tuple[bytes, bytes, float], ...] = (
    (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", _MUCH, 0),
    (_CHUNKED, b"1\r\nx\r\n" * 10_000, 0),
    (_CHUNKED + b"1;", _MUCH, 0),
    (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", _BOMB, 0),
    (b"", b"HTTP/1.1 103 Early\r\n\r\n" * 2_000, 0),
    (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 2_000, 0),
    (b"HTTP/1.1 200 OK\r\nA: ", _MUCH, 0),
    (b"HTTP/1.1 200 OK\r\n", b"a", 0.05),
)


@dataclass
class _Seen:
    arrivals: dict[str, int] = field(default_factory=dict)
    dead: int = 0
    hostile: int = 0

    async def healthy(self, request: web.Request) -> web.Response:
        self.arrivals.setdefault(request.headers["webhook-id"], time.time_ns())
        await request.read()
        return web.Response(status=204)

    async def tell_arrivals(self, _request: web.Request) -> web.Response:
        return web.json_response(self.arrivals)

    async def tell_counts(self, _request: web.Request) -> web.Response:
        return web.json_response({"healthy": len(self.arrivals), "dead": self.dead, "hostile": self.hostile})


async def _raw(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> int:
    """A server that reads a request's head and leaves the rest to `answer`. Returns its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        writer.transport.abort()

    server = await asyncio.start_server(handle, "0.0.0.0", 0)  # noqa: S104 - all of 127.0.0.0/8
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _main() -> None:
    seen, floods = _Seen(), itertools.cycle(_FLOODS)

    async def be_dead(_: asyncio.StreamWriter) -> None:
        seen.dead += 1
        await asyncio.sleep(3_600)

    async def be_hostile(writer: asyncio.StreamWriter) -> None:
        seen.hostile += 1
        start, piece, pause_s = next(floods)
        writer.write(start)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    app = web.Application()
    app.router.add_get("/arrivals", seen.tell_arrivals)
    app.router.add_get("/counts", seen.tell_counts)
    app.router.add_post("/{path:.*}", seen.healthy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0, backlog=1024).start()  # noqa: S104 - all of 127.0.0.0/8
    ports = {"healthy": runner.addresses[0][1], "dead": await _raw(be_dead), "hostile": await _raw(be_hostile)}
    print(json.dumps(ports), flush=True)  # noqa: T201 - the line the parent waits for
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        uvloop.run(_main())
