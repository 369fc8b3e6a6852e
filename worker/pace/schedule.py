"""The schedule in Redis, called: one script gives places and is told what became of the calls sent before.

What is to be told waits for the next wish for places, 50 ms at most; the first throttled call of an epoch and what came
of a probe go at once.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.clock import Clock
from worker.domain.job import Lane
from worker.logs import get_log
from worker.pace.permit import Permit, Refusal
from worker.pace.rules import PaceRules
from worker.redis_scripts import load_script

_log = get_log(__name__)
_FLUSH_MS = 50
_TELL_WHO_WAITS_MS = 500
_PLACE_OF = {Lane.CHECKOUT: 0, Lane.RENEWAL: 1, Lane.BATCH: 2}
_ACCOUNT_PROBE, _CIRCUIT_PROBE = 1, 2


@dataclass(frozen=True, slots=True)
class Places:
    """What the schedule answered.

    Attributes:
        granted: how many calls may be sent.
        wait_ms: until the first of them; with none, until it is worth asking again.
        refusal: why there are none.
        probes: whether the one place is a probe's: 1 the account's, 2 the circuit's, 3 both.
        again_ms: until it is worth asking for those that were wanted and not given.
        interval_ms: between two of them.
        epoch: which cut of the rate they were granted after.
        end: where the schedule stands after them, as it was answered.
    """

    granted: int
    wait_ms: float
    refusal: Refusal
    probes: int
    again_ms: float
    interval_ms: float
    epoch: int
    end: str

    def permit(self, lane: Lane) -> Permit:
        """The permit for one of them."""
        return Permit(
            lane,
            is_probe=bool(self.probes & _ACCOUNT_PROBE),
            is_circuit_probe=bool(self.probes & _CIRCUIT_PROBE),
            epoch=self.epoch,
        )


@dataclass(slots=True)
class _News:
    """What became of calls, not told yet."""

    processed: int = 0
    throttled: int = 0
    throttled_epoch: int = -1
    silence_ms: int = 0
    unwell: int = 0
    circuit_probe: int = 0

    def __bool__(self) -> bool:
        return bool(self.processed or self.throttled or self.unwell or self.circuit_probe)


class Schedule:
    """One action's schedule, as one process uses it.

    Args:
        keys: of `acquire.lua`.
        who_waits: how many wait for a permit in this process, in a lane.
    """

    def __init__(
        self, redis: Redis, keys: list[str], rules: PaceRules, clock: Clock, who_waits: Callable[[Lane], int]
    ) -> None:
        self._acquire = load_script(redis, "worker.pace", "acquire")
        self._keys = keys
        self._rules = rules
        self.clock = clock
        self._news = _News()
        self._news_epoch = -1
        self._unused_end, self._unused_us = "0", 0
        self._born, self._tat = "0", "0"
        self._flushing: asyncio.Task[None] | None = None
        self._flushing_at_once: asyncio.Task[None] | None = None
        self._who_waits = who_waits
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._told_who_waits_ms: dict[Lane, float] = {}

    async def ask(self, lane: Lane, wanted: int, *, longest_wait_ms: float, are_retries: bool = False) -> Places:
        """Wish for places, and tell what is to be told."""
        rules, depths = self._rules, self._rules.depth_us
        news, self._news = self._news, _News()
        unused: list[str | int] = [self._unused_end, self._unused_us]
        self._unused_end, self._unused_us = "0", 0
        granted, wait_us, refusal, probes, again_us, interval_us, epoch, self._born, self._tat = await self._acquire(
            self._keys,
            [
                _PLACE_OF[lane],
                wanted,
                round(longest_wait_ms * 1000),
                rules.per_second,
                depths[Lane.CHECKOUT],
                depths[lane],
                depths[Lane.BATCH],
                rules.assured_share,
                rules.probes.probe_ms,
                news.processed,
                news.throttled,
                news.throttled_epoch,
                news.silence_ms * 1000,
                self._born,
                self._tat,
                *unused,
                int(are_retries),
                rules.retries.per_second,
                rules.retries.share,
                news.unwell,
                news.circuit_probe,
                rules.circuit.least,
                rules.circuit.share,
                rules.circuit.first_interval_ms,
                rules.circuit.longest_interval_ms,
                *(self._waiting(lane) if wanted else ("", 0)),
            ],
        )
        return Places(
            granted,
            wait_us / 1000,
            Refusal(refusal),
            probes,
            again_us / 1000,
            float(interval_us) / 1000,
            int(epoch),
            self._tat,
        )

    def _waiting(self, lane: Lane) -> tuple[str, int]:
        """Who waits in this process, for people to see; now and then is often enough."""
        now_ms = self.clock.monotonic_ms()
        if now_ms - self._told_who_waits_ms.get(lane, -_TELL_WHO_WAITS_MS) < _TELL_WHO_WAITS_MS:
            return "", 0
        self._told_who_waits_ms[lane] = now_ms
        return f"{self._process}:{lane.value}", self._who_waits(lane)

    def processed(self) -> None:
        """A call was answered, and not for going too fast."""
        self._news.processed += 1
        self._flush_soon()

    def unwell(self) -> None:
        """A call was not answered, or with a failure of the endpoint's own."""
        self._news.unwell += 1
        self._flush_soon()

    def throttled(self, epoch: int, silence_ms: int) -> None:
        """A call was refused for going too fast; silence_ms is the provider's own delay, 0 where it named none."""
        is_first, self._news_epoch = epoch != self._news_epoch, epoch
        news = self._news
        news.throttled_epoch = max(epoch, news.throttled_epoch) if news.throttled else epoch
        news.throttled += 1
        news.silence_ms = max(silence_ms, news.silence_ms)
        if is_first or silence_ms:
            self._flush_at_once()
        else:
            self._flush_soon()

    def probed_circuit(self, *, is_answered: bool) -> None:
        """What came of the probe of an open circuit."""
        self._news.circuit_probe = 1 if is_answered else 2
        self._flush_at_once()

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

    def _flush_soon(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._flush(_FLUSH_MS))

    def _flush_at_once(self) -> None:
        if self._flushing_at_once is None or self._flushing_at_once.done():
            self._flushing_at_once = asyncio.get_running_loop().create_task(self._flush(0))

    async def _flush(self, delay_ms: float) -> None:
        await self.clock.sleep_ms(delay_ms)
        try:
            while self._news:
                await self.ask(Lane.CHECKOUT, 0, longest_wait_ms=0)
        except (RedisError, OSError) as failure:
            _log.warning("pace: Redis is away, it is not told of some calls", error=type(failure).__name__)
