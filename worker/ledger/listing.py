"""Many jobs at once, chosen by state, code and kind.

Each state is looked for where it costs least: jobs in doubt and failed ones in their indexes, newest first; those under
way in the timetables; all others by going through the records.
"""

import heapq
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.domain.job import Job, JobKind, JobState, Lane
from worker.ledger.keys import ALL_PARTITIONS, VERSION, job_keys, partition_tag, split_member, timetable_key
from worker.ledger.ledger import unavailable
from worker.ledger.records import job_from_record

_INDEXED = (JobState.IN_DOUBT, JobState.FAILED)
_UNDER_WAY = (JobState.ACCEPTED, JobState.SUBMITTING, JobState.WAITING)
_RECORDS_PER_PIPELINE = 200
_MEMBERS_PER_PAGE = 500
_KEYS_PER_PAGE = 1000

Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are wanted; None and the empty code mean any."""

    state: JobState | None = None
    code: str = ""
    kind: JobKind | None = None

    def lets_through(self, job: Job) -> bool:
        """Whether this is one of them."""
        return (
            self.state in (None, job.state)
            and (not self.code or self.code == job.code)
            and self.kind in (None, job.kind)
        )


async def list_jobs(redis: Redis, wanted: JobFilter, limit: int, tell: Tell = lambda _looked_at: None) -> list[Job]:
    """The wanted jobs, newest first; where no index stands in that order, the first ones found.

    Args:
        redis: a client that decodes replies to text.
        wanted: which.
        limit: most jobs.
        tell: called with the number of jobs looked at so far.

    Raises:
        LedgerUnavailableError: Redis did not answer.
    """
    try:
        found = await _found(redis, wanted, limit, tell)
    except (RedisError, OSError) as failure:
        raise unavailable(failure) from failure
    if wanted.state in _INDEXED:
        return found
    return sorted(found, key=lambda job: job.accepted_at, reverse=True)


async def _found(redis: Redis, wanted: JobFilter, limit: int, tell: Tell) -> list[Job]:
    # By id: the scans of Redis may name a member twice, and a page of an index shifts while jobs are added.
    found: dict[str, Job] = {}
    looked_at = 0
    async with aclosing(_ids(redis, wanted.state)) as all_ids, aclosing(_batches(all_ids)) as batches:
        async for ids in batches:
            for job in await _read(redis, ids):
                if wanted.lets_through(job):
                    found.setdefault(job.job_id, job)
            looked_at += len(ids)
            tell(looked_at)
            if len(found) >= limit:
                break
    return list(found.values())[:limit]


def _ids(redis: Redis, state: JobState | None) -> AsyncGenerator[str, None]:
    if state in _INDEXED:
        return _ids_of_index(redis, state)
    return _ids_of_timetables(redis) if state in _UNDER_WAY else _ids_of_records(redis)


async def _batches(ids: AsyncGenerator[str, None]) -> AsyncGenerator[list[str], None]:
    batch: list[str] = []
    async for job_id in ids:
        batch.append(job_id)
        if len(batch) == _RECORDS_PER_PIPELINE:
            yield batch
            batch = []
    if batch:
        yield batch


async def _read(redis: Redis, job_ids: list[str]) -> list[Job]:
    pipeline = redis.pipeline(transaction=False)
    for job_id in job_ids:
        pipeline.hgetall(job_keys(job_id).job)
    records = await pipeline.execute()
    # Indexes outlive records.
    return [job_from_record(job_id, record) for job_id, record in zip(job_ids, records, strict=True) if record]


async def _ids_of_index(redis: Redis, state: JobState) -> AsyncGenerator[str, None]:
    """Newest first over all partitions: a merge of their indexes, each read in pages."""
    streams = [_members_of_index(redis, f"{VERSION}:{partition_tag(number)}:{state}") for number in ALL_PARTITIONS]
    heads: list[tuple[float, int, str]] = []

    async def advance(number: int) -> None:
        if head := await anext(streams[number], None):
            member, score = head
            heapq.heappush(heads, (-score, number, member))

    for number in ALL_PARTITIONS:
        await advance(number)
    while heads:
        _, number, member = heapq.heappop(heads)
        yield split_member(member)[1]
        await advance(number)


async def _members_of_index(redis: Redis, key: str) -> AsyncGenerator[tuple[str, float], None]:
    start = 0
    client: Any = redis
    while page := await client.zrevrange(key, start, start + _MEMBERS_PER_PAGE - 1, withscores=True):
        for member, score in page:
            yield member, score
        start += len(page)


async def _ids_of_timetables(redis: Redis) -> AsyncGenerator[str, None]:
    for number in ALL_PARTITIONS:
        async for member, _ in redis.zscan_iter(timetable_key(number), count=_MEMBERS_PER_PAGE):
            lane, id_ = split_member(member)
            if lane is not Lane.CALLBACK:
                yield id_


async def _ids_of_records(redis: Redis) -> AsyncGenerator[str, None]:
    keys: Any = redis.scan_iter(f"{VERSION}:{{p??}}:job:*", count=_KEYS_PER_PAGE)
    async for key in keys:
        yield key.rpartition(":")[2]
