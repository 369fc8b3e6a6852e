"""Renewing a lease, and resuming a job whose outcome somebody knows."""

from typing import Any

import pytest
from redis.asyncio import Redis

from worker.domain.job import JobState, Lane
from worker.ledger.keys import job_keys
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, Claim, Settlement

from .support import BOUND, LEASE_MS, claimed, lapse, ledger_of, look_at, now_ms, opened, record_of, waiting

IN_DOUBT = Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN, {"code": "doubt"})


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return ledger_of(redis)


async def resume(ledger: Ledger, job_id: str, known: str, token: str = "resumer") -> Claim | str:
    return await ledger.claim(job_id, Lane.CHECKOUT, token=token, lease_ms=LEASE_MS, resume=known)


async def test_a_renewed_lease_keeps_others_out_for_longer(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    claim = await claimed(ledger, job.job_id, lease_ms=1_000)
    before = await now_ms(redis)
    assert await ledger.renew([claim], lease_ms=60_000) == [True]
    assert int((await record_of(redis, job.job_id))["lease_until"]) >= before + 60_000
    look = await look_at(redis, job.job_id)
    assert look is not None
    assert look >= before + 60_000


async def test_a_lease_that_ran_out_can_be_renewed_until_somebody_takes_the_job(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    claim = await claimed(ledger, job.job_id)
    await lapse(redis, job.job_id)
    assert await ledger.renew([claim], lease_ms=LEASE_MS) == [True]
    await lapse(redis, job.job_id)
    await claimed(ledger, job.job_id, "another")
    record = await record_of(redis, job.job_id)
    assert await ledger.renew([claim], lease_ms=LEASE_MS) == [False]
    assert await record_of(redis, job.job_id) == record


async def test_a_settled_job_has_no_lease_to_renew(ledger: Ledger) -> None:
    job, other = await opened(ledger), await opened(ledger, "2")
    claim, lives = await claimed(ledger, job.job_id), await claimed(ledger, other.job_id)
    await ledger.settle(claim, waiting(0))
    assert await ledger.renew([claim, lives], lease_ms=LEASE_MS) == [False, True]


async def test_a_fence_grows_with_each_claim(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    fences = []
    for turn in range(4):
        fences.append((await claimed(ledger, job.job_id, f"t{turn}")).fence)
        await lapse(redis, job.job_id)
    assert fences == [1, 2, 3, 4]


async def test_who_knows_the_attempts_outcome_resumes_a_job_in_doubt(redis: Redis, ledger: Ledger) -> None:
    client: Any = redis
    job = await opened(ledger)
    await ledger.settle(await claimed(ledger, job.job_id), IN_DOUBT)
    assert await resume(ledger, job.job_id, "2") == "ended"
    claim = await resume(ledger, job.job_id, "1")
    assert isinstance(claim, Claim)
    assert claim.attempt == 1
    assert await client.zcard(job_keys(job.job_id).in_doubt) == 0
    assert await look_at(redis, job.job_id) is not None
    assert await ledger.settle(claim, BOUND)
    assert (await ledger.read(job.job_id)).is_bound


@pytest.mark.parametrize("knowledge", [AttemptKnowledge.OPEN, AttemptKnowledge.CLOSED])
async def test_who_knows_the_attempts_outcome_resumes_a_job_that_waits_and_numbers_no_attempt(
    ledger: Ledger, knowledge: AttemptKnowledge
) -> None:
    job = await opened(ledger)
    await ledger.settle(await claimed(ledger, job.job_id), waiting(60_000, knowledge))
    assert await resume(ledger, job.job_id, "any") == "early"
    claim = await resume(ledger, job.job_id, "1")
    assert isinstance(claim, Claim)
    assert claim.attempt == 1


async def test_nobody_resumes_what_a_later_attempt_or_another_worker_has(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    await ledger.settle(await claimed(ledger, job.job_id), waiting(0))
    later = await claimed(ledger, job.job_id, "t2")
    assert later.attempt == 2
    assert await resume(ledger, job.job_id, "1") == "leased"
    await lapse(redis, job.job_id)
    assert await resume(ledger, job.job_id, "1") == "early"
    assert await resume(ledger, job.job_id, "any") == "early"
    await ledger.settle(later, waiting(0))
    assert await resume(ledger, job.job_id, "1") == "early"


async def test_a_person_resumes_doubts_only(ledger: Ledger) -> None:
    accepted, doubtful, bound = [await opened(ledger, key) for key in ("a", "d", "b")]
    await ledger.settle(await claimed(ledger, doubtful.job_id), IN_DOUBT)
    await ledger.settle(await claimed(ledger, bound.job_id), BOUND)
    assert await resume(ledger, accepted.job_id, "any") == "early"
    assert await resume(ledger, bound.job_id, "any") == "ended"
    assert isinstance(await resume(ledger, doubtful.job_id, "any"), Claim)


async def test_a_resumed_doubt_whose_resumer_dies_comes_back_through_the_timetable(
    redis: Redis, ledger: Ledger
) -> None:
    job = await opened(ledger)
    await ledger.settle(await claimed(ledger, job.job_id), IN_DOUBT)
    assert isinstance(await resume(ledger, job.job_id, "any"), Claim)
    await lapse(redis, job.job_id)
    assert await look_at(redis, job.job_id) is not None
    again = await claimed(ledger, job.job_id, "t9")
    assert again.is_probe
