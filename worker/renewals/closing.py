"""The end of an order: its bindings are renewed no more and, where asked for, unbound."""

from dataclasses import dataclass
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from worker.clock import Clock
from worker.domain.binding import BindingName, BoundBinding, NameKind
from worker.domain.request_fields import Text
from worker.domain.unbind_request import UnbindRequest
from worker.errors import FieldFault, InvalidRequestError
from worker.ledger.bindings import BindingLedger
from worker.ledger.closed_orders import ClosedOrders
from worker.ledger.renewals import Renewals

_TICK_MS = 2
"""So that Redis's clock, which is read in whole ms, has moved on."""
_OUT_ORDER_ID: TypeAdapter[str] = TypeAdapter(Text)


class Submitting(Protocol):
    """Who files the unbinds: `worker.intake.intake.Intake`."""

    async def submit(self, request: UnbindRequest) -> str:
        """The job's id."""


@dataclass(frozen=True, slots=True)
class ClosedOrder:
    """What was done for an order.

    Attributes:
        closed: ids of the bindings that were kept while it was open, and are renewed no more. Those of binds that have
            not ended yet are not known, and seen to as they end.
        unbind_jobs: by the binding's id, the jobs that end them.
        kept: ids of its active bindings that go on being renewed, because they are kept for a span or up to a moment.
    """

    out_order_id: str
    closed: tuple[str, ...]
    unbind_jobs: dict[str, str]
    kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Closing:
    """Ends `while: open`."""

    bindings: BindingLedger
    renewals: Renewals
    orders: ClosedOrders
    intake: Submitting
    clock: Clock

    async def close_order(self, out_order_id: str, *, unbind: bool = False) -> ClosedOrder:
        """Renew the bindings of an order no more. Repeating it harms nothing, and goes on where it broke off.

        Its binds that are still on their way are concerned, too, as they end; those that are asked for after this has
        returned are not.

        Args:
            out_order_id: as their bind requests gave it.
            unbind: also end all of its active bindings, however they are kept.

        Raises:
            InvalidRequestError: it is no OutOrderId, or an unbind breaks a rule; the message names the field.
        """
        try:
            _OUT_ORDER_ID.validate_python(out_order_id)
        except ValidationError:
            raise InvalidRequestError(
                [FieldFault("out_order_id", "", "must be 1 to 1024 characters, as the bind requests gave it")]
            ) from None
        await self.orders.remember(out_order_id, unbind=unbind)  # first: what it misses is registered by now
        await self.clock.sleep_ms(_TICK_MS)
        (found,) = await self.bindings.look_up([BindingName(NameKind.OUT_ORDER_ID, out_order_id)])
        closed, kept, unbind_jobs = [], [], {}
        for binding in found:
            if await self.renewals.close(binding.binding_id, unbind=unbind):
                closed.append(binding.binding_id)
            elif binding.is_active and not unbind:
                kept.append(binding.binding_id)
            if unbind and binding.is_active:
                unbind_jobs[binding.binding_id] = await self._unbind(binding)
        return ClosedOrder(out_order_id, tuple(closed), unbind_jobs, tuple(kept))

    async def _unbind(self, binding: BoundBinding) -> str:
        return await self.intake.submit(unbind_of(binding.binding_id))


def unbind_of(binding_id: str) -> UnbindRequest:
    """The request that ends a binding with its order; its job is one, whoever files it."""
    return UnbindRequest(bind_job_id=binding_id, idempotency_key=f"axn.close.{binding_id}")
