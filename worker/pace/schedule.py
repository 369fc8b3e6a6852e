"""The schedule in Redis, called: one script gives places and is told what became of the calls sent before.

What is to be told waits for the next wish for places, 50 ms at most; the first throttled call of an epoch goes at once.
"""

import asyncio
import logging
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.clock import Clock
from worker.domain.job import Lane
from worker.redis_scripts import load_script

_log = logging.getLogger(__name__)
_FLUSH_MS = 50
_PLACE_OF = {Lane.CHECKOUT: 0, Lane.RENEWAL: 1, Lane.BATCH: 2}


@dataclass(frozen=True, slots=True)
class PaceRules:
    """One action's pace.

    Attributes:
        per_second: the most calls in any second, over all workers.
        depth_us: per lane, how far ahead of now the schedule may run for it. Checkout's is the burst.
        assured_share: the share of the rate that each lane below checkout gets in any case.
        probe_ms: for how long the one probe of a stopped account keeps all others from probing.
    """

    per_second: float
    depth_us: dict[Lane, int]
    assured_share: float
    probe_ms: int

    @property
    def ceiling(self) -> float:
        """Calls per second of the schedule: a window of one second holds them and the burst."""
        return self.per_second / (1 + self.depth_us[Lane.CHECKOUT] / 1_000_000)

    @property
    def floor(self) -> float:
        """Calls per second that are tried in any case."""
        return min(1.0, self.ceiling / 2)


@dataclass(frozen=True, slots=True)
class Places:
    """What the schedule answered.

    Attributes:
        granted: how many calls may be sent.
        wait_ms: until the first of them; with none, until it is worth asking again.
        stop: 0: the account is good; 1: it is stopped; 2: it is stopped and the one place is the probe's.
        interval_ms: between two of them.
        epoch: which cut of the rate they were granted after.
        end: where the schedule stands after them, as it was answered.
    """

    granted: int
    wait_ms: float
    stop: int
    interval_ms: float
    epoch: int
    end: str


class Schedule:
    """One action's schedule, as one process uses it."""

    def __init__(self, redis: Redis, keys: list[str], rules: PaceRules, clock: Clock) -> None:
        self._acquire = load_script(redis, "worker.pace", "acquire")
        self._keys = keys
        self._rules = rules
        self.clock = clock
        self._processed = 0
        self._throttled = 0
        self._throttled_epoch = self._news_epoch = -1
        self._silence_ms = 0
        self._unused_end, self._unused_us = "0", 0
        self._born, self._tat = "0", "0"
        self._flushing: asyncio.Task[None] | None = None
        self._flushing_at_once: asyncio.Task[None] | None = None

    async def ask(self, lane: Lane, wanted: int, *, longest_wait_ms: float) -> Places:
        """Wish for places, and tell what is to be told."""
        rules = self._rules
        told: list[int] = [self._processed, self._throttled, self._throttled_epoch, self._silence_ms * 1000]
        unused: list[str | int] = [self._unused_end, self._unused_us]
        self._processed = self._throttled = self._silence_ms = 0
        self._unused_end, self._unused_us = "0", 0
        depths = rules.depth_us
        granted, wait_us, stop, interval_us, epoch, self._born, self._tat = await self._acquire(
            self._keys,
            [
                _PLACE_OF[lane],
                wanted,
                round(longest_wait_ms * 1000),
                rules.ceiling,
                rules.floor,
                depths[Lane.CHECKOUT],
                depths[lane],
                depths[Lane.BATCH],
                rules.assured_share,
                rules.probe_ms,
                *told,
                self._born,
                self._tat,
                *unused,
            ],
        )
        return Places(granted, wait_us / 1000, stop, float(interval_us) / 1000, int(epoch), self._tat)

    def processed(self) -> None:
        """A call was answered, and not for going too fast."""
        self._processed += 1
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._flush(_FLUSH_MS))

    def throttled(self, epoch: int, silence_ms: int) -> None:
        """A call was refused for going too fast; silence_ms is the provider's own delay, 0 where it named none."""
        is_news, self._news_epoch = epoch != self._news_epoch, epoch
        self._throttled_epoch = max(epoch, self._throttled_epoch) if self._throttled else epoch
        self._throttled += 1
        self._silence_ms = max(silence_ms, self._silence_ms)
        if (is_news or silence_ms) and (self._flushing_at_once is None or self._flushing_at_once.done()):
            self._flushing_at_once = asyncio.get_running_loop().create_task(self._flush(0))
        elif self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._flush(_FLUSH_MS))

    def give_back(self, end: str, unused_us: int) -> None:
        """The last places of a lease are not used; they come back if nobody has taken places since."""
        if end != self._unused_end:
            self._unused_end, self._unused_us = end, 0
        self._unused_us += unused_us

    async def aclose(self) -> None:
        """Tell nothing any more."""
        tasks = [task for task in (self._flushing, self._flushing_at_once) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _flush(self, delay_ms: float) -> None:
        await self.clock.sleep_ms(delay_ms)
        if not (self._processed or self._throttled):
            return
        try:
            await self.ask(Lane.CHECKOUT, 0, longest_wait_ms=0)
        except (RedisError, OSError) as failure:
            _log.warning("pace: Redis is away (%s), it is not told of some calls", type(failure).__name__)
