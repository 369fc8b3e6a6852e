"""An endpoint that does not answer is left alone, but for one probe at a time."""

from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import now_ms
from tests.pace.support import CIRCUIT, DONE, SCHEDULE, TIMED_OUT, pace_of
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.pace.pace import Pace
from worker.pace.permit import Permit, Refusal

LANES = [Lane.CHECKOUT, Lane.RENEWAL, Lane.BATCH]


async def sent(pace: Pace, outcome: Outcome, times: int = 1) -> None:
    for _ in range(times):
        pace.report(await pace.permit(Lane.CHECKOUT, patience_ms=1_000), outcome, 20)
    await pace.permit(Lane.CHECKOUT, patience_ms=1_000)


async def opened(redis: Redis) -> None:
    await sent(pace_of(redis), TIMED_OUT, 10)


async def let_the_probe_be_due(redis: Redis) -> None:
    client: Any = redis
    await client.hset(CIRCUIT, "next_probe_at", "1")


async def probe(pace: Pace, lane: Lane = Lane.CHECKOUT) -> Permit:
    permit = await pace.permit(lane, patience_ms=1_000)
    assert (permit.come_back_ms, permit.is_circuit_probe) == (0, True)
    return permit


async def ms_until_probe(redis: Redis) -> float:
    client: Any = redis
    return float(await client.hget(CIRCUIT, "next_probe_at")) - await now_ms(redis)


@pytest.mark.parametrize("lane", LANES)
async def test_calls_without_an_answer_hold_back_every_worker_and_action(redis: Redis, lane: Lane) -> None:
    await opened(redis)
    for action in ("BindAxn", "UpdateSubscription"):
        permit = await pace_of(redis, action=action).permit(lane, patience_ms=1_000)
        assert permit.refusal is Refusal.CIRCUIT_OPEN
        assert permit.refusal.code == "circuit.open"
        assert 50_000 < permit.come_back_ms <= 60_000


@pytest.mark.parametrize(
    ("outcome", "opens"),
    [
        (TIMED_OUT, True),
        (Outcome(Verdict.NOT_PROCESSED, "transport.connect_refused"), True),
        (Outcome(Verdict.AMBIGUOUS, "InternalError", http_status=500), True),
        (Outcome(Verdict.NOT_PROCESSED, "isp.VENDOR_UNAVAILABLE", http_status=200), True),
        (Outcome(Verdict.NOT_PROCESSED, "isv.VENDOR_BIND_FAILED", http_status=200), False),
        (Outcome(Verdict.WRONG_REQUEST, "isv.MOBILE_NUMBER_ILLEGAL", http_status=400), False),
        (Outcome(Verdict.ACCOUNT, "credentials.unavailable"), False),
        (DONE, False),
    ],
)
async def test_what_opens_it(redis: Redis, outcome: Outcome, opens: bool) -> None:
    pace = pace_of(redis)
    for _ in range(12):
        pace.report(Permit(Lane.CHECKOUT), outcome, 20)
    permit = await pace.permit(Lane.CHECKOUT, patience_ms=1_000)
    assert (permit.refusal is Refusal.CIRCUIT_OPEN) is opens


async def test_few_failures_or_a_small_share_of_them_do_not_open_it(redis: Redis) -> None:
    await sent(pace_of(redis), TIMED_OUT, 9)
    assert (await pace_of(redis).permit(Lane.CHECKOUT, patience_ms=1_000)).come_back_ms == 0
    await sent(pace_of(redis), DONE, 30)
    await sent(pace_of(redis), TIMED_OUT, 10)
    assert (await pace_of(redis).permit(Lane.CHECKOUT, patience_ms=1_000)).come_back_ms == 0


async def test_throttled_calls_are_answers(redis: Redis) -> None:
    pace = pace_of(redis)
    for _ in range(20):
        pace.report(Permit(Lane.CHECKOUT), Outcome(Verdict.THROTTLED, "Throttling.User"), 20)
    for _ in range(12):
        pace.report(Permit(Lane.CHECKOUT), TIMED_OUT, 20)
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=1_000)).come_back_ms == 0


@pytest.mark.parametrize("lane", LANES)
async def test_one_probe_at_a_time_and_its_answer_opens_the_way(redis: Redis, lane: Lane) -> None:
    await opened(redis)
    await let_the_probe_be_due(redis)
    pace, other = pace_of(redis), pace_of(redis)
    permit = await probe(pace, lane)
    refused = await other.permit(lane, patience_ms=1_000)
    assert refused.refusal is Refusal.CIRCUIT_OPEN
    assert refused.come_back_ms <= 1_000, "the probe's answer is expected soon"
    pace.report(permit, DONE, 20)
    await pace.permit(Lane.CHECKOUT, patience_ms=1_000)
    permit = await other.permit(lane, patience_ms=1_000)
    assert (permit.come_back_ms, permit.is_circuit_probe) == (0, False)


async def test_after_it_closes_the_rate_grows_from_a_tenth(redis: Redis) -> None:
    client: Any = redis
    await opened(redis)
    await let_the_probe_be_due(redis)
    pace = pace_of(redis)
    pace.report(await probe(pace), DONE, 20)
    await pace.permit(Lane.CHECKOUT, patience_ms=1_000)
    assert 90 < float(await client.hget(SCHEDULE, "rate")) < 300
    await client.hset(CIRCUIT, "closed_at", str(await now_ms(redis) - 5_000))
    await pace.permit(Lane.CHECKOUT, patience_ms=1_000)
    assert float(await client.hget(SCHEDULE, "rate")) == pytest.approx(1_000 / 1.05)


async def test_each_probe_in_vain_doubles_the_interval_up_to_the_longest(redis: Redis) -> None:
    await opened(redis)
    pace = pace_of(redis)
    for expected_ms in (120_000, 240_000, 240_000):
        await let_the_probe_be_due(redis)
        pace.report(await probe(pace), TIMED_OUT, 20)
        assert (await pace.permit(Lane.CHECKOUT, patience_ms=1_000)).refusal is Refusal.CIRCUIT_OPEN
        assert await ms_until_probe(redis) == pytest.approx(expected_ms, abs=5_000)


async def test_a_probe_whose_worker_died_is_followed_by_another(redis: Redis) -> None:
    await opened(redis)
    await let_the_probe_be_due(redis)
    await probe(pace_of(redis))
    assert await ms_until_probe(redis) == pytest.approx(30_000, abs=5_000)


async def test_a_late_answer_to_another_call_does_not_close_it(redis: Redis) -> None:
    await opened(redis)
    pace = pace_of(redis)
    pace.report(Permit(Lane.CHECKOUT), DONE, 20)
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=1_000)).refusal is Refusal.CIRCUIT_OPEN


async def test_a_stopped_account_and_an_open_circuit_are_probed_by_the_same_call(redis: Redis) -> None:
    await opened(redis)
    pace = pace_of(redis)
    client: Any = redis
    await pace.stop_account("NoPermission", by_probe=False)
    await let_the_probe_be_due(redis)
    assert (await pace.permit(Lane.CHECKOUT, patience_ms=1_000)).refusal is Refusal.ACCOUNT_STOPPED
    await client.hset("axn1:{pace:acc}:stop", "next_probe_at", "1")
    permit = await probe(pace)
    assert permit.is_probe
