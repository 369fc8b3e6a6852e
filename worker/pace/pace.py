"""The rate that all workers share: one schedule per account and action, in Redis, by Redis's clock.

A generic cell rate algorithm: the schedule is one instant, each permit moves it forward by the interval between two
calls. Lanes differ in how far ahead of now the schedule may run for them, so that checkout finds room that batch never
touches. Checkout books a place and waits for it; the other lanes take what room there is for all who wait in a process.
The rate follows the provider: it is cut once for each time that calls are throttled, and grows again by itself.
"""

import asyncio
import random
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.clock import Clock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.pace.concurrency import InFlight
from worker.pace.keys import PaceKeys
from worker.pace.lane_queue import LaneQueue, refused
from worker.pace.local_share import LocalShare
from worker.pace.permit import Permit, Refusal
from worker.pace.rules import PaceRules
from worker.pace.schedule import Places, Schedule
from worker.redis_scripts import load_script

_STOP_FORGOTTEN_MS = 86_400_000
_AWAY_AGAIN_MS = 1_000
_HTTP_SERVER_ERRORS = range(500, 600)
_ENDPOINTS_OWN_FAILURES = ("transport.", "isp.")


def is_unwell(outcome: Outcome) -> bool:
    """Whether an endpoint did not answer, or with a failure of its own: what opens its circuit."""
    return (
        outcome.verdict is Verdict.AMBIGUOUS
        or outcome.http_status in _HTTP_SERVER_ERRORS
        or outcome.code.startswith(_ENDPOINTS_OWN_FAILURES)
    )


class Pace:
    """Permits to call one action of one account.

    Args:
        keys: names the account, the action and the endpoint.
        rules: the rate and what holds calls back.
        in_flight: how many calls this process may have under way, of all actions together.
        share_without_redis: of the last known rate, for this process's checkouts while Redis is away; 0 for none.
        random_share: a number in [0, 1), so that those who wait do not come back together.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        keys: PaceKeys,
        rules: PaceRules,
        in_flight: InFlight,
        clock: Clock,
        share_without_redis: float = 0.0,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._redis = redis
        self._stop = load_script(redis, "worker.pace", "stop")
        self._stop_key = keys.stop
        self._probes = rules.probes
        self._schedule = Schedule(redis, keys.all, rules, clock, self._waiting)
        self._queues = {
            (lane, are_retries): LaneQueue(
                self._schedule, in_flight, lane, random_share=random_share, are_retries=are_retries
            )
            for lane in rules.depth_us
            if lane is not Lane.CHECKOUT
            for are_retries in (False, True)
        }
        self._clock = clock
        self._random_share = random_share
        self._checkouts_waiting = 0
        self._in_flight = in_flight
        self._local_share = LocalShare(share_without_redis, clock, random_share=random_share)
        self._away_until_ms = 0.0

    async def permit(self, lane: Lane, *, patience_ms: int, is_retry: bool = False) -> Permit:
        """Wait until this lane may send one call, unless that would take longer than patience_ms.

        Args:
            lane: whose turn.
            patience_ms: the longest wait.
            is_retry: the call was tried before and not answered well, so that it costs the retry budget.
        """
        if lane is not Lane.CHECKOUT:
            # One asks for the whole process: hundreds asking every few milliseconds would only load Redis.
            return await self._queues[lane, is_retry].permit(patience_ms=patience_ms)
        return await self._permit_for_checkout(patience_ms, is_retry=is_retry)

    async def _permit_for_checkout(self, patience_ms: int, *, is_retry: bool) -> Permit:
        asked_ms = self._clock.monotonic_ms()
        if not await self._in_flight.enter(Lane.CHECKOUT, patience_ms):
            return refused(Lane.CHECKOUT, Refusal.IN_FLIGHT, 0, self._random_share())
        permit = None
        try:
            permit = await self._place_for_checkout(asked_ms + patience_ms, is_retry=is_retry)
        finally:
            if permit is None or permit.come_back_ms:
                self._in_flight.give_back(Lane.CHECKOUT)
        return permit

    async def _place_for_checkout(self, until_ms: float, *, is_retry: bool) -> Permit:
        while True:
            left_ms = max(0.0, until_ms - self._clock.monotonic_ms())
            if self._clock.monotonic_ms() < self._away_until_ms:
                return await self._local_place(left_ms)
            try:
                places = await self._schedule.ask(Lane.CHECKOUT, 1, longest_wait_ms=left_ms, are_retries=is_retry)
            except (RedisError, OSError):
                if not self._local_share.is_on:
                    raise
                self._away_until_ms = self._clock.monotonic_ms() + _AWAY_AGAIN_MS
                continue
            self._local_share.know(places.interval_ms)
            if places.granted:
                return await self._booked(places)
            if places.wait_ms >= left_ms or places.refusal is not Refusal.RATE:
                return refused(Lane.CHECKOUT, places.refusal, places.wait_ms, self._random_share())
            await self._wait_ms(places.wait_ms * (1 + self._random_share() / 2))

    async def _local_place(self, patience_ms: float) -> Permit:
        """A place of this process's own, while Redis is away."""
        wait_ms = self._local_share.place(patience_ms=patience_ms)
        if wait_ms is None:
            return refused(Lane.CHECKOUT, Refusal.RATE, _AWAY_AGAIN_MS, self._random_share())
        await self._clock.sleep_ms(wait_ms)
        return Permit(Lane.CHECKOUT, epoch=-1)

    async def _booked(self, places: Places) -> Permit:
        try:
            await self._wait_ms(places.wait_ms)
        except asyncio.CancelledError:
            if not places.probes:
                self._schedule.give_back(places.end, int(places.interval_ms * 1000))
            raise
        return places.permit(Lane.CHECKOUT)

    async def _wait_ms(self, delay_ms: float) -> None:
        self._checkouts_waiting += 1
        try:
            await self._clock.sleep_ms(delay_ms)
        finally:
            self._checkouts_waiting -= 1

    def _waiting(self, lane: Lane) -> int:
        if lane is Lane.CHECKOUT:
            return self._checkouts_waiting
        return sum(self._queues[lane, are_retries].waiting for are_retries in (False, True))

    def report(self, permit: Permit, outcome: Outcome, latency_ms: float) -> None:
        """What became of a call that was sent with this permit. All workers learn of it with their next permit."""
        unwell = is_unwell(outcome)
        if outcome.verdict is Verdict.THROTTLED:
            self._in_flight.give_back(permit.lane)  # refused at the door: its latency tells nothing
            self._schedule.throttled(permit.epoch, outcome.retry_after_ms)
        else:
            self._in_flight.done(permit.lane, latency_ms, is_overload=unwell)
        if unwell:
            self._schedule.unwell()
        elif outcome.verdict not in {Verdict.THROTTLED, Verdict.NOT_PROCESSED}:
            self._schedule.processed()
        if permit.is_circuit_probe:
            self._schedule.probed_circuit(is_answered=not unwell)

    def unused(self, permit: Permit) -> None:
        """A permit that was granted is not used after all; its place in the schedule has passed."""
        self._in_flight.give_back(permit.lane)

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
