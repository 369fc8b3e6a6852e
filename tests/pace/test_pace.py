import asyncio
import time
from functools import partial
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.ledger.support import now_ms
from tests.pace import support
from tests.pace.support import SCHEDULE, HeldClock, let_a_second_pass
from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.pace.keys import account_of
from worker.pace.pace import Pace
from worker.pace.permit import Permit

DEPTH_MS = {Lane.CHECKOUT: 50, Lane.RENEWAL: 40, Lane.BATCH: 30}


class PatientClock(SystemClock):
    """Sleeps not at all, but time goes on by as much as was asked for."""

    def __init__(self) -> None:
        self.slept_ms = 0.0

    def monotonic_ms(self) -> float:
        return self.slept_ms

    async def sleep_ms(self, delay_ms: float) -> None:
        self.slept_ms += delay_ms
        await asyncio.sleep(0)


pace_of = partial(support.pace_of, per_second=200)


async def schedule_ahead_ms(redis: Redis) -> float:
    """How far ahead of now the schedule runs."""
    client: Any = redis
    return float(await client.hget(SCHEDULE, "tat")) / 1000 - await now_ms(redis)


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
    await let_a_second_pass(redis)
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=0)).come_back_ms == 0
    ahead = await schedule_ahead_ms(redis)
    come_back_ms = (await pace.permit(Lane.CHECKOUT, patience_ms=20)).come_back_ms
    assert 500 < come_back_ms <= 1_100
    assert clock.slept_ms == 0
    assert await schedule_ahead_ms(redis) <= ahead, "nothing was booked"


async def test_checkout_books_a_place_in_the_future_and_batch_does_not(redis: Redis) -> None:
    clock = PatientClock()
    pace = pace_of(redis, per_second=1, clock=clock)
    await let_a_second_pass(redis)
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
    await let_a_second_pass(redis)
    assert (await pace_of(redis, per_second=per_second).permit(lane, patience_ms=0)).come_back_ms == 0
    assert (await pace_of(redis, per_second=per_second).permit(lane, patience_ms=0)).come_back_ms > 0


async def grants_at_once(redis: Redis, lane: Lane, per_second: float) -> int:
    """How many get their permit who can wait no longer than the lane is deep; in checkout, not at all."""
    pace = pace_of(redis, per_second=per_second, clock=PatientClock())
    if lane is not Lane.CHECKOUT:
        permits = await asyncio.gather(*(pace.permit(lane, patience_ms=DEPTH_MS[lane]) for _ in range(100)))
        return sum(permit.come_back_ms == 0 for permit in permits)
    grants = 0
    while (await pace.permit(lane, patience_ms=0)).come_back_ms == 0:
        grants += 1
        assert grants < 1_000
    return grants


async def test_the_burst_is_the_lanes_depth(redis: Redis) -> None:
    interval_ms = 1050 / 200
    await let_a_second_pass(redis)
    began = time.monotonic()
    batch = await grants_at_once(redis, Lane.BATCH, 200)
    more_for_checkout = await grants_at_once(redis, Lane.CHECKOUT, 200)
    became_free_meanwhile = (time.monotonic() - began) * 1000 / interval_ms
    assert 5 <= batch <= 5 + 1 + became_free_meanwhile
    assert 1 <= more_for_checkout <= 20 / interval_ms + 1 + became_free_meanwhile


async def test_an_unknown_state_starts_without_a_burst(redis: Redis) -> None:
    assert 1 <= await grants_at_once(redis, Lane.CHECKOUT, 50) <= 2  # a burst would be 50 / 21 ms + 1
    await redis.delete(SCHEDULE)
    assert await grants_at_once(redis, Lane.BATCH, 50) <= 3


async def test_a_schedule_far_in_the_future_stalls_nobody(redis: Redis) -> None:
    await let_a_second_pass(redis)
    await redis.hset(SCHEDULE, "tat", str((await now_ms(redis) + 3_600_000) * 1000))
    pace = pace_of(redis, per_second=200, clock=PatientClock())
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=100)).come_back_ms == 0
    assert await schedule_ahead_ms(redis) < 100


async def test_a_flushed_script_cache_is_not_noticed(redis: Redis) -> None:
    pace = pace_of(redis)
    await pace.permit(Lane.CHECKOUT, patience_ms=100)
    client: Any = redis
    await client.script_flush()
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=100)).come_back_ms == 0


