"""Every permit holds a slot until its call has ended, and no way of not using it keeps the slot."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.pace.support import DONE, SCHEDULE, TIMED_OUT, HeldClock, pace_of
from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.pace.concurrency import InFlight
from worker.pace.permit import Permit, Refusal

LANES = [Lane.CHECKOUT, Lane.RENEWAL, Lane.BATCH]
THROTTLED = Outcome(Verdict.THROTTLED, "Throttling.User")


def slots(most: int = 5) -> InFlight:
    return InFlight(most, SystemClock())


@pytest.mark.parametrize("lane", LANES)
async def test_no_more_permits_are_out_than_there_are_slots(redis: Redis, lane: Lane) -> None:
    in_flight = slots(5)
    pace = pace_of(redis, in_flight=in_flight)
    permits = await asyncio.gather(*(pace.permit(lane, patience_ms=200) for _ in range(8)))
    granted = [permit for permit in permits if not permit.come_back_ms]
    assert len(granted) == in_flight.in_flight == (5 if lane is Lane.CHECKOUT else 4), "one is left to checkout"
    assert {permit.refusal for permit in permits if permit.come_back_ms} == {Refusal.IN_FLIGHT}
    for permit, outcome in zip(granted, (DONE, THROTTLED, TIMED_OUT), strict=False):
        pace.report(permit, outcome, 20)
    pace.unused(granted[3])
    assert in_flight.in_flight == len(granted) - 4
    assert (await pace.permit(lane, patience_ms=200)).come_back_ms == 0


@pytest.mark.parametrize("lane", LANES)
async def test_a_slot_comes_back_when_there_is_no_permit(redis: Redis, lane: Lane) -> None:
    client: Any = redis
    in_flight = slots()
    slow = pace_of(redis, in_flight=in_flight, per_second=0.1)
    asking = [asyncio.create_task(slow.permit(lane, patience_ms=60_000)) for _ in range(4)]
    await asyncio.wait(asking, timeout=0.1)
    for task in asking:
        task.cancel()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    ends += await asyncio.gather(*(slow.permit(lane, patience_ms=50) for _ in range(4)))
    granted = [end for end in ends if isinstance(end, Permit) and not end.come_back_ms]
    assert len(granted) < 3
    for permit in granted:
        slow.unused(permit)
    await client.set(SCHEDULE, "no schedule")
    with pytest.raises(ResponseError):
        await pace_of(redis, in_flight=in_flight).permit(lane, patience_ms=50)
    await slow.aclose()
    assert in_flight.in_flight == 0


@pytest.mark.parametrize("lane", LANES)
async def test_a_slot_comes_back_from_who_gives_up_while_his_place_is_ahead(redis: Redis, lane: Lane) -> None:
    in_flight = slots()
    pace = pace_of(redis, in_flight=in_flight, clock=HeldClock(), per_second=200)
    asking = [asyncio.create_task(pace.permit(lane, patience_ms=60_000)) for _ in range(4)]
    await asyncio.wait(asking, timeout=0.1)
    assert in_flight.in_flight >= 1
    for task in asking:
        task.cancel()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert in_flight.in_flight == sum(isinstance(end, Permit) for end in ends)
    await pace.aclose()


async def test_a_checkout_finds_a_slot_beside_a_batch_that_takes_all_it_can(redis: Redis) -> None:
    in_flight = slots(5)
    pace = pace_of(redis, in_flight=in_flight)
    asking = [asyncio.create_task(pace.permit(Lane.BATCH, patience_ms=5_000)) for _ in range(20)]
    done, _ = await asyncio.wait(asking, timeout=0.3)
    assert len(done) == 4
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=100)).come_back_ms == 0
    await pace.aclose()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


@pytest.mark.parametrize("share", [0.0, 0.1])
async def test_while_redis_is_away_checkout_goes_on_at_its_share_and_nothing_else(redis: Redis, share: float) -> None:
    client: Any = redis
    pace = pace_of(redis, per_second=1_000, share_without_redis=share)
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=100)).come_back_ms == 0
    await client.set(SCHEDULE, "no schedule")
    began_ms = SystemClock().monotonic_ms()
    for lane in LANES if not share else LANES[1:]:
        with pytest.raises(ResponseError):
            await pace.permit(lane, patience_ms=100)
    if share:
        for _ in range(10):
            assert (await pace.permit(Lane.CHECKOUT, patience_ms=1_000)).come_back_ms == 0
        assert SystemClock().monotonic_ms() - began_ms >= 9 * 10.5, "a tenth of 1,000 / 1.05 per second"
        assert (await pace.permit(Lane.CHECKOUT, patience_ms=1)).come_back_ms > 0, "its place is further ahead"
