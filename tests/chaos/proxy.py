"""A TCP proxy on loopback whose network can be made slow, silent or broken while it runs."""

import asyncio
import os
import socket
import struct
from collections import deque
from types import TracebackType
from typing import Self, cast

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_CONNECT_AGAIN_S = 0.05


class _Side(asyncio.Protocol):
    """One end of a connection. What it reads is written to the other end, after the proxy's latency, in order."""

    def __init__(self, proxy: "Proxy", *, faces_server: bool) -> None:
        self._proxy = proxy
        self._faces_server = faces_server
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.peer: _Side | None = None
        self.transport: asyncio.Transport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if not self._faces_server:
            self._proxy._accepted(self)

    def data_received(self, data: bytes) -> None:
        if self._faces_server and self._proxy._cuts_this_reply():
            self.reset()
            return
        self._waiting.append((self._loop.time() + self._proxy._latency_s(faces_server=self._faces_server), data))
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.flush()

    def flush(self) -> None:
        """Write what is due. An end that closed takes the other along once all it sent is written."""
        if self.peer is None or self.peer.transport is None or self._proxy.is_black_hole:
            return
        while self._waiting:
            due, data = self._waiting[0]
            if due > self._loop.time():
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._loop.call_at(due, self.flush)
                return
            self._waiting.popleft()
            if not self.peer.transport.is_closing():
                self.peer.transport.write(data)
        if self.is_lost:
            self._proxy._sides.discard(self)
            self.peer.transport.close()

    def reset(self) -> None:
        """End both ends with RST: nothing under way arrives."""
        for side in (self, self.peer):
            if side is not None:
                side._waiting.clear()
                _abort(side.transport)


class Proxy:
    """Listens on a free port of 127.0.0.1 and leads to one server.

    Args:
        server: a unix socket's path, or the port of a server on 127.0.0.1.

    Attributes:
        to_server_s, to_client_s: latency of each direction, seconds.
        replies_to_cut: so many of the server's next packets are swallowed and their connections reset: what was asked
            is done, and nobody is told.
    """

    def __init__(self, server: str | int) -> None:
        self._server_address = server
        self._sides: set[_Side] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self.to_server_s = 0.0
        self.to_client_s = 0.0
        self.replies_to_cut = 0
        self.is_black_hole = False
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Side(self, faces_server=False), "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for side in list(self._sides):
            _abort(side.transport)

    def slow_down(self, each_way_s: float) -> None:
        """Set the latency of both directions."""
        self.to_server_s = self.to_client_s = each_way_s

    def black_hole(self, *, is_on: bool) -> None:
        """While on, nothing arrives and nothing breaks; what was sent arrives afterwards, as with lost packets."""
        self.is_black_hole = is_on
        if not is_on:
            for side in list(self._sides):
                side.flush()

    def reset_all(self) -> int:
        """RST on all connections. Returns how many there were."""
        fronts = [side for side in self._sides if not side._faces_server]
        for side in fronts:
            side.reset()
        return len(fronts)

    def _latency_s(self, *, faces_server: bool) -> float:
        return self.to_client_s if faces_server else self.to_server_s

    def _cuts_this_reply(self) -> bool:
        if self.replies_to_cut <= 0:
            return False
        self.replies_to_cut -= 1
        return True

    def _accepted(self, front: _Side) -> None:
        self._sides.add(front)
        task = asyncio.get_running_loop().create_task(self._lead_on(front))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lead_on(self, front: _Side) -> None:
        while self.is_black_hole:  # noqa: ASYNC110 - a switch, not an event: it may go on and off
            await asyncio.sleep(_CONNECT_AGAIN_S)
        back = _Side(self, faces_server=True)
        loop = asyncio.get_running_loop()
        try:
            if isinstance(self._server_address, str):
                await loop.create_unix_connection(lambda: back, self._server_address)
            else:
                await loop.create_connection(lambda: back, "127.0.0.1", self._server_address)
        except OSError:
            # As the server itself would refuse it, had the client come to it without us.
            _abort(front.transport)
            return
        self._sides.add(back)
        front.peer, back.peer = back, front
        front.flush()
        back.flush()


def _abort(transport: asyncio.Transport | None) -> None:
    if transport is None or transport.is_closing():
        return
    known = transport.get_extra_info("socket")
    # A copy of the descriptor: the event loop's own object need not offer options. Only the last close sends the RST.
    with socket.socket(fileno=os.dup(known.fileno())) as copy:
        if copy.family != socket.AF_UNIX:
            copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    transport.abort()