async def calls_of(redis: Redis, script: str) -> int:
    client: Any = redis
    return int((await client.info("commandstats")).get(f"cmdstat_{script}", {"calls": 0})["calls"])


async def test_permits_for_many_jobs_cost_one_round_trip_per_quantum(redis: Redis) -> None:
    await let_a_second_pass(redis)
    pace = pace_of(redis, per_second=2_000)
    before = await calls_of(redis, "evalsha")
    permits = await asyncio.gather(*(pace.permit(Lane.BATCH, patience_ms=5_000) for _ in range(300)))
    assert all(permit.come_back_ms == 0 for permit in permits)
    taken = await calls_of(redis, "evalsha") - before
    assert 3 <= taken <= 15, "300 permits are 158 ms: a wish for each quantum of 15 ms, and a few to tell"


async def test_a_place_beyond_ones_patience_goes_to_the_next_who_can_wait(redis: Redis) -> None:
    await let_a_second_pass(redis)
    await redis.hset(SCHEDULE, "tat", str((await now_ms(redis) + 600) * 1000))
    pace = pace_of(redis)
    hasty, patient = await asyncio.gather(
        pace.permit(Lane.BATCH, patience_ms=20), pace.permit(Lane.BATCH, patience_ms=10_000)
    )
    assert 200 < hasty.come_back_ms <= 600
    assert patient.come_back_ms == 0


async def test_checkout_books_its_place_in_one_call(redis: Redis) -> None:
    await let_a_second_pass(redis)
    clock = PatientClock()
    pace = pace_of(redis, per_second=20, clock=clock)
    before = await calls_of(redis, "evalsha")
    for _ in range(10):
        assert (await pace.permit(Lane.CHECKOUT, patience_ms=5_000)).come_back_ms == 0
    assert await calls_of(redis, "evalsha") - before == 10
    assert clock.slept_ms > 300


async def test_a_permit_that_is_not_used_comes_back(redis: Redis) -> None:
    await let_a_second_pass(redis)
    pace = pace_of(redis, per_second=2, clock=SystemClock())
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=0)).come_back_ms == 0
    waiting = asyncio.create_task(pace.permit(Lane.CHECKOUT, patience_ms=5_000))
    await asyncio.wait([waiting], timeout=0.1)
    booked = await schedule_ahead_ms(redis)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=0)).come_back_ms > 0
    assert await schedule_ahead_ms(redis) == pytest.approx(booked - 525, abs=100)


