"""What goes through the engine's parts is counted, by labels whose values are bounded."""

from collections.abc import Mapping

import pytest
from redis.asyncio import Redis

from tests.ledger.support import claimed, lapse, new_job, waiting
from worker.callbacks.results import TryResult
from worker.clock import SystemClock
from worker.domain.job import JobState
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.observation.metered import KnownCodes, MeteredCaller, MeteredLedger, MeteredSender
from worker.observation.meters import Meters

FAILED = Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, {"code": "isv.PHONE_INVALID"})


@pytest.fixture
def meters() -> Meters:
    return Meters()


@pytest.fixture
def ledger(redis: Redis, meters: Meters) -> MeteredLedger:
    return MeteredLedger(redis, meters=meters, result_ttl_ms=60_000, first_look_ms=10_000)


def value(meters: Meters, name: str, **labels: str) -> float | None:
    return meters.registry.get_sample_value(name, labels)


async def test_a_job_is_counted_once_where_it_ends_and_once_for_each_wait(
    ledger: MeteredLedger, meters: Meters
) -> None:
    job = new_job()
    await ledger.open(job)
    await ledger.settle(await claimed(ledger, job.job_id), waiting())
    claim = await claimed(ledger, job.job_id, "t2")
    assert await ledger.settle(claim, FAILED)
    ended = {"kind": "bind", "lane": "checkout", "state": "failed", "code": "isv.PHONE_INVALID"}
    assert value(meters, "axn_jobs_ended_total", **ended) == 1
    assert value(meters, "axn_jobs_waiting_again_total", lane="checkout", code="Throttling") == 1
    assert value(meters, "axn_job_wait_seconds_count", lane="checkout") == 1


async def test_a_lost_lease_and_a_rescue_are_counted_and_no_end(
    ledger: MeteredLedger, meters: Meters, redis: Redis
) -> None:
    job = new_job()
    await ledger.open(job)
    dead = await claimed(ledger, job.job_id)
    await lapse(redis, job.job_id)
    await claimed(ledger, job.job_id, "t2")
    assert not await ledger.settle(dead, FAILED)
    assert value(meters, "axn_jobs_rescued_total", lane="checkout") == 1
    assert value(meters, "axn_leases_lost_total", lane="checkout") == 1
    assert "axn_jobs_ended_total{" not in str(list(meters.registry.collect()))


class OneAnswer:
    """A provider and a receiver with one answer each."""

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        return Outcome(Verdict.THROTTLED, "Throttling.User")

    async def send(self, *, url: str, webhook_id: str, body: str, secret: str = "") -> TryResult:
        return TryResult("" if url == "good" else "timeout")


async def test_calls_are_counted_by_what_must_follow_and_timed(meters: Meters) -> None:
    caller = MeteredCaller(OneAnswer(), meters, SystemClock())
    assert (await caller.call("BindAxn", {}, nonce="n")).verdict is Verdict.THROTTLED
    assert value(meters, "axn_provider_calls_total", action="BindAxn", verdict="throttled", code="Throttling.User") == 1
    assert value(meters, "axn_provider_call_seconds_count", action="BindAxn") == 1


async def test_tries_of_callbacks_are_counted_by_result(meters: Meters) -> None:
    sender = MeteredSender(OneAnswer(), meters, SystemClock())
    for url in ("good", "good", "bad"):
        await sender.send(url=url, webhook_id="w", body="{}")
    results = [value(meters, "axn_callback_tries_total", result=result) for result in ("delivered", "timeout")]
    assert (results, value(meters, "axn_callback_try_seconds_count")) == ([2, 1], 3)


def test_codes_beyond_the_bound_share_one_label() -> None:
    codes = KnownCodes(most=2)
    assert [codes.label(code) for code in ("a", "b", "c", "a", "d")] == ["a", "b", "other", "a", "other"]
