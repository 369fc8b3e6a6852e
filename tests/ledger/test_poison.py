"""Records that no worker can work on end as failed jobs that somebody can find."""

from typing import Any

import pytest
from redis.asyncio import Redis

from worker.domain.job import JobState, Lane
from worker.ledger.keys import job_keys, member_of
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, BrokenRecordError, Claim, Settlement

from .support import LEASE_MS, RESULT_TTL_MS, claimed, lapse, ledger_of, look_at, opened, put, record_of, waiting

RESCUES = 2


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis, result_ttl_ms=RESULT_TTL_MS, first_look_ms=5_000, rescues=RESCUES)


async def claim(ledger: Ledger, job_id: str, token: str = "t1") -> Claim | str:
    return await ledger.claim(job_id, Lane.CHECKOUT, token=token, lease_ms=LEASE_MS)


async def is_indexed_as_failed(redis: Redis, job_id: str) -> bool:
    client: Any = redis
    return await client.zscore(job_keys(job_id).failed, member_of(Lane.CHECKOUT, job_id)) is not None


async def is_condemned(redis: Redis, ledger: Ledger, job_id: str) -> bool:
    job = await ledger.read(job_id)
    is_out_of_the_way = await look_at(redis, job_id) is None and await is_indexed_as_failed(redis, job_id)
    return (job.state, job.code) == (JobState.FAILED, "poison") and bool(job.message) and is_out_of_the_way


async def test_an_unfinished_job_whose_record_is_missing_is_failed_as_poison(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    await redis.delete(job_keys(job.job_id).job)
    assert await claim(ledger, job.job_id) == "condemned"
    assert await is_condemned(redis, ledger, job.job_id)
    assert await claim(ledger, job.job_id) == "ended"


async def test_a_record_overwritten_by_something_else_is_failed_as_poison(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    await redis.set(job_keys(job.job_id).job, "not a hash")
    assert await claim(ledger, job.job_id) == "condemned"
    assert await is_condemned(redis, ledger, job.job_id)


async def test_a_record_of_an_unknown_state_is_failed_as_poison_and_not_forgotten(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    await put(redis, job_keys(job.job_id).job, state="wibble")
    with pytest.raises(BrokenRecordError):
        await ledger.read(job.job_id)
    assert await claim(ledger, job.job_id) == "condemned"
    assert await is_condemned(redis, ledger, job.job_id)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"v": "0"}, id="a version that never was"),
        pytest.param({"v": "second"}, id="a version that is no number"),
        pytest.param({"request": "{"}, id="a request that is no JSON"),
        pytest.param({"request": "[1]"}, id="a request that is no mapping"),
        pytest.param({"request": '{"PhoneNoA": 1}'}, id="a parameter that is no text"),
        pytest.param({"lane": "express"}, id="an unknown lane"),
        pytest.param({"kind": "lend"}, id="an unknown kind"),
        pytest.param({"on_doubt": "shrug"}, id="an unknown wish"),
        pytest.param({"retries": "many"}, id="a counter that is no number"),
    ],
)
async def test_a_record_that_cannot_be_read_is_left_to_others_so_often_and_is_then_poison(
    redis: Redis, ledger: Ledger, damage: dict[str, str]
) -> None:
    job = await opened(ledger)
    await put(redis, job_keys(job.job_id).job, **damage)
    for turn in range(RESCUES + 1):
        with pytest.raises(BrokenRecordError):
            await claim(ledger, job.job_id, f"t{turn}")
        assert await look_at(redis, job.job_id) is not None
        await lapse(redis, job.job_id)
    last = await claim(ledger, job.job_id, "last")
    assert isinstance(last, Claim)
    assert last.is_poison
    assert await ledger.settle(last, Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, {"code": "poison"}))
    assert (await ledger.read(job.job_id)).code == "poison"
    assert await is_indexed_as_failed(redis, job.job_id)


async def test_a_job_whose_worker_dies_each_time_is_poison_after_so_many_rescues(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    for turn in range(RESCUES + 1):
        assert not (await claimed(ledger, job.job_id, f"t{turn}")).is_poison
        await lapse(redis, job.job_id)
    last = await claimed(ledger, job.job_id, "last")
    assert last.is_poison
    assert last.attempt == 1


async def test_an_attempt_that_was_settled_makes_the_count_begin_anew(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    for turn in range(3 * RESCUES):
        claim_ = await claimed(ledger, job.job_id, f"t{turn}")
        assert not claim_.is_poison
        if turn % RESCUES:
            await ledger.settle(claim_, waiting(0))
        await lapse(redis, job.job_id)
    assert int((await record_of(redis, job.job_id)).get("rescues", 0)) <= RESCUES


async def test_old_failures_leave_the_index_with_their_records(redis: Redis) -> None:
    client: Any = redis
    ledger = ledger_of(redis)
    job = await opened(ledger)
    await client.zadd(job_keys(job.job_id).failed, {"checkout:old": 1})
    failed = Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, {"code": "x"})
    await ledger.settle(await claimed(ledger, job.job_id), failed)
    assert await client.zrange(job_keys(job.job_id).failed, 0, -1) == [member_of(Lane.CHECKOUT, job.job_id)]
