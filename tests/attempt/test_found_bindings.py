"""A binding whose job came into other hands comes home, or is reported as an orphan."""

import asyncio
import json
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import PHONE, callback_record_of, lapse, look_at, opened, record_of
from worker.attempt.decisions import bound
from worker.attempt.found_bindings import FoundBindingsDesk
from worker.domain.job import JobKind, JobState, Lane, OnDoubt
from worker.ledger.keys import orphan_webhook_id
from worker.ledger.records import AttemptKnowledge, Claim, NewJob, Settlement

from .bench import AMBIGUOUS, DONE, NONCE_USED, URL, WRONG, Bench, FakeProvider, LeapingClock

FOUND = bound("17000009999", "900", {"code": "OK", "message": "OK", "request_id": "r0"})
REBIND: dict[str, Any] = {"on_doubt": OnDoubt.REBIND}


@pytest.fixture
def desk(bench: Bench) -> FoundBindingsDesk:
    return FoundBindingsDesk(bench.ledger, LeapingClock(step_ms=10), lease_ms=1_000)


async def zombie_of(bench: Bench, **overrides: Any) -> tuple[NewJob, Claim]:
    """A job whose first worker fell asleep with the lease, to learn later that it had bound."""
    job = await bench.opened(
        parameters={"PhoneNoA": PHONE, "Expiration": "2099-01-01 00:00:00", "PoolKey": "FC1"}, **overrides
    )
    claim = await bench.ledger.claim(job.job_id, Lane.CHECKOUT, token="zombie", lease_ms=1)
    assert isinstance(claim, Claim)
    return job, claim


async def test_a_job_held_in_doubt_becomes_bound_and_its_receiver_is_told(
    bench: Bench, desk: FoundBindingsDesk, redis: Redis
) -> None:
    job, zombie = await zombie_of(bench)
    bench.provider = FakeProvider(NONCE_USED)
    assert await bench.attempt(job) == "in_doubt"
    await desk.tell(zombie, FOUND)
    read = await bench.read(job)
    assert (read.state, read.phone_no_x, read.subs_id) == (JobState.BOUND, "17000009999", "900")
    assert read.orphans == ()
    body = json.loads((await callback_record_of(redis, f"{job.job_id}-3"))["body"])
    assert (body["type"], body["data"]["subs_id"]) == ("bind.succeeded", "900")


async def test_a_job_that_waits_with_the_same_attempt_becomes_bound(bench: Bench, desk: FoundBindingsDesk) -> None:
    job, zombie = await zombie_of(bench)
    bench.provider = FakeProvider(AMBIGUOUS)
    assert await bench.attempt(job) == "waiting"
    await desk.tell(zombie, FOUND)
    assert (await bench.read(job)).subs_id == "900"


async def test_a_rebind_that_was_not_sent_yet_becomes_bound_without_an_orphan(
    bench: Bench, desk: FoundBindingsDesk
) -> None:
    job, zombie = await zombie_of(bench, **REBIND)
    bench.provider = FakeProvider(NONCE_USED)
    assert await bench.attempt(job) == "waiting"
    await desk.tell(zombie, FOUND)
    read = await bench.read(job)
    assert (read.subs_id, read.possible_orphans) == ("900", 0)


async def test_found_by_the_second_attempt_the_orphan_that_the_first_one_may_have_left_stays_reported(
    bench: Bench, desk: FoundBindingsDesk
) -> None:
    job, _ = await zombie_of(bench, **REBIND)
    bench.provider = FakeProvider(NONCE_USED)
    assert await bench.attempt(job) == "waiting"
    second = await bench.ledger.claim(job.job_id, Lane.CHECKOUT, token="second", lease_ms=1)
    assert isinstance(second, Claim)
    assert second.attempt == 2
    await desk.tell(second, FOUND)
    read = await bench.read(job)
    assert (read.subs_id, read.possible_orphans) == ("900", 1)


