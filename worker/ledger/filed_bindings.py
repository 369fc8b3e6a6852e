"""Which bindings jobs on record have made, or change: what requests that name a job are answered by."""

from collections.abc import Sequence

from redis.asyncio import Redis

from worker.domain.binding import Binding
from worker.ledger.keys import job_keys
from worker.ledger.registration import binding_in, named_in
from worker.ledger.seal import Seal
from worker.ledger.sealed_records import opened_fields
from worker.redis_faults import asking

_BINDING = ("state", "subs_id", "phone_no_x", "request")
_NAMED_BINDING = (
    "digest", "binding_id", "subs_id", "phone_no_x", "request", "old_subs_id", "old_phone_no_x", "old_pool_key"
)  # fmt: skip


class FiledBindings:
    """Reads them; `Ledger` is one.

    Args:
        redis: a client that decodes replies to text.
        seal: opens the numbers.
    """

    def __init__(self, redis: Redis, seal: Seal) -> None:
        self._redis = redis
        self._seal = seal

    async def bindings_of(self, job_ids: Sequence[str]) -> list[Binding | str]:
        """What these jobs have bound, in one pipeline.

        Returns:
            A job's binding, or the state of one that has none; empty for a job without a record.

        Raises:
            LedgerUnavailableError: says what is wrong with Redis.
        """
        async with asking(self._redis, is_one_call=False), self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(job_keys(job_id).job, _BINDING)
            replies = await pipeline.execute()
        return [
            binding_in(job_id, *opened_fields(self._seal, job_id, _BINDING, reply).values())
            for job_id, reply in zip(job_ids, replies, strict=True)
        ]

    async def changes_filed_as(self, job_ids: Sequence[str]) -> list[tuple[str, Binding]]:
        """Of jobs that change a binding: the digest of the request, and the binding; all empty where there is no job.

        Raises:
            LedgerUnavailableError: says what is wrong with Redis.
        """
        if not job_ids:
            return []
        async with asking(self._redis, is_one_call=False), self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(job_keys(job_id).job, _NAMED_BINDING)
            replies = await pipeline.execute()
        opened = [
            opened_fields(self._seal, job_id, _NAMED_BINDING, reply).values()
            for job_id, reply in zip(job_ids, replies, strict=True)
        ]
        return [(digest or "", _changed_by(*named)) for digest, *named in opened]

    def is_digest(self, stored: str, digest: str) -> bool:
        """Whether a job's digest on record is this request's."""
        return stored in self._seal.digests(digest)


def _changed_by(
    binding_id: str | None,
    subs_id: str | None,
    phone_no_x: str | None,
    request: str | None,
    *old: str | None,
) -> Binding:
    """Of a rebind, whose own are the new binding's, what its record tells of the old one."""
    old_subs_id, old_phone_no_x, old_pool_key = old
    if old_subs_id:
        return Binding(old_subs_id, old_phone_no_x or "", old_pool_key or "", binding_id or "")
    return named_in(binding_id, subs_id, phone_no_x, request)
