"""The rate that all workers share: one schedule per account and action, in Redis, by Redis's clock.

A generic cell rate algorithm: the schedule is one instant, each permit moves it forward by the interval between two
calls. Lanes differ in how far ahead of now the schedule may run for them, so that checkout finds room that batch never
touches. Checkout books a place and waits for it; the other lanes take a place only when one is free.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from redis.asyncio import Redis

from worker.clock import Clock
from worker.domain.job import Lane
from worker.redis_scripts import load_script

_US_PER_S = 1_000_000
_PROBE = 2
_STOP_FORGOTTEN_MS = 86_400_000


def account_of(access_key_id: str) -> str:
    """A short name for the account, so that no key id stands in a Redis key."""
    return hashlib.sha256(access_key_id.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Permit:
    """What was answered to the wish to send one call.

    Attributes:
        come_back_ms: 0 with a permit; else how long to wait before it is worth asking again.
        is_stopped: refused because the account is stopped, not because of the rate.
        is_probe: the account is stopped, and this is the one call that finds out whether it is good again.
    """

    come_back_ms: int
    is_stopped: bool = False
    is_probe: bool = False


@dataclass(frozen=True, slots=True)
class ProbeRules:
    """How a stopped account is probed, in ms: the first interval, doubling up to the longest, and one probe's time."""

    first_interval_ms: int = 5_000
    longest_interval_ms: int = 300_000
    probe_ms: int = 30_000


class Pace:
    """Permits to call one action of one account.

    Args:
        per_second: the most calls in any second, over all workers.
        depth_ms: per lane, how far ahead of the schedule it may run. The deepest lane's is the burst.
        random_share: a number in [0, 1), so that those who wait do not come back together.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        account: str,
        action: str,
        per_second: float,
        depth_ms: Mapping[Lane, int],
        clock: Clock,
        probes: ProbeRules = ProbeRules(),
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._redis = redis
        self._acquire = load_script(redis, "worker.pace", "acquire")
        self._stop = load_script(redis, "worker.pace", "stop")
        self._keys = [f"axn1:{{pace:{account}}}:{action}", f"axn1:{{pace:{account}}}:stop"]
        self._probes = probes
        self._depth_us = {lane: depth * 1000 for lane, depth in depth_ms.items()}
        self._deepest_us = max(self._depth_us.values())
        # A window of one second holds rate * 1 s + burst: the rate leaves room for the burst.
        self._interval_us = round(_US_PER_S * (1 + self._deepest_us / _US_PER_S) / per_second)
        self._turn_of = {lane: asyncio.Lock() for lane in depth_ms}
        self._clock = clock
        self._random_share = random_share

    async def permit(self, lane: Lane, *, patience_ms: int) -> Permit:
        """Wait until this lane may send one call, unless that would take longer than patience_ms."""
        waited_from_ms = self._clock.monotonic_ms()
        if lane is Lane.CHECKOUT:
            return await self._wait_for_permit(lane, patience_ms, waited_from_ms)
        # One asks for the whole process: hundreds asking every few milliseconds would only load Redis.
        async with self._turn_of[lane]:
            return await self._wait_for_permit(lane, patience_ms, waited_from_ms)

    async def _wait_for_permit(self, lane: Lane, patience_ms: int, waited_from_ms: float) -> Permit:
        while True:
            left_ms = patience_ms - (self._clock.monotonic_ms() - waited_from_ms)
            granted, wait_ms, stop = await self._ask(lane, max(left_ms, 0))
            if granted:
                await self._clock.sleep_ms(wait_ms)
                return Permit(0, is_probe=stop == _PROBE)
            if wait_ms >= left_ms or stop:
                return Permit(max(1, round(wait_ms)), is_stopped=bool(stop))
            await self._clock.sleep_ms(wait_ms * (1 + self._random_share() / 2))

    async def _ask(self, lane: Lane, patience_ms: float) -> tuple[bool, float, int]:
        books = lane is Lane.CHECKOUT
        granted, wait_us, stop = await self._acquire(
            self._keys,
            [
                self._interval_us,
                self._depth_us[lane],
                self._deepest_us,
                round(patience_ms * 1000),
                int(books),
                self._probes.probe_ms,
            ],
        )
        return bool(granted), wait_us / 1000, stop

    async def stop_account(self, code: str, *, by_probe: bool) -> bool:
        """Let nothing of this account be sent, by any worker, until a probe succeeds.

        Returns:
            True if it was not stopped before.
        """
        fails: int = await self._stop(
            self._keys[1:],
            [
                code,
                int(by_probe),
                self._probes.first_interval_ms,
                self._probes.longest_interval_ms,
                _STOP_FORGOTTEN_MS,
            ],
        )
        return fails == 1

    async def reopen_account(self) -> None:
        """A probe succeeded: the account is good again."""
        await self._redis.delete(self._keys[1])