async def test_what_another_worker_is_at_is_waited_for(bench: Bench, desk: FoundBindingsDesk) -> None:
    job, zombie = await zombie_of(bench)
    await lapse(bench.redis, job.job_id)
    rescuer = await bench.ledger.claim(job.job_id, Lane.CHECKOUT, token="rescuer", lease_ms=60_000)
    assert isinstance(rescuer, Claim)
    telling = asyncio.create_task(desk.tell(zombie, FOUND))
    await asyncio.sleep(0)
    in_doubt = Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN, {"code": "doubt"})
    assert await bench.ledger.settle(rescuer, in_doubt)
    await telling
    assert (await bench.read(job)).subs_id == "900"


@pytest.mark.parametrize(("request_", "is_unbound"), [(REBIND, True), ({"on_doubt": OnDoubt.HOLD}, False)])
async def test_beside_another_end_it_is_an_orphan_and_unbound_where_the_request_said_rebind(
    bench: Bench, desk: FoundBindingsDesk, redis: Redis, request_: dict[str, Any], is_unbound: bool
) -> None:
    job, zombie = await zombie_of(bench, **request_)
    bench.provider = FakeProvider(NONCE_USED, DONE) if is_unbound else FakeProvider(WRONG)
    while not (await bench.read(job)).state.is_end:
        await bench.attempt(job)
    before = await bench.read(job)
    await desk.tell(zombie, FOUND)
    read = await bench.read(job)
    assert (read.state, read.subs_id) == (before.state, before.subs_id)
    (orphan,) = read.orphans
    assert (orphan.phone_no_x, orphan.subs_id, bool(orphan.unbind_job_id)) == ("17000009999", "900", is_unbound)
    webhook_id = orphan_webhook_id(job.job_id, "900")
    callback = await callback_record_of(redis, webhook_id)
    body = json.loads(callback["body"])
    assert (callback["url"], body["type"], body["data"]["subs_id"]) == (URL, "binding.orphaned", "900")
    assert PHONE not in callback["body"]
    assert await look_at(redis, job.job_id, Lane.CALLBACK, webhook_id) is not None


async def test_the_unbind_of_an_orphan_is_a_confirmed_job_of_its_own(bench: Bench, desk: FoundBindingsDesk) -> None:
    job, zombie = await zombie_of(bench, **REBIND)
    bench.provider = FakeProvider(NONCE_USED, DONE)
    while not (await bench.read(job)).state.is_end:
        await bench.attempt(job)
    await desk.tell(zombie, FOUND)
    await desk.tell(zombie, FOUND)
    assert (await record_of(bench.redis, job.job_id))["orphans"] == "1"
    assert not await desk.report(zombie, "17000009999", "900")
    (orphan,) = (await bench.read(job)).orphans
    unbind = await bench.ledger.read(orphan.unbind_job_id)
    assert (unbind.kind, unbind.state, unbind.lane) == (JobKind.UNBIND, JobState.ACCEPTED, Lane.BATCH)
    record = await record_of(bench.redis, orphan.unbind_job_id)
    assert record["is_confirmed"] == "1"
    assert json.loads(record["request"]) == {"SubsId": "900", "SecretNo": "17000009999", "PoolKey": "FC1"}
    assert await look_at(bench.redis, orphan.unbind_job_id, Lane.BATCH) is not None


async def test_the_jobs_own_binding_is_no_orphan(bench: Bench, desk: FoundBindingsDesk) -> None:
    job, zombie = await zombie_of(bench)
    bench.provider = FakeProvider(DONE)
    assert await bench.attempt(job) == "bound"
    await desk.tell(zombie, bound("17000001111", "100", {"code": "OK"}))
    assert (await bench.read(job)).orphans == ()


async def test_an_orphan_of_a_job_whose_record_is_gone_is_at_least_logged_without_its_number(
    bench: Bench, desk: FoundBindingsDesk, caplog: pytest.LogCaptureFixture
) -> None:
    job, zombie = await zombie_of(bench)
    await bench.redis.flushdb()
    await desk.tell(zombie, FOUND)
    assert f"record of its job is gone job_id={job.job_id}" in caplog.text
    assert "900" in caplog.text
    assert "17000009999" not in caplog.text


async def test_a_lost_lease_with_a_binding_goes_to_the_desk_and_no_other_does(bench: Bench) -> None:
    job = await opened(bench.ledger)
    bench.provider = FakeProvider(WRONG)
    assert await bench.attempt(job) == "failed"
    assert bench.found.told == []
