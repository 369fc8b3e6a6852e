"""What stands in Redis, read when somebody asks for metrics: one pipeline, and at most once a second."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.clock import Clock
from worker.domain.job import Lane
from worker.ledger.keys import ALL_PARTITIONS, PROGRESS_KEY, dead_callbacks_key, index_keys, timetable_key
from worker.observation.meters import Meters
from worker.pace.desk import PaceDesk
from worker.pace.state import AccountState

_AGAIN_AFTER_MS = 1_000
_MS_PER_S = 1_000
_S_PER_MINUTE = 60
_PER_PARTITION = 5

Backlogs = Callable[[], Awaitable[Mapping[Lane, int]]]


class Gauges:
    """Sets the gauges of what stands in Redis.

    Args:
        redis: a client that decodes replies to text.
        backlogs: messages that wait in each lane's queue.
    """

    def __init__(self, redis: Redis, pace: PaceDesk, backlogs: Backlogs, meters: Meters, clock: Clock) -> None:
        self._redis = redis
        self._pace = pace
        self._backlogs = backlogs
        self._meters = meters
        self._clock = clock
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
        await self._read_ledger()
        self._show_pace(await self._pace.read())

    async def _read_ledger(self) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.hgetall(PROGRESS_KEY)
        for partition in ALL_PARTITIONS:
            for index in index_keys(partition):
                pipeline.zcard(index)
            pipeline.zcard(dead_callbacks_key(partition))
            pipeline.zcard(timetable_key(partition))
            pipeline.zrange(timetable_key(partition), 0, 0, withscores=True)
        (seconds, micros), taken_up, *counted = await pipeline.execute()
        now_ms = int(seconds) * _MS_PER_S + int(micros) // _MS_PER_S
        in_doubt, failed, dead, entries, earliest = (counted[place::_PER_PARTITION] for place in range(_PER_PARTITION))
        meters = self._meters
        meters.jobs_in_doubt.set(sum(in_doubt))
        meters.jobs_failed.set(sum(failed))
        meters.dead_callbacks.set(sum(dead))
        meters.timetable_entries.set(sum(entries))
        due_ms = min((pairs[0][1] for pairs in earliest if pairs), default=now_ms)
        meters.timetable_late.set(max(now_ms - due_ms, 0) / _MS_PER_S)
        self._show_queues(await self._backlogs(), taken_up, now_ms)

    def _show_queues(self, backlogs: Mapping[Lane, int], taken_up: Mapping[str, Any], now_ms: int) -> None:
        for lane, waiting in backlogs.items():
            self._meters.queue_messages.labels(lane.value).set(waiting)
            since_ms = int(taken_up.get(lane.value, 0))
            age_ms = max(now_ms - since_ms, 0) if waiting and since_ms else 0
            self._meters.queue_age.labels(lane.value).set(age_ms / _MS_PER_S)

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
