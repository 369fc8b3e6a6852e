"""What people did to jobs, kept in the ledger: one stream per partition."""

from dataclasses import dataclass

from redis.asyncio import Redis

from worker.domain.job import JobState
from worker.ledger.callback_records import flatten
from worker.ledger.keys import ALL_PARTITIONS, audit_key, job_keys
from worker.redis_scripts import load_script

LINES_KEPT_PER_PARTITION = 10_000


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who did what to which job, and when. Never a phone number.

    Attributes:
        at_ms: Unix ms by Redis's clock.
        by: as the person's command named him.
        what: `bound-as`, `not-bound`, `rebind`, `not-bound, rebind`, `orphan found`.
        was, now: the job's state before, and the one it was told to take.
    """

    at_ms: int
    job_id: str
    by: str
    what: str
    was: str
    now: str


class Audit:
    """Adds lines and reads them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._add = load_script(redis, "worker.ledger", "add_audit")

    async def add(self, job_id: str, *, by: str, what: str, was: JobState, now: JobState) -> None:
        """Write a line, in the job's partition."""
        pairs = {"job_id": job_id, "by": by, "what": what, "was": was.value, "now": now.value}
        await self._add([job_keys(job_id).audit], [LINES_KEPT_PER_PARTITION, *flatten(pairs.items())])

    async def newest(self, limit: int) -> list[AuditLine]:
        """The newest lines of all partitions, newest first."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.xrevrange(audit_key(partition), count=limit)
        lines = [
            AuditLine(at_ms=int(id_.partition("-")[0]), **fields)
            for entries in await pipeline.execute()
            for id_, fields in entries
        ]
        return sorted(lines, key=lambda line: line.at_ms, reverse=True)[:limit]
