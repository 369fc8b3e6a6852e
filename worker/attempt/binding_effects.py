"""What an update or unbind did to a binding, written into the binding's record before the job itself is settled.

The job holds the binding's place in line meanwhile, so changes are written in the order in which they were made. Who
dies between the two repeats both: the provider sets or ends the same once more, and the record knows the change.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from worker.domain.binding import BindingName, BindingStatus, NameKind
from worker.domain.job import JobState
from worker.ledger.bindings import BindingChange, BindingLedger
from worker.ledger.records import Claim, Settlement
from worker.logs import get_log

_log = get_log(__name__)
_ASPECTS = frozenset(
    {"PhoneNoA", "PhoneNoB", "Expiration", "CallRestrict", "CallDisplayType", "OutId", "IsRecordingEnabled"}
)
"""Of UpdateSubscription, what BindAxn takes by the same name."""
_CLEARED = "CONTROL_CLEAR_DISABLE"


@dataclass(frozen=True, slots=True)
class BindingEffects:
    """Keeps the bindings' records true."""

    bindings: BindingLedger

    async def of(self, claim: Claim, end: Settlement) -> Settlement:
        """Write what this end says was done; the settlement comes back as it was.

        Raises:
            RedisError: Redis is away. What was done is then to be repeated.
        """
        if end.state in (JobState.UPDATED, JobState.UNBOUND):
            change = change_of(claim, end)
            for binding_id in [claim.binding_id] if claim.binding_id else await self._named(claim):
                if not await self.bindings.change(binding_id, change):
                    _log.info("binding is not on record any more", job_id=claim.job_id, binding_id=binding_id)
        return end

    async def _named(self, claim: Claim) -> list[str]:
        """The binding of a job that names it as the provider does; there is none where somebody else has bound it."""
        phone_no_x = _phone_no_x(claim.parameters)
        (found,) = await self.bindings.look_up([BindingName(NameKind.SUBS_ID, claim.parameters["SubsId"])])
        return [binding.binding_id for binding in found if binding.phone_no_x == phone_no_x]


def change_of(claim: Claim, end: Settlement) -> BindingChange:
    """What a job that has been done changed of its binding."""
    subs_id = claim.parameters["SubsId"]
    if end.state is JobState.UNBOUND:
        return BindingChange(by=claim.job_id, of_subs_id=subs_id, status=BindingStatus.UNBOUND)
    changed = {
        name: None if value == _CLEARED else value for name, value in claim.parameters.items() if name in _ASPECTS
    }
    return BindingChange(by=claim.job_id, of_subs_id=subs_id, parameters=changed)


def _phone_no_x(parameters: Mapping[str, str]) -> str:
    return parameters.get("PhoneNoX") or parameters.get("SecretNo", "")
