"""What stands in Redis is read when somebody asks, and no oftener than once a second."""

from collections.abc import Mapping

import pytest
from redis.asyncio import Redis

from tests.ledger.support import claimed, ledger_of, opened
from worker.clock import SystemClock
from worker.domain.job import JobState, Lane
from worker.ledger.keys import PROGRESS_KEY, dead_callbacks_key, timetable_key
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.observation.gauges import Gauges
from worker.observation.meters import Meters
from worker.observation.slow_gauges import SlowGauges
from worker.observation.snapshot import take_snapshot
from worker.pace.desk import PaceDesk
from worker.redis_scripts import connect
from worker.registry.alarm import NO_RISK


class HeldClock(SystemClock):
    """Stands still until it is moved."""

    now_ms = 0.0

    def monotonic_ms(self) -> float:
        return self.now_ms


async def backlogs() -> Mapping[Lane, int]:
    return {Lane.CHECKOUT: 3, Lane.BATCH: 0}


def gauges_of(redis: Redis, clock: HeldClock) -> tuple[Gauges, Meters]:
    meters = Meters()
    pace = PaceDesk(redis, account="a", endpoint="e", per_second={"BindAxn": 50})
    slow = SlowGauges(redis, meters, clock, lambda: NO_RISK)
    return Gauges(redis, lambda: take_snapshot(redis, pace, backlogs), meters, clock, slow), meters


def value(meters: Meters, name: str, **labels: str) -> float | None:
    return meters.registry.get_sample_value(name, labels)


async def test_every_gauge_tells_what_stands_in_redis(redis: Redis) -> None:
    ledger = ledger_of(redis)
    for key, state in (("1", JobState.IN_DOUBT), ("2", JobState.FAILED), ("3", JobState.FAILED)):
        job = await opened(ledger, key)
        await ledger.settle(await claimed(ledger, job.job_id), Settlement(state, AttemptKnowledge.CLOSED))
    await opened(ledger, "4")
    seconds, _ = await redis.time()
    await redis.zadd(dead_callbacks_key(3), {"callback:x": 1})
    await redis.zadd(timetable_key(5), {"checkout:late": (int(seconds) - 60) * 1000})
    await redis.hset(PROGRESS_KEY, mapping={"checkout": (int(seconds) - 20) * 1000, "batch": 1})
    gauges, meters = gauges_of(redis, HeldClock())
    await PaceDesk(redis, account="a", endpoint="e", per_second={"BindAxn": 50}).pause([Lane.BATCH], by="me")
    await gauges.refresh()
    names = ("axn_jobs_in_doubt", "axn_jobs_failed", "axn_dead_callbacks", "axn_timetable_entries", "axn_redis_up")
    assert [value(meters, name) for name in names] == [1, 2, 1, 2, 1]
    assert value(meters, "axn_timetable_late_seconds") == pytest.approx(60, abs=3)
    assert value(meters, "axn_queue_messages", lane="checkout") == 3
    assert value(meters, "axn_queue_oldest_seconds", lane="checkout") == pytest.approx(20, abs=3)
    assert value(meters, "axn_queue_oldest_seconds", lane="batch") == 0
    assert value(meters, "axn_pace_ceiling_per_second", action="BindAxn") == 50
    paused = [value(meters, "axn_pace_paused", action="BindAxn", lane=lane) for lane in ("checkout", "batch")]
    assert (paused, value(meters, "axn_account_stopped"), value(meters, "axn_circuit_open")) == ([0, 1], 0, 0)


async def test_it_is_read_once_a_second_however_often_it_is_asked_for(redis: Redis) -> None:
    clock = HeldClock()
    gauges, meters = gauges_of(redis, clock)
    await gauges.refresh()
    await redis.zadd(dead_callbacks_key(0), {"callback:x": 1})
    await gauges.refresh()
    assert value(meters, "axn_dead_callbacks") == 0
    clock.now_ms += 1_000
    await gauges.refresh()
    assert value(meters, "axn_dead_callbacks") == 1


async def test_a_redis_that_is_away_is_told_and_no_error() -> None:
    nobody = connect("redis://127.0.0.1:1/0", timeout_ms=100)
    gauges, meters = gauges_of(nobody, HeldClock())
    await gauges.refresh()
    assert value(meters, "axn_redis_up") == 0
    await nobody.aclose()
