"""The rate that all workers share: one schedule per account and action, in Redis, by Redis's clock.

A generic cell rate algorithm: the schedule is one instant, each permit moves it forward by the interval between two
calls. Lanes differ in how far ahead of now the schedule may run for them, so that checkout finds room that batch never
touches. Checkout books a place and waits for it; the other lanes take what room there is for all who wait in a process.
The rate follows the provider: it is cut once for each time that calls are throttled, and grows again by itself.
"""

import asyncio
import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from redis.asyncio import Redis

from worker.clock import Clock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.pace.lane_queue import LaneQueue
from worker.pace.permit import Permit
from worker.pace.schedule import PaceRules, Places, Schedule
from worker.redis_scripts import load_script

_PROBE = 2
_STOP_FORGOTTEN_MS = 86_400_000
_TELLS_NOTHING_OF_THE_RATE = (Verdict.AMBIGUOUS, Verdict.NOT_PROCESSED)


def account_of(access_key_id: str) -> str:
    """A short name for the account, so that no key id stands in a Redis key."""
    return hashlib.sha256(access_key_id.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class ProbeRules:
    """How a stopped account is probed, in ms: the first interval, doubling up to the longest, and one probe's time."""

    first_interval_ms: int = 5_000
    longest_interval_ms: int = 300_000
    probe_ms: int = 30_000


class Pace:
    """Permits to call one action of one account.

    Args:
        per_second: the most calls in any second, over all workers; the provider may turn out to allow fewer.
        depth_ms: per lane, how far ahead of the schedule it may run. Checkout's is the burst.
        assured_share: the share of the rate that each lane below checkout gets in any case.
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
        assured_share: float = 0.05,
        probes: ProbeRules = ProbeRules(),
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._redis = redis
        self._stop = load_script(redis, "worker.pace", "stop")
        self._stop_key = f"axn1:{{pace:{account}}}:stop"
        self._probes = probes
        depth_us = {lane: depth * 1000 for lane, depth in depth_ms.items()}
        rules = PaceRules(per_second, depth_us, assured_share, probes.probe_ms)
        keys = [f"axn1:{{pace:{account}}}:{action}:schedule", self._stop_key]
        self._schedule = Schedule(redis, keys, rules, clock)
        spread_ms = depth_ms[Lane.BATCH] / 6
        self._queues = {
            lane: LaneQueue(self._schedule, lane, spread_ms=spread_ms, random_share=random_share)
            for lane in depth_ms
            if lane is not Lane.CHECKOUT
        }
        self._clock = clock
        self._random_share = random_share

    async def permit(self, lane: Lane, *, patience_ms: int) -> Permit:
        """Wait until this lane may send one call, unless that would take longer than patience_ms."""
        if lane is not Lane.CHECKOUT:
            # One asks for the whole process: hundreds asking every few milliseconds would only load Redis.
            return await self._queues[lane].permit(patience_ms=patience_ms)
        waited_from_ms = self._clock.monotonic_ms()
        while True:
            left_ms = patience_ms - (self._clock.monotonic_ms() - waited_from_ms)
            places = await self._schedule.ask(lane, 1, longest_wait_ms=max(left_ms, 0))
            if places.granted:
                return await self._booked(places)
            if places.wait_ms >= left_ms or places.stop:
                return Permit(max(1, round(places.wait_ms)), is_stopped=bool(places.stop))
            await self._clock.sleep_ms(places.wait_ms * (1 + self._random_share() / 2))

    async def _booked(self, places: Places) -> Permit:
        is_probe = places.stop == _PROBE
        try:
            await self._clock.sleep_ms(places.wait_ms)
        except asyncio.CancelledError:
            if not is_probe:
                self._schedule.give_back(places.end, int(places.interval_ms * 1000))
            raise
        return Permit(0, is_probe=is_probe, epoch=places.epoch)

    def report(self, permit: Permit, outcome: Outcome) -> None:
        """What became of a call that was sent with this permit. All workers learn of it with their next permit."""
        if outcome.verdict is Verdict.THROTTLED:
            self._schedule.throttled(permit.epoch, outcome.retry_after_ms)
        elif outcome.verdict not in _TELLS_NOTHING_OF_THE_RATE:
            self._schedule.processed()

    async def aclose(self) -> None:
        """Ask for nothing and tell nothing any more."""
        for queue in self._queues.values():
            await queue.aclose()
        await self._schedule.aclose()

    async def stop_account(self, code: str, *, by_probe: bool) -> bool:
        """Let nothing of this account be sent, by any worker, until a probe succeeds.

        Returns:
            True if it was not stopped before.
        """
        fails: int = await self._stop(
            [self._stop_key],
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
        await self._redis.delete(self._stop_key)
