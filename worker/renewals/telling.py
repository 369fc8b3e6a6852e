"""The callbacks that tell what became of a kept binding."""

from collections.abc import Mapping
from datetime import UTC, datetime

from worker.callbacks.events import BindingEvent, binding_body
from worker.callbacks.receivers import receiver_of
from worker.domain.expiration import wire_expiration
from worker.ledger.callback_records import OwedCallback
from worker.ledger.kept_binding import KeptBinding


def moment_of(unix_ms: int) -> datetime:
    """A whole second."""
    return datetime.fromtimestamp(unix_ms // 1000, UTC)


def wire_of(unix_ms: int) -> str:
    """A moment as the wire's Expiration."""
    return wire_expiration(moment_of(unix_ms))


def told_of(
    kept: KeptBinding,
    event: BindingEvent,
    *,
    now_ms: int,
    renewals: int,
    expiration: str = "",
    fields: Mapping[str, str | int] | None = None,
    full_phone_no_a: bool = False,
) -> OwedCallback | None:
    """The callback to write with what became of a binding; None where nobody wants to hear of it.

    Args:
        kept: as it was read.
        event: what became of it.
        now_ms: Unix ms by Redis's clock.
        renewals: how many it has now; with the event it makes the webhook id, so that a repetition is the same event.
        expiration: its new end, as on the wire; empty: as it was.
        fields: code, message and so on: see `binding_body`.
        full_phone_no_a: it tells A itself, not its masked form.
    """
    if not kept.callback_url:
        return None
    told = {"phone_no_x": kept.phone_no_x, "subs_id": kept.subs_id, "renewals": renewals, **(fields or {})}
    body = binding_body(
        event,
        job_id=kept.binding_id,
        unix_ms=now_ms,
        parameters={**kept.parameters, **({"Expiration": expiration} if expiration else {})},
        fields=told,
        full_phone_no_a=full_phone_no_a,
    )
    return OwedCallback(
        webhook_id=f"{kept.binding_id}-{event.value}-{renewals}",
        url=kept.callback_url,
        host=receiver_of(kept.callback_url),
        body=body,
        deadline_at=_deadline(kept, now_ms),
        order_key=kept.callback.order_key,
        secret=kept.callback_secret_name,
    )


def _deadline(kept: KeptBinding, now_ms: int) -> int:
    """The request's wish for its callbacks; a moment that passed long ago was meant for the bind's own."""
    deadline_at = kept.callback.deadline(now_ms)
    return deadline_at if deadline_at > now_ms else 0
