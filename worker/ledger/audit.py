"""What people did to jobs, callbacks and receivers, kept in the ledger: one stream per partition."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from redis.asyncio import Redis

from worker.domain.job_ids import partition_of
from worker.ledger.callback_records import flatten
from worker.ledger.keys import ALL_PARTITIONS, audit_key
from worker.redis_scripts import load_script

LINES_KEPT_PER_PARTITION = 10_000


@dataclass(frozen=True, slots=True)
class AuditLine:
    """Who did what to which job, callback or receiver, and when. Never a phone number.

    Attributes:
        at_ms: Unix ms by Redis's clock.
        job_id: empty where it was done to a receiver.
        by: as the person's command named him.
        what: `bound-as`, `not-bound`, `rebind`, `not-bound, rebind`, `orphan found`; `callback replayed`;
            `callbacks replayed`, `receiver disabled`, `receiver enabled`.
        was, now: the state before, and the one it was told to take.
        subject: the callback's webhook-id or the receiver's host, where it was not done to the job itself.
    """

    at_ms: int
    job_id: str
    by: str
    what: str
    was: str
    now: str
    subject: str = ""


class Audit:
    """Adds lines and reads them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._add = load_script(redis, "worker.ledger", "add_audit")

    async def add(self, job_id: str, *, by: str, what: str, was: str, now: str, subject: str = "") -> None:
        """Write a line, in the partition of the job, or of the subject where it concerns no job."""
        pairs = {"job_id": job_id, "by": by, "what": what, "was": str(was), "now": str(now)}
        if subject:
            pairs["subject"] = subject
        stream = audit_key(partition_of(job_id or subject))
        await self._add([stream], [LINES_KEPT_PER_PARTITION, *flatten(pairs.items())])

    async def newest(self, limit: int) -> list[AuditLine]:
        """The newest lines of all partitions, newest first."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.xrevrange(audit_key(partition), count=limit)
        lines = [_line(id_, entry) for entries in await pipeline.execute() for id_, entry in entries]
        return sorted(lines, key=lambda line: line.at_ms, reverse=True)[:limit]


def _line(id_: str, entry: Mapping[str, str]) -> AuditLine:
    known = {one.name: entry.get(one.name, "") for one in fields(AuditLine) if one.name != "at_ms"}
    return AuditLine(at_ms=int(id_.partition("-")[0]), **known)  # a newer release may tell more
