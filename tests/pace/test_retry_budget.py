"""Calls that failed before take from a budget that all workers share; the others never wait for it."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.pace.model import BY_BUDGET, RETRIES_SAVED_S, Call, Rules, World, acquire
from tests.pace.support import DONE, SCHEDULE, pace_of
from worker.domain.job import Lane
from worker.pace.pace import Pace
from worker.pace.permit import Permit, Refusal
from worker.pace.rules import RetryBudget

LANES = [Lane.CHECKOUT, Lane.RENEWAL, Lane.BATCH]
FEW = RetryBudget(per_second=3, share=0.5)


async def retried(pace: Pace, lane: Lane) -> Permit:
    return await pace.permit(lane, patience_ms=1_000, is_retry=True)


@pytest.mark.parametrize("lane", LANES)
async def test_retries_beyond_the_budget_wait_and_other_calls_do_not(redis: Redis, lane: Lane) -> None:
    one, other = pace_of(redis, retries=FEW), pace_of(redis, retries=FEW)
    permits = [await retried(pace, lane) for pace in (one, other, one, other, one)]
    assert [permit.come_back_ms == 0 for permit in permits[:3]] == [True] * 3
    assert permits[4].refusal is Refusal.RETRY_BUDGET
    assert permits[4].refusal.code == "retry.budget"
    assert 1 <= permits[4].come_back_ms <= 334
    assert (await one.permit(lane, patience_ms=1_000)).come_back_ms == 0


async def test_processed_calls_add_their_share(redis: Redis) -> None:
    pace = pace_of(redis, retries=FEW)
    while (await retried(pace, Lane.CHECKOUT)).come_back_ms == 0:
        pass
    for _ in range(4):
        pace.report(Permit(Lane.CHECKOUT), DONE, 20)
    assert [(await retried(pace, Lane.CHECKOUT)).come_back_ms == 0 for _ in range(2)] == [True, True]


async def test_a_lease_holds_no_more_retries_than_the_budget(redis: Redis) -> None:
    client: Any = redis
    pace = pace_of(redis, retries=FEW, per_second=5_000)
    permits = await asyncio.gather(*(retried(pace, Lane.BATCH) for _ in range(20)))
    assert 3 <= sum(permit.come_back_ms == 0 for permit in permits) <= 4
    assert float(await client.hget(SCHEDULE, "retry_tokens")) < 1


WISHES = st.lists(
    st.tuples(st.integers(0, 500_000), st.integers(0, 2), st.integers(1, 30), st.integers(0, 20)), max_size=60
)


@given(per_second=st.sampled_from([0.5, 3, 10]), share=st.sampled_from([0.0, 0.2]), wishes=WISHES)
def test_no_span_of_time_holds_more_retries_than_the_budget(
    per_second: float, share: float, wishes: list[tuple[int, int, int, int]]
) -> None:
    rules = Rules(2_000, retries_per_second=per_second, retry_share=share)
    world, begun_us, now = World(), 1e15, 1e15
    granted = processed = 0
    for elapsed_us, lane, wanted, ok in wishes:
        now += elapsed_us
        processed += ok
        call = Call(lane, wanted if lane else 1, longest_wait=10_000_000, ok=ok, is_retry=True)
        world, reply = acquire(world, rules, call, now)
        granted += reply.granted
        assert granted <= per_second * (1 + (now - begun_us) / 1e6) + share * processed + 1e-6
        assert world.state.retry_tokens <= RETRIES_SAVED_S * (per_second + share * rules.ceiling)
        if reply.reason == BY_BUDGET:
            assert reply.wait > 0
