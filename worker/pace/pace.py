"""The rate that all workers share: one schedule per account and action, in Redis, by Redis's clock.

A generic cell rate algorithm: the schedule is one instant, each permit moves it forward by the interval between two
calls. Lanes differ in how far ahead of now the schedule may run for them, so that checkout finds room that batch never
touches. Checkout books a place and waits for it; the other lanes take a place only when one is free.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable, Mapping

from redis.asyncio import Redis

from worker.clock import Clock
from worker.domain.job import Lane
from worker.redis_scripts import load_script

_US_PER_S = 1_000_000


def account_of(access_key_id: str) -> str:
    """A short name for the account, so that no key id stands in a Redis key."""
    return hashlib.sha256(access_key_id.encode()).hexdigest()[:12]


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
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._acquire = load_script(redis, "worker.pace", "acquire")
        self._key = f"axn1:{{pace:{account}}}:{action}"
        self._depth_us = {lane: depth * 1000 for lane, depth in depth_ms.items()}
        self._deepest_us = max(self._depth_us.values())
        # A window of one second holds rate * 1 s + burst: the rate leaves room for the burst.
        self._interval_us = round(_US_PER_S * (1 + self._deepest_us / _US_PER_S) / per_second)
        self._turn_of = {lane: asyncio.Lock() for lane in depth_ms}
        self._clock = clock
        self._random_share = random_share

    async def permit(self, lane: Lane, *, patience_ms: int) -> int:
        """Wait until this lane may send one call.

        Returns:
            0 with a permit; else the milliseconds after which it is worth asking again, where waiting here would have
            taken longer than patience_ms.
        """
        waited_from_ms = self._clock.monotonic_ms()
        if lane is Lane.CHECKOUT:
            return await self._wait_for_permit(lane, patience_ms, waited_from_ms)
        # One asks for the whole process: hundreds asking every few milliseconds would only load Redis.
        async with self._turn_of[lane]:
            return await self._wait_for_permit(lane, patience_ms, waited_from_ms)

    async def _wait_for_permit(self, lane: Lane, patience_ms: int, waited_from_ms: float) -> int:
        while True:
            left_ms = patience_ms - (self._clock.monotonic_ms() - waited_from_ms)
            granted, wait_ms = await self._ask(lane, max(left_ms, 0))
            if granted:
                await self._clock.sleep_ms(wait_ms)
                return 0
            if wait_ms >= left_ms:
                return max(1, round(wait_ms))
            await self._clock.sleep_ms(wait_ms * (1 + self._random_share() / 2))

    async def _ask(self, lane: Lane, patience_ms: float) -> tuple[bool, float]:
        books = lane is Lane.CHECKOUT
        granted, wait_us = await self._acquire(
            [self._key],
            [self._interval_us, self._depth_us[lane], self._deepest_us, round(patience_ms * 1000), int(books)],
        )
        return bool(granted), wait_us / 1000
