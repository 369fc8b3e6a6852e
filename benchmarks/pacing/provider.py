"""The provider, as a process of its own: it notes each call that arrives, by its own clock.

Either the project's sandbox, or, where that is too slow, a server that only counts and answers as the sandbox does.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Literal, Protocol

import uvloop
from aiohttp import web

from benchmarks.pacing.demand import cpu_s
from benchmarks.pacing.wire import KEY_ID, KEY_SECRET, POOL_KEY
from worker.sandbox.config import AccessKey, Limit, PoolSpec, SandboxConfig
from worker.sandbox.server import build_app

Kind = Literal["sandbox", "counter"]
Window = Literal["sliding", "calendar"]

MARK = "mark"
_NUMBERS = 100_000
_HTTP_OK = 200
_BODY_DONE = b'{"RequestId": "0", "Code": "OK", "Message": "OK"}'
_BODY_THROTTLED = b'{"RequestId": "0", "Code": "Throttling.User", "Message": "Request was denied due to flow control."}'


@dataclass(frozen=True, slots=True)
class Plan:
    """What provider to play.

    Attributes:
        per_second: its true limit; a counter's changes with each number that its pipe brings.
        window: the sandbox counts a sliding second only.
    """

    kind: Kind
    per_second: int
    latency_ms: int
    window: Window = "sliding"


@dataclass(slots=True)
class Arrivals:
    """Each call that arrived: Unix seconds, and whether it was done or throttled; and the CPU used at each mark."""

    at: list[float] = field(default_factory=list)
    is_done: list[bool] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


def run(pipe: Connection, plan: Plan) -> None:
    """Tell the port through the pipe, then serve.

    Through it come MARK (note the CPU used so far), a number (the counter's limit from now on), and at last None: what
    arrived is told, and that is the end.
    """
    uvloop.run(_run(pipe, plan))


async def _run(pipe: Connection, plan: Plan) -> None:
    arrivals, counting = Arrivals(), Counting(plan)
    start = _start_sandbox if plan.kind == "sandbox" else _start_counter
    pipe.send(await start(plan, arrivals, counting))
    is_over = asyncio.Event()

    def hear() -> None:
        told = pipe.recv()
        if told is None:
            is_over.set()
        elif told == MARK:
            arrivals.cpu_s.append(cpu_s())
        else:
            counting.per_second = told

    asyncio.get_running_loop().add_reader(pipe.fileno(), hear)
    await is_over.wait()
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    # uvloop took that from it.
    os.set_blocking(pipe.fileno(), True)
    pipe.send(arrivals)


class Counting:
    """The counter's limit and window."""

    def __init__(self, plan: Plan) -> None:
        self.per_second = plan.per_second
        self._is_calendar = plan.window == "calendar"
        self._accepted: deque[float] = deque()

    def allow(self, now: float) -> bool:
        begin = float(int(now)) if self._is_calendar else now - 1
        while self._accepted and self._accepted[0] < begin:
            self._accepted.popleft()
        if len(self._accepted) >= self.per_second:
            return False
        self._accepted.append(now)
        return True


class _Noting(Protocol):
    async def __call__(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse: ...


async def _start_sandbox(plan: Plan, arrivals: Arrivals, _counting: Counting) -> int:
    config = SandboxConfig(
        pools=(PoolSpec(POOL_KEY, (("", _NUMBERS),)),),
        access_keys=(AccessKey(KEY_ID, KEY_SECRET),),
        limits=(Limit("BindAxn", plan.per_second),),
        latency_ms=plan.latency_ms,
    )
    app = build_app(config, now=time.time)
    app.middlewares.append(_noting(arrivals))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return port


def _noting(arrivals: Arrivals) -> _Noting:
    @web.middleware
    async def note(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        place = len(arrivals.at)
        arrivals.at.append(time.time())
        # Until it is answered, which takes the latency.
        arrivals.is_done.append(False)
        response = await handler(request)
        arrivals.is_done[place] = response.status == _HTTP_OK
        return response

    return note


async def _start_counter(plan: Plan, arrivals: Arrivals, counting: Counting) -> int:
    loop = asyncio.get_running_loop()
    replies = {True: _reply("200 OK", _BODY_DONE), False: _reply("400 Bad Request", _BODY_THROTTLED)}

    class Counter(asyncio.Protocol):
        transport: asyncio.Transport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport  # type: ignore[assignment] # of a socket it is one

        def data_received(self, data: bytes) -> None:
            # The clients wait for each reply and send requests without a body: what comes is one whole request.
            if not data.endswith(b"\r\n\r\n"):
                raise RuntimeError("the counter reads requests in one piece only")
            now = time.time()
            is_done = counting.allow(now)
            arrivals.at.append(now)
            arrivals.is_done.append(is_done)
            loop.call_later(plan.latency_ms / 1000, self._answer, replies[is_done])

        def _answer(self, reply: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(reply)

    server = await loop.create_server(Counter, "127.0.0.1", 0, backlog=1024)
    port: int = server.sockets[0].getsockname()[1]
    return port


def _reply(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
