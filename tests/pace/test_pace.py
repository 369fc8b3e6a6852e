import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import now_ms
from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.pace.pace import Pace, account_of

DEPTH_MS = {Lane.CHECKOUT: 50, Lane.RENEWAL: 40, Lane.BATCH: 30}
KEY = "axn1:{pace:acc}:BindAxn"


class PatientClock(SystemClock):
    """Sleeps not at all, but time goes on by as much as was asked for."""

    def __init__(self) -> None:
        self.slept_ms = 0.0

    def monotonic_ms(self) -> float:
        return self.slept_ms

    async def sleep_ms(self, delay_ms: float) -> None:
        self.slept_ms += delay_ms
        await asyncio.sleep(0)


def pace_of(redis: Redis, *, per_second: float = 200, clock: SystemClock | None = None) -> Pace:
    return Pace(
        redis,
        account="acc",
        action="BindAxn",
        per_second=per_second,
        depth_ms=DEPTH_MS,
        clock=clock or SystemClock(),
    )


async def started(redis: Redis) -> None:
    """Past the start without a burst: the schedule is free."""
    client: Any = redis
    await client.set(KEY, (await now_ms(redis)) * 1000)


async def schedule_ahead_ms(redis: Redis) -> float:
    """How far ahead of now the schedule runs."""
    client: Any = redis
    return int(await client.get(KEY)) / 1000 - await now_ms(redis)


def most_in_a_second(moments: list[float]) -> int:
    ordered = sorted(moments)
    return max(sum(1 for other in ordered[place:] if other < moment + 1) for place, moment in enumerate(ordered))


async def test_no_second_holds_more_calls_than_the_rate_over_several_workers(redis: Redis) -> None:
    paces = [pace_of(redis, per_second=200) for _ in range(3)]
    moments: list[float] = []
    end = time.monotonic() + 1.3

    async def ask(pace: Pace, lane: Lane) -> None:
        while time.monotonic() < end:
            if (await pace.permit(lane, patience_ms=400)).come_back_ms == 0:
                moments.append(time.monotonic())

    lanes = (Lane.CHECKOUT, Lane.RENEWAL, Lane.BATCH)
    await asyncio.gather(*(ask(pace, lane) for pace in paces for lane in lanes for _ in range(4)))
    # The schedule itself is exact; a late wake-up of this loop may push a call into the next window.
    assert most_in_a_second(moments) <= 200 * 1.03
    assert len(moments) >= 200


async def test_checkout_waits_less_than_batch_when_both_want_all(redis: Redis) -> None:
    paces = {lane: pace_of(redis, per_second=200) for lane in (Lane.CHECKOUT, Lane.BATCH)}
    waits: dict[Lane, list[float]] = {Lane.CHECKOUT: [], Lane.BATCH: []}
    end = time.monotonic() + 0.6

    async def ask(lane: Lane, pause_s: float) -> None:
        while time.monotonic() < end:
            asked = time.monotonic()
            if (await paces[lane].permit(lane, patience_ms=2_000)).come_back_ms == 0:
                waits[lane].append(time.monotonic() - asked)
            await asyncio.sleep(pause_s)

    await asyncio.gather(*(ask(Lane.BATCH, 0) for _ in range(30)), *(ask(Lane.CHECKOUT, 0.03) for _ in range(2)))
    checkout, batch = sorted(waits[Lane.CHECKOUT]), sorted(waits[Lane.BATCH])
    assert len(checkout) >= 10
    assert len(batch) >= 30
    assert checkout[len(checkout) // 2] < 0.02 < batch[len(batch) // 2]


async def test_past_the_patience_there_is_no_permit_but_a_time_to_come_back(redis: Redis) -> None:
    clock = PatientClock()
    pace = pace_of(redis, per_second=1, clock=clock)
    await started(redis)
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=0)).come_back_ms == 0
    ahead = await schedule_ahead_ms(redis)
    come_back_ms = (await pace.permit(Lane.CHECKOUT, patience_ms=20)).come_back_ms
    assert 500 < come_back_ms <= 1_100
    assert clock.slept_ms == 0
    assert await schedule_ahead_ms(redis) <= ahead, "nothing was booked"


async def test_checkout_books_a_place_in_the_future_and_batch_does_not(redis: Redis) -> None:
    clock = PatientClock()
    pace = pace_of(redis, per_second=1, clock=clock)
    await started(redis)
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=0)).come_back_ms == 0
    before = await schedule_ahead_ms(redis)
    assert (await pace.permit(Lane.BATCH, patience_ms=100)).come_back_ms > 0
    assert await schedule_ahead_ms(redis) <= before
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=5_000)).come_back_ms == 0
    assert clock.slept_ms > 500
    assert await schedule_ahead_ms(redis) > before


@pytest.mark.parametrize("lane", [Lane.CHECKOUT, Lane.RENEWAL, Lane.BATCH])
@pytest.mark.parametrize("per_second", [0.5, 5, 20, 30])
async def test_a_slow_rate_gives_every_lane_of_an_idle_account_its_permit(
    redis: Redis, lane: Lane, per_second: float
) -> None:
    await started(redis)
    assert (await pace_of(redis, per_second=per_second).permit(lane, patience_ms=0)).come_back_ms == 0
    assert (await pace_of(redis, per_second=per_second).permit(lane, patience_ms=0)).come_back_ms > 0


async def grants_at_once(redis: Redis, lane: Lane, per_second: float) -> int:
    pace = pace_of(redis, per_second=per_second, clock=PatientClock())
    grants = 0
    while (await pace.permit(lane, patience_ms=0)).come_back_ms == 0:
        grants += 1
        assert grants < 1_000
    return grants


async def test_the_burst_is_the_lanes_depth(redis: Redis) -> None:
    interval_ms = 1050 / 200
    await started(redis)
    batch = await grants_at_once(redis, Lane.BATCH, 200)
    more_for_checkout = await grants_at_once(redis, Lane.CHECKOUT, 200)
    assert 5 <= batch <= 5 + 3  # a few ms pass while asking
    assert 1 <= more_for_checkout <= 20 / interval_ms + 3


async def test_an_unknown_state_starts_without_a_burst(redis: Redis) -> None:
    assert 1 <= await grants_at_once(redis, Lane.CHECKOUT, 50) <= 2  # a burst would be 50 / 21 ms + 1
    await redis.delete(KEY)
    assert (await pace_of(redis, per_second=50).permit(Lane.BATCH, patience_ms=0)).come_back_ms > 0, (
        "batch waits behind the start"
    )


async def test_a_schedule_far_in_the_future_stalls_nobody(redis: Redis) -> None:
    client: Any = redis
    await client.set(KEY, (await now_ms(redis) + 3_600_000) * 1000)
    pace = pace_of(redis, per_second=200, clock=PatientClock())
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=100)).come_back_ms == 0
    assert await schedule_ahead_ms(redis) < 100


async def test_a_flushed_script_cache_is_not_noticed(redis: Redis) -> None:
    pace = pace_of(redis)
    await pace.permit(Lane.CHECKOUT, patience_ms=100)
    client: Any = redis
    await client.script_flush()
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=100)).come_back_ms == 0


def test_no_key_id_stands_in_an_accounts_name() -> None:
    assert "LTAI" not in account_of("LTAI5tSecretKeyId")
    assert account_of("a") != account_of("b")
