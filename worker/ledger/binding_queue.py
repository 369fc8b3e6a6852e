"""Who may change a binding: one job at a time, in the order in which the jobs were accepted.

An update sets something absolute, so a late repetition of an older one would undo a newer one. The line of a binding
stands in the partition of its SubsId, not in that of its jobs: a job's own moves and its place in line are separate
steps, and whoever finds an ended job at the head takes it out.
"""

from redis.asyncio import Redis

from worker.domain.job_ids import partition_of
from worker.ledger.keys import VERSION, partition_tag
from worker.redis_scripts import load_script


class BindingQueue:
    """The lines of all bindings.

    Args:
        redis: a client that decodes replies to text.
        ttl_ms: after which a line that nobody moves is forgotten: longer than any job waits between two attempts.
    """

    def __init__(self, redis: Redis, *, ttl_ms: int) -> None:
        self._ttl_ms = ttl_ms
        self._enlist = load_script(redis, "worker.ledger", "enlist")
        self._leave = load_script(redis, "worker.ledger", "leave")

    async def enlist(self, subs_id: str, job_id: str, accepted_at: int) -> str:
        """Stand in line, once.

        Args:
            subs_id: the binding's.
            job_id: who wants to change it.
            accepted_at: Unix ms; the earlier goes first.

        Returns:
            Empty where the job holds the binding now, else the job before it. A holder stays one until it leaves, also
            when an older job comes later.
        """
        reply: str = await self._enlist(_keys(subs_id), [job_id, accepted_at, self._ttl_ms])
        return reply

    async def leave(self, subs_id: str, job_id: str) -> str:
        """Give the place in line back, and the binding with it. Returns the next in line, or an empty text."""
        reply: str = await self._leave(_keys(subs_id), [job_id])
        return reply


def _keys(subs_id: str) -> list[str]:
    prefix = f"{VERSION}:{partition_tag(partition_of(subs_id))}:binding:{subs_id}"
    return [f"{prefix}:line", f"{prefix}:holder"]
