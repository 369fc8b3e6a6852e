"""What a rebind did to the old binding, written into that binding's record before the step itself is settled."""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.attempt.rebind_decisions import rebinding
from worker.domain.binding import BindingName, BindingStatus, NameKind
from worker.ledger.bindings import BindingChange, BindingLedger
from worker.ledger.records import Claim
from worker.logs import get_log

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class RecordedReplacements:
    """Keeps the old bindings' records true; each change is made once, however often it is told."""

    bindings: BindingLedger

    async def made_by(self, claim: Claim) -> str:
        """The job that made the old binding, where we know it."""
        if claim.binding_id:
            return claim.binding_id
        old = rebinding(claim)
        (found,) = await self.bindings.look_up([BindingName(NameKind.SUBS_ID, old.old_subs_id)])
        return next((one.binding_id for one in found if one.phone_no_x == old.old_phone_no_x), "")

    async def replaced(self, claim: Claim) -> None:
        """The old binding has ended for this rebind."""
        change = BindingChange(
            by=f"{claim.job_id}:replaced",
            of_subs_id=rebinding(claim).old_subs_id,
            status=BindingStatus.REPLACED,
            replaced_by=claim.job_id,
        )
        await self._write(claim, change)

    async def restored(self, claim: Claim, phone_no_x: str, subs_id: str) -> None:
        """What was the old binding is bound again, under this SubsId and on this X."""
        parameters: Mapping[str, str] = {**claim.parameters, "PhoneNoX": phone_no_x}
        change = BindingChange(
            by=f"{claim.job_id}:restored",
            of_subs_id=rebinding(claim).old_subs_id,
            status=BindingStatus.ACTIVE,
            parameters=parameters,
            subs_id=subs_id,
            phone_no_x=phone_no_x,
        )
        await self._write(claim, change)

    async def _write(self, claim: Claim, change: BindingChange) -> None:
        if claim.binding_id and not await self.bindings.change(claim.binding_id, change):
            _log.info("binding is not on record any more", job_id=claim.job_id, binding_id=claim.binding_id)
