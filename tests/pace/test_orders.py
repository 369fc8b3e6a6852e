"""What the operator orders is in force with the very next wish of any worker."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import now_ms
from tests.pace.support import DONE, ORDERS, SCHEDULE, TIMED_OUT, WAITING, pace_of
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.pace.desk import PaceDesk
from worker.pace.permit import Refusal
from worker.pace.state import LastMinute

LANES = [Lane.CHECKOUT, Lane.RENEWAL, Lane.BATCH]


@pytest.mark.parametrize("paused", LANES)
async def test_a_paused_lane_gets_nothing_and_the_others_go_on(redis: Redis, paused: Lane) -> None:
    client: Any = redis
    pace = pace_of(redis)
    assert (await pace.permit(paused, patience_ms=1_000)).come_back_ms == 0
    await client.hset(ORDERS, f"paused_{paused.value}", "1")
    for lane in LANES:
        permit = await pace_of(redis).permit(lane, patience_ms=1_000)
        assert (permit.come_back_ms > 0) is (lane is paused)
    refused = await pace.permit(paused, patience_ms=1_000)
    assert (refused.refusal, refused.refusal.code) == (Refusal.PAUSED, "pace.paused")
    assert refused.come_back_ms <= 1_000
    await client.hdel(ORDERS, f"paused_{paused.value}")
    assert (await pace.permit(paused, patience_ms=1_000)).come_back_ms == 0


@pytest.mark.parametrize("ordered", [7.5, 4_000])
async def test_an_ordered_rate_replaces_the_settings(redis: Redis, ordered: float) -> None:
    client: Any = redis
    pace = pace_of(redis, per_second=100)
    await client.hset(ORDERS, "per_second", str(ordered))
    await pace.permit(Lane.CHECKOUT, patience_ms=5_000)
    assert float(await client.hget(SCHEDULE, "rate")) == pytest.approx(ordered / 1.05)
    await client.hdel(ORDERS, "per_second")
    await pace.permit(Lane.CHECKOUT, patience_ms=5_000)
    assert float(await client.hget(SCHEDULE, "rate")) == pytest.approx(100 / 1.05)


@pytest.mark.parametrize("lane", LANES)
async def test_who_waits_is_told_now_and_then(redis: Redis, lane: Lane) -> None:
    client: Any = redis
    pace = pace_of(redis, per_second=20)
    end = time.monotonic() + 5
    waiting = [asyncio.create_task(pace.permit(lane, patience_ms=60_000)) for _ in range(30)]
    while True:
        told = await client.hgetall(WAITING)
        counts = [value.split(":") for field, value in told.items() if field.endswith(f":{lane.value}")]
        if counts and 10 <= int(counts[0][0]) <= 31:
            break
        assert time.monotonic() < end, told
        await asyncio.sleep(0.01)
        if lane is Lane.CHECKOUT:
            waiting.append(asyncio.create_task(pace.permit(lane, patience_ms=60_000)))
            waiting.pop(0).cancel()
    assert abs(int(counts[0][1]) - await now_ms(redis)) < 5_000
    await pace.aclose()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_nobody_waits_who_gets_his_permit_at_once(redis: Redis) -> None:
    client: Any = redis
    await pace_of(redis).permit(Lane.CHECKOUT, patience_ms=1_000)
    assert [value.split(":")[0] for value in (await client.hgetall(WAITING)).values()] == ["0"]


async def test_the_desk_and_the_script_mean_the_same(redis: Redis) -> None:
    desk = PaceDesk(redis, account="acc", endpoint="endpoint", per_second={"BindAxn": 500, "UpdateSubscription": 50})
    await desk.set_per_second("BindAxn", 80, by="ops")
    await desk.pause([Lane.BATCH], by="ops")
    pace = pace_of(redis, per_second=500)
    for outcome in (DONE, DONE, TIMED_OUT, Outcome(Verdict.THROTTLED, "Throttling.User")):
        pace.report(await pace.permit(Lane.CHECKOUT, patience_ms=1_000), outcome, 20)
    assert (await pace.permit(Lane.BATCH, patience_ms=1_000)).refusal is Refusal.PAUSED
    bind, update = (await desk.read()).actions
    assert bind.ceiling.per_second == 80
    assert update.traffic is None, "never used"
    assert bind.traffic is not None
    assert bind.traffic.rate is not None
    assert bind.traffic.rate < 80 / 1.05, "cut once"
    assert bind.traffic.last_minute == LastMinute(sent=4, throttled=1, unwell=1)
    assert {lane.lane for lane in bind.lanes if lane.is_paused} == {Lane.BATCH}
    await desk.resume(by="ops")
    assert (await pace.permit(Lane.BATCH, patience_ms=1_000)).come_back_ms == 0
