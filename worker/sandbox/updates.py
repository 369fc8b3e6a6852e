"""UpdateSubscription: one aspect of a live binding per call, named by OperateType."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.sandbox.answers import Answer
from worker.sandbox.bindings import Binding
from worker.sandbox.calls import Call
from worker.sandbox.parameters import boolean, expiration, integer, one_of, phone, required
from worker.sandbox.refusals import BusinessError

DISPLAY_TYPES = ("1", "2", "3")
_CLEAR = "CONTROL_CLEAR_DISABLE"
_RESTRICTIONS = ("CONTROL_AX_DISABLE", "CONTROL_BX_DISABLE", _CLEAR)


@dataclass(frozen=True, slots=True)
class Operation:
    """One OperateType: the parameter it needs, and the step a refusal's message names."""

    needs: str
    step: str
    apply: Callable[[Call, Binding], None]


def update_subscription(call: Call) -> Answer:
    """UpdateSubscription: set one aspect to a value. The same call twice leaves the same binding."""
    for name in ("SubsId", "PhoneNoX"):
        required(call.parameters, name)
    operation = OPERATIONS.get(required(call.parameters, "OperateType"))
    if operation is None:
        raise BusinessError("isv.INVALID_PARAMETERS", f"OperateType must be one of {', '.join(OPERATIONS)}")
    required(call.parameters, operation.needs)
    binding = _updatable(call, operation)
    call.account.bindings.remember(binding, call.now)
    operation.apply(call, binding)
    return Answer()


def vanished() -> BusinessError:
    """What a logged real service said of a binding that had been there: the code is general, the message is not."""
    return BusinessError("isv.ILLEGAL_ARGUMENT", "subs not exist")


def _updatable(call: Call, operation: Operation) -> Binding:
    binding = call.binding("PhoneNoX")
    if binding.ended == "unbound":
        raise vanished()
    if binding.ended == "expired":
        raise BusinessError("isv.FORBIDDEN_ACTION", operation.step)
    return binding


def _set_a(call: Call, binding: Binding) -> None:
    call.account.bindings.set_a(binding, phone(call.parameters, "PhoneNoA"))


def _set_b(call: Call, binding: Binding) -> None:
    binding.phone_no_b = phone(call.parameters, "PhoneNoB")


def _set_expiry(call: Call, binding: Binding) -> None:
    call.account.bindings.set_expiry(binding, expiration(call.parameters, call.now))


def _refuse_group(call: Call, _binding: Binding) -> None:
    integer(call.parameters, "GroupId")
    raise BusinessError("isv.FORBIDDEN_ACTION", "updateAxgGroup: the pool is not an AXG pool")


def _set_restriction(call: Call, binding: Binding) -> None:
    wanted = one_of(call.parameters, "CallRestrict", _RESTRICTIONS)
    binding.call_restrict = "" if wanted == _CLEAR else wanted


def _set_display(call: Call, binding: Binding) -> None:
    binding.call_display_type = one_of(call.parameters, "CallDisplayType", DISPLAY_TYPES)


def _set_out_id(call: Call, binding: Binding) -> None:
    binding.out_id = call.parameters["OutId"]


def _set_recording(call: Call, binding: Binding) -> None:
    binding.need_record = boolean(call.parameters, "IsRecordingEnabled") or False


OPERATIONS = {
    "updateNoA": Operation("PhoneNoA", "updateNoA", _set_a),
    "updateNoB": Operation("PhoneNoB", "updateNoB", _set_b),
    "updateExpire": Operation("Expiration", "updateEndDate", _set_expiry),
    "updateAxgGroup": Operation("GroupId", "updateAxgGroup", _refuse_group),
    "updateCallRestrict": Operation("CallRestrict", "updateCallRestrict", _set_restriction),
    "updateCallDisplayType": Operation("CallDisplayType", "updateCallDisplayType", _set_display),
    "updateOutId": Operation("OutId", "updateOutId", _set_out_id),
    "updateIsRecordingEnabled": Operation("IsRecordingEnabled", "updateIsRecordingEnabled", _set_recording),
}