async def test_a_batch_permit_that_is_not_used_goes_to_the_next_who_waits(redis: Redis) -> None:
    await let_a_second_pass(redis)
    pace = pace_of(redis, per_second=1_000, clock=HeldClock())
    asking = [asyncio.create_task(pace.permit(Lane.BATCH, patience_ms=5_000)) for _ in range(60)]
    await asyncio.wait(asking, timeout=0.2)
    waiting = len(pace._queues[Lane.BATCH, False]._still_waiting())
    assert 20 <= waiting < 40, "a lease is 30 ms"
    asking[5].cancel()
    await asyncio.wait([asking[5]], timeout=1)
    assert len(pace._queues[Lane.BATCH, False]._still_waiting()) == waiting - 1
    await pace.aclose()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_the_last_batch_permit_of_a_lease_comes_back_unused(redis: Redis) -> None:
    await let_a_second_pass(redis)
    pace = pace_of(redis, per_second=20, clock=HeldClock())
    asking = asyncio.create_task(pace.permit(Lane.BATCH, patience_ms=5_000))
    await asyncio.wait([asking], timeout=0.1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert pace._schedule._unused_us == pytest.approx(52_500, abs=1)
    await pace.aclose()


THROTTLED = Outcome(Verdict.THROTTLED, "Throttling.User")


async def rate_of(redis: Redis) -> tuple[int, float]:
    client: Any = redis
    epoch, cut = await client.hmget(SCHEDULE, "epoch", "cut")
    return int(epoch), float(cut or 0)


async def test_throttled_calls_of_several_workers_cut_once_and_all_learn_of_it(redis: Redis) -> None:
    await let_a_second_pass(redis)
    one, other = pace_of(redis, per_second=1_000), pace_of(redis, per_second=1_000)
    permits = [await pace.permit(Lane.CHECKOUT, patience_ms=100) for pace in (one, other) * 5]
    before, _ = await rate_of(redis)
    for pace, permit in zip((one, other) * 5, permits, strict=True):
        pace.report(permit, THROTTLED, 20)
    later = [await pace.permit(Lane.CHECKOUT, patience_ms=100) for pace in (one, other)]
    epoch, cut = await rate_of(redis)
    assert epoch == before + 1
    assert 0 < cut < 1_000 / 1.05
    assert {permit.epoch for permit in later} == {epoch}


@pytest.mark.parametrize("verdict", [Verdict.NOT_PROCESSED, Verdict.AMBIGUOUS])
async def test_calls_that_may_not_have_arrived_tell_nothing_of_the_rate(redis: Redis, verdict: Verdict) -> None:
    await let_a_second_pass(redis)
    pace = pace_of(redis)
    pace.report(await pace.permit(Lane.CHECKOUT, patience_ms=100), Outcome(verdict, "x"), 20)
    await pace.permit(Lane.CHECKOUT, patience_ms=100)
    client: Any = redis
    assert await client.hmget(SCHEDULE, "accepted_since", "refused_since") == [None, None]
    assert await client.hget(SCHEDULE, "unwell") == ("1" if verdict is Verdict.AMBIGUOUS else None)


async def test_what_became_of_a_call_is_told_with_the_next_wish_or_soon(redis: Redis) -> None:
    await let_a_second_pass(redis)
    pace, client = pace_of(redis), cast("Any", redis)
    permit = await pace.permit(Lane.CHECKOUT, patience_ms=100)
    pace.report(permit, Outcome(Verdict.DONE, "OK"), 20)
    await pace.permit(Lane.BATCH, patience_ms=100)
    assert await client.hget(SCHEDULE, "accepted_since") == "1"
    pace.report(permit, Outcome(Verdict.WRONG_REQUEST, "isv.PHONE_INVALID"), 20)
    end = time.monotonic() + 2
    while await client.hget(SCHEDULE, "accepted_since") != "2":
        assert time.monotonic() < end, "flushed after 50 ms"
        await asyncio.sleep(0.01)


async def test_telling_takes_no_place(redis: Redis) -> None:
    await let_a_second_pass(redis)
    pace, client = pace_of(redis, per_second=20), cast("Any", redis)
    pace.report(Permit(Lane.CHECKOUT), Outcome(Verdict.DONE, "OK"), 20)
    end = time.monotonic() + 2
    while await client.hget(SCHEDULE, "accepted_since") != "1":
        assert time.monotonic() < end
        await asyncio.sleep(0.001)
    assert await schedule_ahead_ms(redis) < 20, "a place is 52 ms"


async def test_the_providers_own_delay_holds_every_worker(redis: Redis) -> None:
    await let_a_second_pass(redis)
    one, other = pace_of(redis), pace_of(redis)
    permit = await one.permit(Lane.CHECKOUT, patience_ms=100)
    one.report(permit, Outcome(Verdict.THROTTLED, "Throttling.User", retry_after_ms=5_000), 20)
    await one.permit(Lane.CHECKOUT, patience_ms=0)
    for lane in DEPTH_MS:
        assert 4_000 < (await other.permit(lane, patience_ms=0)).come_back_ms <= 5_000


async def test_a_redis_that_lost_everything_starts_again_without_a_burst(redis: Redis) -> None:
    await let_a_second_pass(redis)
    await grants_at_once(redis, Lane.CHECKOUT, 200)
    client: Any = redis
    await client.flushall()
    assert await grants_at_once(redis, Lane.CHECKOUT, 200) <= 3


async def test_whoever_waits_learns_that_redis_is_away(redis: Redis) -> None:
    pace = pace_of(redis)
    client: Any = redis
    await client.set(SCHEDULE, "no schedule")
    for lane in DEPTH_MS:
        with pytest.raises(ResponseError):
            await pace.permit(lane, patience_ms=100)


def test_no_key_id_stands_in_an_accounts_name() -> None:
    assert "LTAI" not in account_of("LTAI5tSecretKeyId")
    assert account_of("a") != account_of("b")
