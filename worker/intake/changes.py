"""Updates and unbinds on their way to becoming jobs: which binding is meant, and what the provider is sent."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from worker.domain.binding import Binding
from worker.domain.change_request import ChangeRequest
from worker.domain.masking import mask_value
from worker.domain.rebind_request import RebindRequest
from worker.domain.rebinding import RebindMode
from worker.domain.unbind_request import UnbindRequest
from worker.domain.update_request import UpdateRequest
from worker.errors import FieldFault
from worker.ledger.rebind_record import Rebinding
from worker.provider.actions import ASPECTS, UnbindSubscription, UpdateSubscription

FoundBindings = Mapping[str | ChangeRequest, Binding | str]
"""By the ids of bind jobs: their bindings, the states of those that have none, empty for those without a record. By the
requests that name an order: the binding, or why it is not known which."""

_OPERATE_TYPES = {aspect: operate_type for operate_type, aspect in ASPECTS.items()}


def named_binding(request: ChangeRequest, found: FoundBindings, default_pool_key: str) -> Binding | FieldFault:
    """The binding that a request names, or why it names none.

    Args:
        request: whose form is already checked.
        found: of the bind job that it may name.
        default_pool_key: for requests that name X themselves, and no pool.
    """
    if request.out_order_id is not None:
        of_order = found.get(request, "was not looked up")
        if isinstance(of_order, str):
            return FieldFault("out_order_id", mask_value(request.out_order_id), of_order)
        return _in_its_pool(request, of_order)
    if request.bind_job_id is None:
        assert request.subs_id is not None  # noqa: S101 - given without bind_job_id: the model checks it
        assert request.phone_no_x is not None  # noqa: S101 - as above
        pool_key = "" if request.product_type else request.pool_key or default_pool_key
        return Binding(request.subs_id, request.phone_no_x, pool_key)
    binding = found.get(request.bind_job_id)
    if not binding:
        rule = "no such job in the ledger (mistyped, or finished longer ago than AXN_RESULT_TTL)"
        return FieldFault("bind_job_id", request.bind_job_id, f"{rule}: name the binding by subs_id and phone_no_x")
    if isinstance(binding, str):
        return FieldFault("bind_job_id", request.bind_job_id, f"this job is {binding}, not bound")
    return _in_its_pool(request, binding)


def _in_its_pool(request: ChangeRequest, binding: Binding) -> Binding | FieldFault:
    if binding.pool_key and request.product_type:
        return FieldFault("product_type", "", "must not be given: the bind job names its pool")
    if not binding.pool_key and not request.product_type:
        return FieldFault("product_type", "", "is required: the bind job had a NoType and no pool")
    return binding


def change_parameters(
    request: UpdateRequest | UnbindRequest, binding: Binding, expiration: datetime | None
) -> dict[str, str]:
    """The business parameters of UpdateSubscription or UnbindSubscription as text.

    Args:
        request: what to change.
        binding: of what.
        expiration: to set, where that is the aspect.
    """
    pool_key = binding.pool_key or None
    if isinstance(request, UnbindRequest):
        return UnbindSubscription(
            subs_id=binding.subs_id,
            secret_no=binding.phone_no_x,
            pool_key=pool_key,
            product_type=request.product_type,
        ).parameters()
    aspect = request.aspect
    value: Any = expiration if aspect == "expiration" else getattr(request, aspect)
    return UpdateSubscription(
        subs_id=binding.subs_id,
        phone_no_x=binding.phone_no_x,
        pool_key=pool_key,
        product_type=request.product_type,
        operate_type=_OPERATE_TYPES[aspect],
        **{aspect: value},
    ).parameters()


def rebinding_of(request: RebindRequest, binding: Binding) -> Rebinding | FieldFault:
    """The rebind of this binding, or what of the request cannot be meant."""
    if request.mode is RebindMode.NEW_X and request.new_phone_no_x == binding.phone_no_x:
        return FieldFault("new_phone_no_x", "", "is the old binding's own X: use mode same-x to keep it")
    return Rebinding(
        mode=request.mode,
        old_subs_id=binding.subs_id,
        old_phone_no_x=binding.phone_no_x,
        old_pool_key=binding.pool_key,
        old_product_type=request.product_type or "",
    )
