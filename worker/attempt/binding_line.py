"""A job's place in the line of the binding that it changes."""

from typing import Protocol

from redis.exceptions import RedisError

from worker.ledger.ledger import Ledger
from worker.ledger.records import Claim
from worker.logs import get_log

_log = get_log(__name__)
_MOST_LEFTOVERS = 20
BINDING_BUSY_MS = 500
"""Until a job asks again whether its turn has come."""


class BindingOrder(Protocol):
    """Who may change a binding: `worker.ledger.binding_queue`."""

    async def enlist(self, subs_id: str, job_id: str, accepted_at: int) -> str:
        """Empty where the job holds the binding now, else the job before it."""

    async def leave(self, subs_id: str, job_id: str) -> str:
        """Give the binding back; the next job in line, or empty."""


def binding_changed_by(claim: Claim) -> str:
    """SubsId of the binding that this job changes: of a rebind, the old one. Empty for a bind."""
    return claim.rebind.old_subs_id if claim.rebind else claim.parameters.get("SubsId", "")


async def is_first_in_line(bindings: BindingOrder, ledger: Ledger, claim: Claim) -> bool:
    """Whether the job may change its binding now."""
    subs_id = binding_changed_by(claim)
    for _ in range(_MOST_LEFTOVERS):
        before = await bindings.enlist(subs_id, claim.job_id, claim.accepted_at)
        if not before:
            return True
        if not await ledger.has_ended(before):
            return False
        await bindings.leave(subs_id, before)  # its worker died between its end and this
    return False


async def give_binding_back(bindings: BindingOrder, claim: Claim) -> None:
    """The job has ended."""
    if subs_id := binding_changed_by(claim):
        try:
            await bindings.leave(subs_id, claim.job_id)
        except (RedisError, OSError) as failure:  # the next in line finds that this job has ended
            _log.warning("Redis is away, a binding stays held", job_id=claim.job_id, error=type(failure).__name__)
