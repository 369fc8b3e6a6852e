"""What was found may live again before it is erased: the scripts look once more."""

import dataclasses

import pytest
from redis.asyncio import Redis

from tests.ledger.support import record_of
from tests.privacy.filled import A, B, Parts, fill, jobs
from worker.domain.job import JobState
from worker.ledger.erasing import Erasing, Hold, SearchReport
from worker.ledger.keys import job_keys
from worker.ledger.retention import Retention
from worker.ledger.seal import NO_SEAL

RETENTION = Retention(60_000, {JobState.FAILED: 1_000})


@pytest.mark.parametrize(("number", "hold"), [(A, Hold.ACTIVE), (B, Hold.UNDER_WAY)])
async def test_nothing_that_lives_is_erased_whatever_the_search_has_said(redis: Redis, number: str, hold: Hold) -> None:
    await fill(Parts(redis, NO_SEAL))
    name = {Hold.ACTIVE: "bound", Hold.UNDER_WAY: "rebind"}[hold]
    erasing, report = Erasing(redis, NO_SEAL, RETENTION), SearchReport()
    await erasing.search(number, report, lambda _looked_at: None)
    (found,) = [one for one in report.found if one.id == jobs()[name].job_id]
    assert found.hold is hold
    before = await record_of(redis, found.id)
    stale = dataclasses.replace(found, hold=Hold.NONE, state=JobState.FAILED.value, callbacks=())
    assert await erasing.erase(stale) is hold
    assert await record_of(redis, found.id) == before


async def test_an_erased_job_stays_no_longer_than_it_would_have(redis: Redis) -> None:
    await fill(Parts(redis, NO_SEAL, result_ttl_ms=30_000))
    erasing, report = Erasing(redis, NO_SEAL, RETENTION), SearchReport()
    await erasing.search(A, report, lambda _looked_at: None)
    (found,) = [one for one in report.found if not one.hold]
    assert await erasing.erase(found) is Hold.NONE
    assert await erasing.erase(found) is Hold.NONE, "again"
    assert 0 < await redis.pttl(job_keys(found.id).job) <= 30_000
    record = await record_of(redis, found.id)
    assert (record["state"], record["code"], "request" in record) == ("failed", "isv.BIND_CONFLICT", False)
