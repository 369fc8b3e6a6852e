"""What stands in Redis, as metrics: read when somebody asks, and at most once a second."""

import asyncio
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.clock import Clock
from worker.observation.meters import Meters
from worker.observation.slow_gauges import SlowGauges
from worker.observation.snapshot import Snapshot
from worker.pace.state import AccountState

_AGAIN_AFTER_MS = 1_000
_MS_PER_S = 1_000
_S_PER_MINUTE = 60


class Gauges:
    """Sets the gauges of what stands in Redis.

    Args:
        redis: whose latency is measured.
        take: reads the rest,
        slow: but for what is read less often.
    """

    def __init__(
        self, redis: Redis, take: Callable[[], Awaitable[Snapshot]], meters: Meters, clock: Clock, slow: SlowGauges
    ) -> None:
        self._redis = redis
        self._take = take
        self._meters = meters
        self._clock = clock
        self._slow = slow
        self._read_ms = float("-inf")
        self._reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Read, unless it was done a moment ago. Where Redis does not answer, `axn_redis_up` says so."""
        async with self._reading:
            if self._clock.monotonic_ms() - self._read_ms < _AGAIN_AFTER_MS:
                return
            try:
                await self._read()
                self._meters.redis_up.set(1)
            except (RedisError, OSError):
                self._meters.redis_up.set(0)
            self._read_ms = self._clock.monotonic_ms()

    async def _read(self) -> None:
        began_ms = self._clock.monotonic_ms()
        await self._redis.ping()
        self._meters.redis_latency.set((self._clock.monotonic_ms() - began_ms) / _MS_PER_S)
        snapshot = await self._take()
        meters = self._meters
        meters.jobs_in_doubt.set(snapshot.in_doubt)
        meters.jobs_failed.set(snapshot.failed)
        meters.dead_callbacks.set(snapshot.dead_callbacks)
        meters.timetable_entries.set(snapshot.unfinished)
        meters.timetable_late.set(snapshot.late_ms / _MS_PER_S)
        for lane, queue in snapshot.queues.items():
            meters.queue_messages.labels(lane.value).set(queue.messages)
            meters.queue_age.labels(lane.value).set(queue.oldest_ms / _MS_PER_S)
        self._show_pace(snapshot.account)
        await self._slow.refresh(snapshot.at)

    def _show_pace(self, account: AccountState) -> None:
        meters = self._meters
        meters.account_stopped.set(account.stop is not None)
        meters.circuit_open.set(account.circuit.is_open)
        for action in account.actions:
            traffic = action.traffic
            limit = action.ceiling.per_second if traffic is None or traffic.rate is None else traffic.rate
            meters.pace_limit.labels(action.action).set(limit)
            meters.pace_ceiling.labels(action.action).set(action.ceiling.per_second)
            minute = traffic.last_minute if traffic else None
            meters.pace_used.labels(action.action).set(((minute and minute.sent) or 0) / _S_PER_MINUTE)
            meters.pace_throttled.labels(action.action).set(((minute and minute.throttled) or 0) / _S_PER_MINUTE)
            for lane in action.lanes:
                meters.pace_paused.labels(action.action, lane.lane.value).set(lane.is_paused)
