"""The callback that a job's end owes, and who takes it."""

from typing import Protocol

from worker.callbacks.events import ended_body
from worker.callbacks.receivers import receiver_of
from worker.domain.job import Lane
from worker.ledger.callback_records import CallbackClaim, OwedCallback
from worker.ledger.keys import webhook_id_of
from worker.ledger.records import AttemptKnowledge, Claim, Settlement


class Courier(Protocol):
    """Who takes the callbacks of settled jobs, as an attempt needs him."""

    def reserve(self, host: str, *, is_checkout: bool) -> str:
        """A claim token for one delivery to this receiver at once, or empty where it must wait."""

    def start(self, claim: CallbackClaim) -> None:
        """Deliver in the background."""

    def release(self, host: str) -> None:
        """Give a reserved delivery back."""


def owes_callback(claim: Claim, settlement: Settlement) -> bool:
    """Whether this settlement is an end that somebody wants to hear of."""
    return bool(claim.callback_url) and settlement.state.is_end


def owed_callback(
    claim: Claim,
    settlement: Settlement,
    *,
    now_ms: int,
    full_phone_no_a: bool,
    token: str = "",
    lease_ms: int = 0,
) -> OwedCallback:
    """The callback to write with the settlement.

    Args:
        claim: of the job that ends.
        settlement: its end.
        now_ms: Unix ms by Redis's clock.
        full_phone_no_a: it tells A itself, not its masked form.
        token: of the first try, where this process makes it at once.
        lease_ms: how long that try may take before somebody else looks at it.
    """
    body = ended_body(
        kind=claim.kind,
        job_id=claim.job_id,
        state=settlement.state,
        unix_ms=now_ms,
        attempts=claim.attempt - (settlement.knowledge is AttemptKnowledge.UNSENT),
        parameters=claim.parameters,
        fields={
            "possible_orphans": claim.possible_orphans,
            **(claim.rebind.told() if claim.rebind else {}),
            **settlement.fields,
        },
        full_phone_no_a=full_phone_no_a,
    )
    return OwedCallback(
        webhook_id=webhook_id_of(claim.job_id, claim.fence),
        url=claim.callback_url,
        host=receiver_of(claim.callback_url),
        body=body,
        token=token,
        lease_ms=lease_ms if token else 0,
        deadline_at=claim.callback.deadline(claim.accepted_at),
        order_key=claim.callback.order_key,
        secret=claim.callback_secret_name,
        is_checkout=claim.lane is Lane.CHECKOUT,
        trace=claim.trace,
    )
