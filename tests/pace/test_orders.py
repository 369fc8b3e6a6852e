"""What the operator orders is in force with the very next wish of any worker."""

from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import now_ms
from tests.pace.support import ORDERS, SCHEDULE, WAITING, pace_of
from worker.domain.job import Lane
from worker.pace.permit import Refusal

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


async def test_who_waits_is_told_now_and_then(redis: Redis) -> None:
    client: Any = redis
    pace = pace_of(redis)
    await pace.permit(Lane.BATCH, patience_ms=1_000)
    await pace.permit(Lane.CHECKOUT, patience_ms=1_000)
    told = await client.hgetall(WAITING)
    assert sorted(field.rpartition(":")[2] for field in told) == ["batch", "checkout"]
    for value in told.values():
        count, at_ms = value.split(":")
        assert count == "1"
        assert abs(int(at_ms) - await now_ms(redis)) < 5_000
