"""Listeners that count who connects to this machine, and names that resolve to what a test says."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Listeners:
    """Connections by the address that was dialled, on every address of this machine, on two ports."""

    port: int = 0
    other_port: int = 0
    connections: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def listening() -> AsyncIterator[Listeners]:
    """On all of 127.0.0.0/8 and ::1, until the block ends. Each request is answered 200."""
    found = Listeners()
    handlers: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections[writer.get_extra_info("sockname")[0]] += 1
        handlers.add(asyncio.create_task(answer(reader, writer)))

    servers = []
    for name in ("port", "other_port"):
        first = await asyncio.start_server(accept, "0.0.0.0", 0)
        setattr(found, name, first.sockets[0].getsockname()[1])
        servers += [first, await asyncio.start_server(accept, "::", getattr(found, name))]
    try:
        yield found
    finally:
        for server in servers:
            server.close()
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


class Names:
    """In place of `socket.getaddrinfo`: made-up names; numbers in any notation as the system reads them; no DNS.

    Args:
        answers: for each name the answers of its look-ups in turn, the last one for good; an exception is raised.
    """

    def __init__(self, answers: dict[str, Sequence[Sequence[str] | Exception]]) -> None:
        self._answers = answers
        self._looks: Counter[str] = Counter()

    def __call__(self, host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        name = host.rstrip(".")
        if name not in self._answers:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        answers = self._answers[name]
        answer = answers[min(self._looks[name], len(answers) - 1)]
        self._looks[name] += 1
        if isinstance(answer, Exception):
            raise answer
        return [_info(address, port) for address in answer]


def _info(address: str, port: int) -> tuple[Any, ...]:
    if address.startswith("/"):
        return socket.AF_UNIX, socket.SOCK_STREAM, 0, "", (address,)
    bare, _, zone = address.partition("%")
    if ":" in bare:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (bare, port, 0, int(zone or 0))
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (bare, port)
