"""The faults of a soak: one after the other at moments of this seed, drawn from a deck so that each kind comes up."""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.bench import Bench
from tests.chaos.cells.redis_faults import until_answers
from tests.chaos.checker import FAULT
from tests.chaos.processes import HarnessError, Kept
from tests.chaos.receivers import Sink, Sinks, always_plain

SKEWS_S = (0, 120, -120)
"""Of a worker's clock: within the five minutes that receivers grant a signature."""
_ACTIONS = ("BindAxn", "BindAxn", "UpdateSubscription", "UnbindSubscription")
_SPOILT = (
    {"kind": "http_503", "probability": 0.3},
    {"kind": "http_503", "probability": 0.1, "after_effect": True},
    {"kind": "close_after", "probability": 0.1},
    {"kind": "close_before", "probability": 0.3},
    {"kind": "garbage", "probability": 0.1, "after_effect": True},
    {"kind": "latency", "latency_ms": 400, "probability": 0.5},
    {"kind": "timeout_after", "hold_ms": 3_000, "probability": 0.05},
)


@dataclass
class Faults:
    """Plays them.

    Attributes:
        victims: workers that may die; the others live through the whole soak, so that a slow leak can be seen.
        counts: how often each has happened.
    """

    bench: Bench
    sinks: Sinks
    victims: Sequence[Kept]
    shops: Sequence[Kept]
    receivers: Sequence[Sink]
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    now: str = ""

    async def run(self, gap_s: tuple[float, float]) -> None:
        """One after the other, such a pause between two, until cancelled: the fault under way is undone then."""
        deck: list[Callable[[], Awaitable[None]]] = []
        while True:
            if not deck:
                deck = [*self._kinds()]
                self.rng.shuffle(deck)
            await asyncio.sleep(self.rng.uniform(*gap_s))
            fault = deck.pop()
            self.now = fault.__name__.strip("_")
            try:
                await fault()
                self.counts[self.now] += 1
            except (HarnessError, aiohttp.ClientError) as broken:
                self.bench.blame("F0", FAULT, f"{self.now}: {broken}")
            self.now = ""

    def _kinds(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return (
            self._worker_killed, self._worker_killed, self._rolling_restart, self._clock_wrong, self._producer_killed,
            self._redis_killed, self._redis_stopped, self._redis_unreachable, self._connections_reset,
            self._replies_cut, self._throttled, self._throttled, self._provider_spoilt, self._provider_spoilt,
            self._provider_spoilt, self._receiver_down, self._receiver_down,
        )  # fmt: skip

    async def _worker_killed(self) -> None:
        await self.bench.kill(self.rng.choice(self.victims))

    async def _rolling_restart(self) -> None:
        for worker in self.victims:
            await self.bench.kill(worker, signal.SIGTERM)

    async def _clock_wrong(self) -> None:
        """One life of a worker with a wrong clock, until the next time that it ends."""
        worker = self.rng.choice(self.victims)
        right = worker.command
        axn = [sys.executable, "-m", "worker.cli"]
        worker.command = [
            sys.executable, "-m", "tests.chaos.skewed_worker", str(self.rng.choice(SKEWS_S[1:])), *right[len(axn) :],
        ]  # fmt: skip
        try:
            await self.bench.kill(worker, signal.SIGTERM)
        finally:
            worker.command = right

    async def _producer_killed(self) -> None:
        await self.bench.kill(self.rng.choice(self.shops))

    async def _redis_killed(self) -> None:
        system = self.bench.system
        async with self.bench.network_trouble():
            system.redis.restart_delay_s = self.rng.uniform(0.0, 1.5)
            await self.bench.kill(system.redis)
            await until_answers(self.bench)

    async def _redis_stopped(self) -> None:
        async with self.bench.paused(self.bench.system.redis):
            await self._last(1.0, 4.0)

    async def _redis_unreachable(self) -> None:
        way = self.bench.system.redis_way
        async with self.bench.network_trouble():
            try:
                way.black_hole(is_on=True)
                await self._last(1.0, 3.0)
            finally:
                way.black_hole(is_on=False)

    async def _connections_reset(self) -> None:
        for _ in range(self.rng.randint(1, 5)):
            self.bench.system.redis_way.reset_all()
            await self._last(0.05, 0.5)

    async def _replies_cut(self) -> None:
        way = self.bench.system.redis_way
        for _ in range(self.rng.randint(2, 8)):
            way.replies_to_cut = self.rng.randint(1, 4)
            await self._last(0.05, 0.3)
        way.replies_to_cut = 0

    async def _throttled(self) -> None:
        await self._spoil({"kind": "throttle", "probability": self.rng.uniform(0.3, 1.0), "retry_after_ms": 200})

    async def _provider_spoilt(self) -> None:
        await self._spoil(self.rng.choice(_SPOILT))

    async def _spoil(self, fault: dict[str, object]) -> None:
        async with self.bench.system.provider_fault(**{"action": self.rng.choice(_ACTIONS), **fault}):
            await self._last(2.0, 5.0)

    async def _receiver_down(self) -> None:
        """It answers with errors, or, as often, takes no connection besides."""
        sink = self.rng.choice(self.receivers)
        was, is_shut = sink.behave, self.rng.random() < 0.5
        try:
            sink.behave = always_plain(503)
            if is_shut:
                await self.sinks.shut(sink)
            await self._last(2.0, 6.0)
        finally:
            sink.behave = was
            if is_shut:
                await self.sinks.open(sink)

    async def _last(self, low_s: float, high_s: float) -> None:
        await asyncio.sleep(self.rng.uniform(low_s, high_s))
