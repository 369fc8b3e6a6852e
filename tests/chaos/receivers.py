"""Receivers of callbacks on loopback that behave as a cell says, and write down all that they are sent.

Each has an address of its own out of 127.1.0.0/24: workers keep receivers apart by their host. Listeners at addresses
outside of it count who connects: nobody may.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self

from tests.chaos.callback_checker import DELIVERED, Arrival, Receiver
from tests.provider.loopback import Responder, always, answer

ALLOWED_NET = "127.1.0.0/16"
_FIRST_ADDRESS = 2
_NO_CONTENT = 204
_COUNTS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver does with a request.

    Attributes:
        status: that the sender may take from it; 0 for none.
        asks_ms: how long it asks to be left alone.
    """

    status: int
    respond: Responder
    asks_ms: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A request that waits for its answer: its number at this receiver, and among those with its webhook-id."""

    number: int
    try_number: int


Behaviour = Callable[[Call], Answer]


def plain(status: int, headers: str = "", *, asks_ms: int = 0) -> Answer:
    """An ordinary answer."""
    body = b"" if status == _NO_CONTENT else b"ok"
    return Answer(status, always(answer(body, status=status, headers=headers)), asks_ms)


def always_plain(status: int, headers: str = "") -> Behaviour:
    """The same ordinary answer to all."""
    given = plain(status, headers)
    return lambda _: given


healthy = always_plain(200)


@dataclass
class Sink:
    """One receiver at work.

    Attributes:
        behave: may be changed at any time.
        most_at_a_time: requests held together since it was last set to 0.
    """

    receiver: Receiver
    address: str
    behave: Behaviour
    tls: SSLContext | None = None
    port: int = 0
    in_hand: int = 0
    most_at_a_time: int = 0
    calls: int = 0
    server: asyncio.Server | None = None

    @property
    def host(self) -> str:
        return self.receiver.host

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}/axn"


@dataclass
class Sinks:
    """All receivers of a cell, open while its `async with` block lasts; what they saw stays.

    Attributes:
        denied: connections by the listeners at denied addresses.
    """

    arrivals: list[Arrival] = field(default_factory=list)
    by_host: dict[str, Sink] = field(default_factory=dict)
    denied: Counter[str] = field(default_factory=Counter)
    _tries: Counter[str] = field(default_factory=Counter)
    _handlers: set[asyncio.Task[None]] = field(default_factory=set)
    _listeners: list[asyncio.Server] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in [*self._listeners, *(sink.server for sink in self.by_host.values() if sink.server)]:
            server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def add(
        self,
        behave: Behaviour = healthy,
        *,
        ends: str = DELIVERED,
        name: str = "",
        port: int = 0,
        tls: SSLContext | None = None,
        is_told: bool = True,
        is_bystander: bool = False,
        is_open: bool = True,
    ) -> Sink:
        """A further receiver.

        Args:
            behave: what it does with each request.
            ends: how its callbacks must end: "delivered" or error classes, separated by spaces.
            name: its host's, where it has one.
            port: to listen on; 0 for any.
            tls: for https.
            is_told: whether it may read a callback at all.
            is_bystander: healthy, and measured while others are bad.
            is_open: False refuses connections until `open`.
        """
        address = f"127.1.0.{_FIRST_ADDRESS + len(self.by_host)}"
        receiver = Receiver(name or address, frozenset(ends.split()), is_told=is_told, is_bystander=is_bystander)
        sink = Sink(receiver, address, behave, tls, port)
        self.by_host[sink.host] = sink
        await self.open(sink)
        if not is_open:
            await self.shut(sink)
        return sink

    async def open(self, sink: Sink) -> None:
        """Take connections."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._keep(self._serve(sink, reader, writer))

        sink.server = await asyncio.start_server(accept, sink.address, sink.port, ssl=sink.tls)
        sink.port = sink.server.sockets[0].getsockname()[1]

    async def shut(self, sink: Sink) -> None:
        """Refuse connections."""
        if sink.server:
            sink.server.close()
            sink.server = None

    async def deny(self, address: str, port: int = 0) -> int:
        """Count who connects to an address that is denied; returns the port. One connection shows that it counts."""

        def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.denied[address] += 1
            writer.close()

        server = await asyncio.start_server(count, address, port)
        self._listeners.append(server)
        port = int(server.sockets[0].getsockname()[1])
        before = self.denied[address]
        async with asyncio.timeout(_COUNTS_WITHIN_S):
            _, writer = await asyncio.open_connection(address, port)
            while self.denied[address] == before:  # noqa: ASYNC110 - asked once per listener
                await asyncio.sleep(0)
        writer.close()
        self.denied[address] = before
        return port

    def calls_of(self, host: str) -> list[Arrival]:
        """What came to this receiver."""
        return [one for one in self.arrivals if one.host == host]

    def repeats(self) -> Iterator[tuple[Arrival, Arrival]]:
        """Each try of a callback with the one after it."""
        latest: dict[str, Arrival] = {}
        for one in self.arrivals:
            if before := latest.get(one.webhook_id):
                yield before, one
            latest[one.webhook_id] = one

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)

    async def _serve(self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                given = self._note(sink, *await _request(reader))
                sink.in_hand += 1
                sink.most_at_a_time = max(sink.most_at_a_time, sink.in_hand)
                try:
                    if not await _has_answered(given, reader, writer, sink.calls):
                        break
                finally:
                    sink.in_hand -= 1
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError, RuntimeError):
            pass  # a caller that went away (uvloop: RuntimeError), or whose request is none
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _note(self, sink: Sink, headers: dict[str, str], body: bytes) -> Answer:
        webhook_id = headers.get("webhook-id", "")
        sink.calls += 1
        self._tries[webhook_id] += 1
        given = sink.behave(Call(sink.calls, self._tries[webhook_id]))
        self.arrivals.append(
            Arrival(
                host=sink.host,
                webhook_id=webhook_id,
                at_ms=time.time_ns() // 1_000_000,
                signed_s=int(headers.get("webhook-timestamp", "0")),
                signatures=tuple(headers.get("webhook-signature", "").split()),
                body=body,
                status=given.status,
                asks_ms=given.asks_ms,
            )
        )
        return given


async def _request(reader: asyncio.StreamReader) -> tuple[dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.rstrip("\r\n").split("\r\n")[1:]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return headers, await reader.readexactly(int(headers.get("content-length", "0")))


async def _has_answered(given: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
    """Answer for as long as the caller is there. False where it went away first."""
    answering = asyncio.ensure_future(given.respond(writer, number))
    gone = asyncio.ensure_future(reader.read(1))
    try:
        done, _ = await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answering in done:
            answering.result()
        return answering in done
    finally:
        for task in (answering, gone):
            task.cancel()
        await asyncio.gather(answering, gone, return_exceptions=True)
