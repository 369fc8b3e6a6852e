"""A person ends a doubt."""

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import callback_record_of, look_at, put
from worker.attempt.found_bindings import FoundBindingsDesk
from worker.attempt.resolution import Resolutions, UnresolvableError
from worker.clock import SystemClock
from worker.domain.job import JobState, OnDoubt
from worker.errors import JobNotFoundError
from worker.ledger.audit import Audit
from worker.ledger.keys import job_keys
from worker.ledger.records import NewJob

from .bench import AMBIGUOUS, DONE, NONCE_USED, Bench, FakeProvider

X, SUBS_ID, BY = "17000009999", "900", "ann@shop"


@pytest.fixture
def resolutions(bench: Bench, redis: Redis) -> Resolutions:
    clock = SystemClock()
    return Resolutions(
        bench.ledger, FoundBindingsDesk(bench.ledger, clock, 1_000), Audit(redis), bench.replacements, clock, 1_000
    )


async def in_doubt(bench: Bench, **overrides: Any) -> NewJob:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED)
    job = await bench.opened(**overrides)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "in_doubt"]
    return job


async def audited(resolutions: Resolutions) -> list[tuple[str, str, str, str]]:
    return [(line.by, line.what, line.was, line.now) for line in await resolutions.audit.newest(10)]


async def test_a_job_said_to_be_bound_is_bound_and_told(bench: Bench, resolutions: Resolutions) -> None:
    job = await in_doubt(bench)
    read = await resolutions.bound_as(job.job_id, phone_no_x=X, subs_id=SUBS_ID, by=BY)
    assert (read.state, read.phone_no_x, read.subs_id) == (JobState.BOUND, X, SUBS_ID)
    assert (read.code, read.resolved_by) == ("resolved.bound", BY)
    body = json.loads((await callback_record_of(bench.redis, f"{job.job_id}-3"))["body"])
    assert (body["type"], body["data"]["phone_no_x"]) == ("bind.succeeded", X)
    assert await audited(resolutions) == [(BY, "bound-as", "in_doubt", "bound")]


async def test_a_job_said_not_to_be_bound_fails_and_is_told(bench: Bench, resolutions: Resolutions) -> None:
    job = await in_doubt(bench)
    read = await resolutions.not_bound(job.job_id, by=BY)
    assert (read.state, read.code, read.possible_orphans) == (JobState.FAILED, "resolved.not_bound", 0)
    body = json.loads((await callback_record_of(bench.redis, f"{job.job_id}-3"))["body"])
    assert body["type"] == "bind.failed"
    assert await audited(resolutions) == [(BY, "not-bound", "in_doubt", "failed")]


@pytest.mark.parametrize(("is_sure", "orphans"), [(False, 1), (True, 0)])
async def test_a_job_to_be_bound_anew_is_and_counts_an_orphan_unless_there_is_surely_none(
    bench: Bench, resolutions: Resolutions, is_sure: bool, orphans: int
) -> None:
    job = await in_doubt(bench)
    first = bench.provider.nonces[0]
    read = await resolutions.rebind(job.job_id, is_surely_not_bound=is_sure, by=BY)
    assert (read.state, read.possible_orphans) == (JobState.WAITING, orphans)
    assert await look_at(bench.redis, job.job_id) is not None
    bench.provider = FakeProvider(DONE)
    assert await bench.attempt(job) == "bound"
    assert bench.provider.nonces != [first]


async def test_a_binding_found_for_a_job_that_was_bound_anew_is_an_orphan_and_unbound(
    bench: Bench, resolutions: Resolutions
) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, DONE)
    job = await bench.opened(on_doubt=OnDoubt.REBIND)
    assert [await bench.attempt(job) for _ in range(3)] == ["waiting", "waiting", "bound"]
    read = await resolutions.bound_as(job.job_id, phone_no_x=X, subs_id=SUBS_ID, by=BY)
    (orphan,) = read.orphans
    assert (read.subs_id, orphan.subs_id) == ("100", SUBS_ID)
    assert orphan.unbind_job_id
    assert await audited(resolutions) == [(BY, "orphan found", "bound", "bound")]


async def test_what_is_not_in_doubt_is_left_alone(bench: Bench, resolutions: Resolutions) -> None:
    job = await bench.opened()
    for resolving in (
        resolutions.bound_as(job.job_id, phone_no_x=X, subs_id=SUBS_ID, by=BY),
        resolutions.not_bound(job.job_id, by=BY),
        resolutions.rebind(job.job_id, is_surely_not_bound=True, by=BY),
    ):
        with pytest.raises(UnresolvableError, match="is accepted"):
            await resolving
    assert (await bench.read(job)).state is JobState.ACCEPTED
    assert await audited(resolutions) == []


async def test_its_own_binding_is_not_taken_for_an_orphan(bench: Bench, resolutions: Resolutions) -> None:
    bench.provider = FakeProvider(DONE)
    job = await bench.opened()
    assert await bench.attempt(job) == "bound"
    with pytest.raises(UnresolvableError, match="this very binding"):
        await resolutions.bound_as(job.job_id, phone_no_x="17000001111", subs_id="100", by=BY)


async def test_a_job_whose_deadline_passed_is_not_bound_anew(bench: Bench, resolutions: Resolutions) -> None:
    job = await in_doubt(bench, deadline_in_ms=60_000)
    await put(bench.redis, job_keys(job.job_id).job, deadline_at=1)
    with pytest.raises(UnresolvableError, match="deadline"):
        await resolutions.rebind(job.job_id, is_surely_not_bound=False, by=BY)
    assert (await bench.read(job)).state is JobState.IN_DOUBT


async def test_an_unknown_job_is_no_job(resolutions: Resolutions) -> None:
    with pytest.raises(JobNotFoundError):
        await resolutions.not_bound("k" + "0" * 25, by=BY)
