"""Many jobs at once, chosen by state, code and kind.

Each state is looked for where it costs least: jobs in doubt and failed ones in their indexes, newest first; those under
way in the timetables; all others by going through the records.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from worker.domain.job import Job, JobKind, JobState, Lane
from worker.errors import SealError
from worker.ledger.index_walk import MEMBERS_PER_PAGE, Tell, in_batches, walk_by_score
from worker.ledger.job_views import job_from_record
from worker.ledger.keys import ALL_PARTITIONS, VERSION, job_keys, partition_tag, split_member, timetable_key
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import is_sealed_field
from worker.redis_faults import asking

_INDEXED = (JobState.IN_DOUBT, JobState.FAILED)
_UNDER_WAY = (JobState.ACCEPTED, JobState.SUBMITTING, JobState.WAITING)
_RECORDS_PER_PIPELINE = 200
_KEYS_PER_PAGE = 1000


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


async def list_jobs(
    redis: Redis, wanted: JobFilter, limit: int, tell: Tell = lambda _looked_at: None, seal: Seal = NO_SEAL
) -> list[Job]:
    """The wanted jobs, newest first; where no index stands in that order, the first ones found.

    Args:
        redis: a client that decodes replies to text.
        wanted: which.
        limit: most jobs.
        tell: called with the number of jobs looked at so far.
        seal: opens the numbers; those that it cannot open are left out.

    Raises:
        LedgerUnavailableError: Redis did not answer.
    """
    async with asking(redis, is_one_call=False):
        found = await _found(redis, wanted, limit, tell, seal)
    if wanted.state in _INDEXED:
        return found
    return sorted(found, key=lambda job: job.accepted_at, reverse=True)


async def _found(redis: Redis, wanted: JobFilter, limit: int, tell: Tell, seal: Seal) -> list[Job]:
    # By id: the scans of Redis may name a member twice.
    found: dict[str, Job] = {}
    looked_at = 0
    async with aclosing(in_batches(_ids(redis, wanted.state), _RECORDS_PER_PIPELINE)) as batches:
        async for ids in batches:
            for job in await _read(redis, ids, seal):
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


async def _read(redis: Redis, job_ids: list[str], seal: Seal) -> list[Job]:
    pipeline = redis.pipeline(transaction=False)
    for job_id in job_ids:
        pipeline.hgetall(job_keys(job_id).job)
    records = await pipeline.execute()
    # Indexes outlive records.
    return [_job_of(job_id, record, seal) for job_id, record in zip(job_ids, records, strict=True) if record]


def _job_of(job_id: str, record: dict[str, str], seal: Seal) -> Job:
    try:
        return job_from_record(job_id, record, seal)
    except SealError:
        return job_from_record(job_id, {name: value for name, value in record.items() if not is_sealed_field(name)})


async def _ids_of_index(redis: Redis, state: JobState) -> AsyncGenerator[str, None]:
    keys = [f"{VERSION}:{partition_tag(number)}:{state}" for number in ALL_PARTITIONS]
    async with aclosing(walk_by_score(redis, keys, is_newest_first=True)) as walk:
        async for member, _ in walk:
            yield split_member(member)[1]


async def _ids_of_timetables(redis: Redis) -> AsyncGenerator[str, None]:
    for number in ALL_PARTITIONS:
        async for member, _ in redis.zscan_iter(timetable_key(number), count=MEMBERS_PER_PAGE):
            lane, id_ = split_member(member)
            if lane is not Lane.CALLBACK:
                yield id_


async def _ids_of_records(redis: Redis) -> AsyncGenerator[str, None]:
    keys: Any = redis.scan_iter(f"{VERSION}:{{p??}}:job:*", count=_KEYS_PER_PAGE)
    async for key in keys:
        yield key.rpartition(":")[2]
