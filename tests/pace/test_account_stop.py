"""An account that is refused is left alone, but for one probe at a time."""

import asyncio

import pytest
from redis.asyncio import Redis

from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.pace.concurrency import InFlight
from worker.pace.keys import PaceKeys
from worker.pace.pace import Pace
from worker.pace.permit import Refusal
from worker.pace.rules import PaceRules, ProbeRules

CODE = "InvalidAccessKeyId.NotFound"
DEPTH_US = {Lane.CHECKOUT: 50_000, Lane.BATCH: 30_000}


def pace_of(redis: Redis, action: str = "BindAxn", first_interval_ms: int = 60_000) -> Pace:
    probes = ProbeRules(first_interval_ms=first_interval_ms, longest_interval_ms=4 * first_interval_ms)
    return Pace(
        redis,
        keys=PaceKeys("acc", action, "endpoint"),
        rules=PaceRules(1_000, DEPTH_US, probes=probes),
        in_flight=InFlight(1_000, SystemClock()),
        clock=SystemClock(),
    )


async def let_the_probe_be_due(redis: Redis) -> None:
    await redis.hset("axn1:{pace:acc}:stop", "next_probe_at", "1")


async def ms_until_probe(redis: Redis) -> float:
    seconds, microseconds = await redis.time()
    return float(str(await redis.hget("axn1:{pace:acc}:stop", "next_probe_at"))) - seconds * 1000 - microseconds / 1000


@pytest.mark.parametrize("lane", [Lane.CHECKOUT, Lane.BATCH])
async def test_nothing_is_sent_by_any_worker_or_action_while_the_account_is_stopped(redis: Redis, lane: Lane) -> None:
    assert await pace_of(redis).stop_account(CODE, by_probe=False)
    for action in ("BindAxn", "UnbindSubscription"):
        permit = await pace_of(redis, action).permit(lane, patience_ms=100_000)
        assert permit.refusal is Refusal.ACCOUNT_STOPPED
        assert 50_000 < permit.come_back_ms <= 65_000


async def test_only_the_first_refusal_is_news(redis: Redis) -> None:
    pace = pace_of(redis)
    assert await pace.stop_account(CODE, by_probe=False)
    assert not await pace.stop_account(CODE, by_probe=False)


async def test_of_many_who_ask_one_probes(redis: Redis) -> None:
    pace = pace_of(redis)
    await pace.stop_account(CODE, by_probe=False)
    await let_the_probe_be_due(redis)
    permits = await asyncio.gather(*(pace.permit(Lane.CHECKOUT, patience_ms=1_000) for _ in range(20)))
    assert sorted(permit.is_probe for permit in permits) == [False] * 19 + [True]
    assert sum(permit.come_back_ms == 0 for permit in permits) == 1


async def test_a_failed_probe_doubles_the_interval_up_to_the_longest(redis: Redis) -> None:
    pace = pace_of(redis)
    await pace.stop_account(CODE, by_probe=False)
    for interval_ms in (120_000, 240_000, 240_000):
        await pace.stop_account(CODE, by_probe=True)
        assert interval_ms - 5_000 < await ms_until_probe(redis) <= interval_ms


async def test_after_a_good_probe_all_go_on(redis: Redis) -> None:
    pace = pace_of(redis)
    await pace.stop_account(CODE, by_probe=False)
    await pace.reopen_account()
    permit = await pace.permit(Lane.CHECKOUT, patience_ms=1_000)
    assert (permit.come_back_ms, permit.is_probe) == (0, False)


async def test_a_probe_waits_for_the_end_of_a_silence_that_the_provider_asked_for(redis: Redis) -> None:
    pace = pace_of(redis)
    permit = await pace.permit(Lane.CHECKOUT, patience_ms=1_000)
    pace.report(permit, Outcome(Verdict.THROTTLED, "Throttling.User", retry_after_ms=5_000), 20)
    await pace.permit(Lane.CHECKOUT, patience_ms=0)  # tells of it
    await pace.stop_account(CODE, by_probe=False)
    await let_the_probe_be_due(redis)
    permit = await pace.permit(Lane.CHECKOUT, patience_ms=1_000)
    assert permit.refusal is Refusal.ACCOUNT_STOPPED
    assert not permit.is_probe
    assert 4_000 < permit.come_back_ms <= 10_000
