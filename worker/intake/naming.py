"""Which bindings updates and unbinds name: asked of the ledger before they become jobs."""

from collections.abc import Iterable, Sequence

from worker.domain.binding import Binding, BindingName, BoundBinding, NameKind
from worker.domain.change_request import ChangeRequest
from worker.domain.job_ids import job_id_for_key
from worker.domain.job_request import JobRequest
from worker.intake.changes import FoundBindings
from worker.ledger.bindings import BindingLedger
from worker.ledger.ledger import Ledger
from worker.redis_faults import asking

_MOST_TOLD = 5


class NamedBindings:
    """Finds them: by the job that bound, or by the order that it was bound for."""

    def __init__(self, ledger: Ledger, bindings: BindingLedger) -> None:
        self._ledger = ledger
        self._bindings = bindings

    async def by(self, requests: Iterable[JobRequest], key: str | None = None) -> FoundBindings:
        """What these requests name, in as few round trips as there are ways of naming.

        Args:
            requests: of all kinds.
            key: an idempotency key for requests that bring none.

        Raises:
            LedgerUnavailableError: says what is wrong with Redis.
        """
        changes = [request for request in requests if isinstance(request, ChangeRequest)]
        by_order = [change for change in changes if change.out_order_id is not None]
        filed = await self._filed_before(by_order, key) if by_order else {}
        found: dict[str | ChangeRequest, Binding | str] = {}
        found |= filed.items()
        job_ids = list({change.bind_job_id for change in changes if change.bind_job_id is not None})
        if job_ids:
            found |= zip(job_ids, await self._ledger.bindings_of(job_ids), strict=True)
        return found | await self._of_orders([change for change in by_order if change not in filed])

    async def _filed_before(self, changes: Sequence[ChangeRequest], key: str | None) -> dict[ChangeRequest, Binding]:
        """The binding that a job was filed for under this key, by the very request.

        Submitted again it is the same job, also where its order has no active binding any more, or another one.
        """
        keyed = [(change, job_id_for_key(own)) for change in changes if (own := change.idempotency_key or key)]
        filings = await self._ledger.changes_filed_as([job_id for _, job_id in keyed])
        return {
            change: binding
            for (change, _), (digest, binding) in zip(keyed, filings, strict=True)
            if binding.binding_id and self._ledger.is_digest(digest, change.digest())
        }

    async def _of_orders(self, changes: Sequence[ChangeRequest]) -> dict[ChangeRequest, Binding | str]:
        if not changes:
            return {}
        names = {change: BindingName(NameKind.OUT_ORDER_ID, change.out_order_id or "") for change in changes}
        distinct = list(dict.fromkeys(names.values()))
        async with asking(self._bindings.redis, is_one_call=False):
            of_name = dict(zip(distinct, await self._bindings.look_up(distinct), strict=True))
        return {change: _the_active_one(of_name[name]) for change, name in names.items()}


def _the_active_one(bindings: Sequence[BoundBinding]) -> Binding | str:
    active = [binding for binding in bindings if binding.is_active]
    if len(active) == 1:
        return active[0].as_named()
    if not active:
        ended = f"the last one, of job {bindings[-1].binding_id}, is {bindings[-1].status}" if bindings else ""
        told = ended or "none was bound for it, or longer ago than AXN_BINDING_KEEP and AXN_RESULT_TTL"
        return f"has no active binding ({told})"
    told = ", ".join(binding.binding_id for binding in active[-_MOST_TOLD:])
    return f"has {len(active)} active bindings: name the one that is meant by its bind_job_id ({told})"
