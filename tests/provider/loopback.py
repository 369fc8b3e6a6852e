"""A server on a loopback socket that answers exactly the bytes it is told, and counts what it was sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire."""

    target: str
    headers: dict[str, str]
    body: bytes


Responder = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


@dataclass
class Loopback:
    """Requests in the order they came, and connections accepted."""

    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, request: Received) -> int:
        self.requests.append(request)
        self._news.set()
        return len(self.requests)

    async def received(self, count: int) -> None:
        """Wait until so many requests have come."""
        while len(self.requests) < count:
            self._news.clear()
            await self._news.wait()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/"


def answer(body: bytes = b"ok", *, status: int = 200, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def always(data: bytes, *, close: bool = False) -> Responder:
    """Answer every request with these bytes; with `close`, hang up after them."""

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return respond


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(first.split(" ")[1], headers, body)


@asynccontextmanager
async def serving(respond: Responder, *, tls: SSLContext | None = None) -> AsyncIterator[Loopback]:
    """Serve until the block ends. `respond` gets the writer and the request's number, from 1."""
    loopback = Loopback()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loopback.connections += 1
        try:
            while not writer.is_closing():
                await respond(writer, loopback.note(await _read_request(reader)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    handlers: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.add(asyncio.create_task(handle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    loopback.port = server.sockets[0].getsockname()[1]
    try:
        yield loopback
    finally:
        server.close()
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
