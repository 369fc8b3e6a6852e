"""Contestants that run in a process's event loop: ours, pyrate-limiter, and timers that share nothing."""

import asyncio
import os
import random
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal, Protocol

import uvloop
from pyrate_limiter import Duration, Limiter, Rate, RedisBucket
from redis.asyncio import Redis

from benchmarks.pacing.demand import Demand, Timing, Told, back_again_s, cpu_s
from benchmarks.pacing.wire import Address, AsyncSender, Requests
from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.pace.concurrency import InFlight
from worker.pace.keys import PaceKeys
from worker.pace.pace import Pace
from worker.pace.permit import Permit
from worker.pace.rules import PaceRules
from worker.redis_scripts import connect

LoopContestant = Literal["pace", "pace-unknown", "pyrate", "timers"]

CEILING_PER_SECOND = 5_000
_DEPTH_US = {Lane.CHECKOUT: 50_000, Lane.RENEWAL: 40_000, Lane.BATCH: 30_000}
_LATENCY_MS = 20.0
"""Told for each call: with so many slots for calls in flight it decides nothing."""
_PATIENCE_MS = 10_000
_TIMEOUT_MS = 5_000
_DONE = Outcome(Verdict.DONE, "OK")
_THROTTLED = Outcome(Verdict.THROTTLED, "Throttling.User")
_NUMBERS_PER_PROCESS = 1_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """One process's part."""

    contestant: LoopContestant
    index: int
    redis_url: str
    address: Address
    demand: Demand


class _Limiter(Protocol):
    async def permit(self, lane: Lane) -> Permit:
        """Wait until a call may be sent."""

    def report(self, permit: Permit, *, is_done: bool) -> None:
        """What became of it."""


class _Ours:
    def __init__(self, redis: Redis, per_second: float) -> None:
        self._clock = SystemClock()
        self._pace = Pace(
            redis,
            keys=PaceKeys("bench", "BindAxn", "provider"),
            rules=PaceRules(per_second, _DEPTH_US),
            in_flight=InFlight(100_000, self._clock),
            clock=self._clock,
        )

    async def permit(self, lane: Lane) -> Permit:
        while (permit := await self._pace.permit(lane, patience_ms=_PATIENCE_MS)).come_back_ms:
            await self._clock.sleep_ms(permit.come_back_ms)
        return permit

    def report(self, permit: Permit, *, is_done: bool) -> None:
        self._pace.report(permit, _DONE if is_done else _THROTTLED, _LATENCY_MS)


class _Pyrate:
    """Its exact algorithm (a log of calls in a sorted set), all else as it comes."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    @classmethod
    async def make(cls, redis: Redis, per_second: int) -> "_Pyrate":
        rates = [Rate(per_second, Duration.SECOND)]
        made = RedisBucket.init(rates, redis, "bench:pyrate")
        return cls(Limiter(made if isinstance(made, RedisBucket) else await made))

    async def permit(self, lane: Lane) -> Permit:
        if not await self._limiter.try_acquire_async("BindAxn"):
            raise RuntimeError("pyrate-limiter gave no permit")
        return Permit(lane)

    def report(self, permit: Permit, *, is_done: bool) -> None:
        """It does not ask."""


class _Timer:
    """An equal share of the limit in each process, by its own clock: no Redis, nothing to share, nothing to learn."""

    def __init__(self, per_second: float) -> None:
        self._interval_s = 1 / per_second
        self._next_at = time.monotonic()

    async def permit(self, lane: Lane) -> Permit:
        at = self._next_at = max(self._next_at, time.monotonic()) + self._interval_s
        await asyncio.sleep(at - time.monotonic())
        return Permit(lane)

    def report(self, permit: Permit, *, is_done: bool) -> None:
        """It does not ask."""


def run(pipe: Connection, job: Job) -> None:
    """Tell "ready" through the pipe, hear the timing, do the part, tell what was done."""
    uvloop.run(_run(pipe, job))


async def _run(pipe: Connection, job: Job) -> None:
    redis = connect(job.redis_url, timeout_ms=_TIMEOUT_MS)
    await redis.ping()
    limiter = await _limiter(job, redis)
    pipe.send("ready")
    await _Process(job, limiter, pipe).play()


async def _limiter(job: Job, redis: Redis) -> _Limiter:
    limit = job.demand.per_second
    match job.contestant:
        case "pace":
            return _Ours(redis, limit)
        case "pace-unknown":
            return _Ours(redis, CEILING_PER_SECOND)
        case "pyrate":
            return await _Pyrate.make(redis, limit)
        case "timers":
            return _Timer(limit / job.demand.processes)


class _Process:
    def __init__(self, job: Job, limiter: _Limiter, pipe: Connection) -> None:
        self._demand, self._limiter, self._pipe = job.demand, limiter, pipe
        self._timing: Timing = pipe.recv()
        requests = Requests(job.address, first_number=job.index * _NUMBERS_PER_PROCESS)
        self._sender = AsyncSender(job.address, requests)
        self._random = random.Random(f"{job.demand.seed}/{job.index}")  # noqa: S311 - arrivals, no secret
        self._told = Told()
        # Of each checkout that is not done: when it was wanted, and its wait if its call is under way.
        self._waiting: dict[float, float | None] = {}

    async def play(self) -> None:
        """Until the end of the time that is measured; does not return."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._demand.waiters):
                group.create_task(self._batch())
            group.create_task(self._checkouts(group))
            await self._measure()
            self._pipe.send(self._told)
            # Hundreds still wait, some of them for Redis: they go down with the process.
            os._exit(0)

    async def _measure(self) -> None:
        await _sleep_until(self._timing.measure_from)
        before_s = cpu_s()
        await _sleep_until(self._timing.measure_until)
        self._told.cpu_s = cpu_s() - before_s
        for due, waited_s in self._waiting.items():
            if not self._is_measured(due):
                continue
            if waited_s is None:
                self._told.unserved.append(due)
            else:
                self._told.waits.append((due, waited_s))

    async def _batch(self) -> None:
        hold_s = self._demand.hold_s
        await _sleep_until(self._timing.begin + self._random.random() * hold_s)
        while True:
            permit = await self._limiter.permit(Lane.BATCH)
            again_at = time.monotonic() + hold_s
            await self._send(permit)
            await _sleep_until(again_at)

    async def _checkouts(self, group: asyncio.TaskGroup) -> None:
        due = self._timing.begin
        while True:
            due += self._random.expovariate(self._demand.checkouts_per_second / self._demand.processes)
            await _sleep_until(due)
            self._waiting[due] = None
            group.create_task(self._checkout(due))

    async def _checkout(self, due: float) -> None:
        while True:
            permit = await self._limiter.permit(Lane.CHECKOUT)
            self._waiting[due] = waited_s = time.monotonic() - due
            if await self._send(permit):
                break
            self._waiting[due] = None
            await asyncio.sleep(back_again_s(self._random.random()))
        del self._waiting[due]
        if self._is_measured(due):
            self._told.waits.append((due, waited_s))

    async def _send(self, permit: Permit) -> bool:
        self._told.sent += self._is_measured(time.monotonic())
        is_done = await self._sender.send()
        self._limiter.report(permit, is_done=is_done)
        return is_done

    def _is_measured(self, at: float) -> bool:
        return self._timing.measure_from <= at < self._timing.measure_until


async def _sleep_until(at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
