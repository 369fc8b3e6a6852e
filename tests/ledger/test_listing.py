"""Jobs are listed by state, code and kind, from the place where each state is found at the least cost."""

from typing import Any

import pytest
from redis.asyncio import Redis

from worker.domain.job import JobKind, JobState, Lane
from worker.domain.job_ids import new_job_id, partition_of
from worker.errors import LedgerUnavailableError
from worker.ledger.keys import ALL_PARTITIONS, VERSION, job_keys, member_of, partition_tag, timetable_key
from worker.ledger.ledger import Ledger
from worker.ledger.listing import JobFilter, list_jobs
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.redis_scripts import connect

from .support import BOUND, claimed, ledger_of, opened, put, waiting

MANY = 100_000


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return ledger_of(redis)


async def listed(redis: Redis, limit: int = MANY, **wanted: Any) -> list[str]:
    return [job.job_id for job in await list_jobs(redis, JobFilter(**wanted), limit)]


async def written(redis: Redis, state: JobState, numbers: range, **fields: Any) -> list[str]:
    """Records, and their index where the state has one, each a millisecond later than the one before."""
    ids = [new_job_id(number, lambda _bits: 0) for number in numbers]
    record: dict[Any, Any] = {"state": state, **fields}
    pipeline = redis.pipeline(transaction=False)
    for number, job_id in zip(numbers, ids, strict=True):
        pipeline.hset(job_keys(job_id).job, mapping=record | {"accepted_at": number})
        if state in (JobState.IN_DOUBT, JobState.FAILED):
            index = f"{VERSION}:{partition_tag(partition_of(job_id))}:{state}"
            pipeline.zadd(index, {member_of(Lane.CHECKOUT, job_id): number})
    await pipeline.execute()
    return ids


async def settled(ledger: Ledger, key: str, settlement: Settlement, **overrides: Any) -> str:
    job = await opened(ledger, key, **overrides)
    assert await ledger.settle(await claimed(ledger, job.job_id), settlement)
    return job.job_id


async def test_an_empty_ledger_has_no_jobs(redis: Redis) -> None:
    for state in (None, *JobState):
        assert await listed(redis, state=state) == []


async def test_each_state_lists_its_own_jobs_only(redis: Redis, ledger: Ledger) -> None:
    accepted = await opened(ledger, "accepted")
    submitting = await opened(ledger, "submitting")
    await claimed(ledger, submitting.job_id)
    by_state = {
        JobState.ACCEPTED: accepted.job_id,
        JobState.SUBMITTING: submitting.job_id,
        JobState.WAITING: await settled(ledger, "waiting", waiting(60_000)),
        JobState.BOUND: await settled(ledger, "bound", BOUND),
        JobState.EXPIRED: await settled(ledger, "expired", Settlement(JobState.EXPIRED, AttemptKnowledge.CLOSED)),
        JobState.IN_DOUBT: await settled(ledger, "in_doubt", Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN)),
    }
    for state, job_id in by_state.items():
        assert await listed(redis, state=state) == [job_id], state
    assert sorted(await listed(redis)) == sorted(by_state.values())


@pytest.mark.parametrize("state", [JobState.IN_DOUBT, JobState.FAILED])
async def test_indexed_states_come_newest_first_over_all_partitions_and_pages(redis: Redis, state: JobState) -> None:
    ids = await written(redis, state, range(1, 12_001))
    assert {partition_of(job_id) for job_id in ids} == set(ALL_PARTITIONS)
    assert await listed(redis, state=state) == ids[::-1]
    assert await listed(redis, state=state, limit=3) == ids[:-4:-1]


async def test_a_short_list_of_a_long_index_reads_few_records(redis: Redis) -> None:
    await written(redis, JobState.FAILED, range(1, 5_001))
    looked_at: list[int] = []
    assert len(await list_jobs(redis, JobFilter(JobState.FAILED), 10, looked_at.append)) == 10
    assert looked_at == [200]


async def test_code_and_kind_choose_among_older_jobs_too(redis: Redis) -> None:
    old = await written(redis, JobState.FAILED, range(1, 4), code="poison", kind="unbind")
    await written(redis, JobState.FAILED, range(1000, 2000), code="isv.NO_AVAILABLE_NUMBER")
    assert await listed(redis, state=JobState.FAILED, code="poison") == old[::-1]
    assert await listed(redis, state=JobState.FAILED, kind=JobKind.UNBIND, limit=2) == old[:0:-1]
    assert await listed(redis, state=JobState.FAILED, code="poison", kind=JobKind.BIND) == []
    assert await listed(redis, code="poison") == old[::-1]


async def test_a_record_without_a_kind_is_a_bind(redis: Redis) -> None:
    ids = await written(redis, JobState.FAILED, range(1, 2))
    assert await listed(redis, kind=JobKind.BIND) == ids


async def test_members_whose_record_is_gone_or_in_another_state_are_skipped(redis: Redis) -> None:
    gone, moved, there = await written(redis, JobState.IN_DOUBT, range(1, 4))
    await redis.delete(job_keys(gone).job)
    await put(redis, job_keys(moved).job, state="bound")
    assert await listed(redis, state=JobState.IN_DOUBT) == [there]


async def test_callbacks_in_the_timetable_are_no_jobs(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger, "1")
    keys = job_keys(job.job_id)
    await redis.zadd(keys.timetable, {member_of(Lane.CALLBACK, f"{job.job_id}-1"): 1})
    looked_at: list[int] = []
    found = await list_jobs(redis, JobFilter(JobState.ACCEPTED), MANY, looked_at.append)
    assert ([one.job_id for one in found], looked_at) == ([job.job_id], [1])


async def test_all_of_large_timetables_are_found_once(redis: Redis) -> None:
    ids = await written(redis, JobState.WAITING, range(1, 8_001))
    pipeline = redis.pipeline(transaction=False)
    for job_id in ids:
        pipeline.zadd(timetable_key(partition_of(job_id)), {member_of(Lane.BATCH, job_id): 1})
    await pipeline.execute()
    assert await listed(redis, state=JobState.WAITING) == ids[::-1]
    assert len(await listed(redis, state=JobState.WAITING, limit=7)) == 7


async def test_all_records_are_found_once_and_nothing_else_is_taken_for_one(redis: Redis, ledger: Ledger) -> None:
    ids = await written(redis, JobState.BOUND, range(1, 5_001))
    await redis.hset("axn1:{p00}:callback:x-1", mapping={"state": "waiting"})  # type: ignore[misc, unused-ignore]
    await redis.set("axn1:{p00}:durability", 1)
    await redis.set("other:{p00}:job:x", 1)
    looked_at: list[int] = []
    found = await list_jobs(redis, JobFilter(), MANY, looked_at.append)
    assert [job.job_id for job in found] == ids[::-1]
    assert looked_at == sorted(looked_at)
    assert looked_at[-1] >= 5_000


async def test_a_redis_that_is_away_is_told() -> None:
    away = connect("unix:///nowhere/redis.sock", timeout_ms=200)
    for state in (None, JobState.FAILED, JobState.ACCEPTED):
        with pytest.raises(LedgerUnavailableError, match="AXN_REDIS_URL"):
            await list_jobs(away, JobFilter(state), 1)
    await away.aclose()
