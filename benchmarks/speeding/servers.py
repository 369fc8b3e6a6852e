"""The provider and the receiver of callbacks: two processes that answer, and note when each job came first.

Both read what is on the wire no further than they must, so that neither is what a contestant waits for: their CPU is
told with each figure.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import uvloop

from benchmarks.pacing.demand import cpu_s

ORDER = "bench-{:09d}"
"""A job's OutOrderId: both servers find it in what they are sent."""
COUNT, TELL = "count", "tell"
_NUMBER = re.compile(rb"bench-(\d{9})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_ANSWERED = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(slots=True)
class Seen:
    """When each job came first, monotonic seconds; and how many requests there were."""

    at: dict[int, float] = field(default_factory=dict)
    requests: int = 0


def run_provider(pipe: Connection, latency_ms: int) -> None:
    """Bind each number that comes, after the latency. Tells its port, and then what it is asked for."""
    uvloop.run(_serve(pipe, latency_ms / 1000, _bound))


def run_receiver(pipe: Connection) -> None:
    """Take each callback, at once. Tells as the provider does."""
    uvloop.run(_serve(pipe, 0, lambda _number: _ANSWERED))


def _bound(number: int) -> bytes:
    made = {"SubsId": f"{10**12 + number}", "SecretNo": f"170{number % 10**8:08d}", "Extension": ""}
    answer = {"RequestId": f"R-{number}", "Code": "OK", "Message": "OK", "SecretBindDTO": made}
    body = json.dumps(answer).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _serve(pipe: Connection, latency_s: float, answer_of: Callable[[int], bytes]) -> None:
    loop = asyncio.get_running_loop()
    seen = Seen()

    class Server(asyncio.Protocol):
        transport: asyncio.Transport

        def __init__(self) -> None:
            self._received = b""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport  # type: ignore[assignment] # of a socket it is one

        def data_received(self, data: bytes) -> None:
            self._received += data
            while (end := self._received.find(_HEAD_END)) >= 0:
                length = _LENGTH.search(self._received, 0, end)
                whole = end + len(_HEAD_END) + (int(length[1]) if length else 0)
                if len(self._received) < whole:
                    return
                request, self._received = self._received[:whole], self._received[whole:]
                self._take(request)

        def _take(self, request: bytes) -> None:
            found = _NUMBER.search(request)
            number = int(found[1]) if found else -1
            seen.at.setdefault(number, time.monotonic())
            seen.requests += 1
            answer = answer_of(number)
            if latency_s:
                loop.call_later(latency_s, self._answer, answer)
            else:
                self._answer(answer)

        def _answer(self, answer: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(answer)

    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=1024)
    pipe.send(server.sockets[0].getsockname()[1])
    threading.Thread(target=_tell, args=(pipe, seen), daemon=True).start()
    await server.serve_forever()


def _tell(pipe: Connection, seen: Seen) -> None:
    while True:
        pipe.send(seen.at.copy() if pipe.recv() == TELL else (len(seen.at), seen.requests, cpu_s()))
