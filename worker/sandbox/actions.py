"""The actions of Dyplsapi 2017-05-25 this sandbox can play. A new one is a function and a line in ACTIONS."""

from collections.abc import Callable, Mapping

from worker.sandbox.answers import Answer
from worker.sandbox.bindings import Binding, provider_time
from worker.sandbox.calls import Call
from worker.sandbox.numbers import (
    buy_secret_no,
    list_x_telephones,
    lock_secret_no,
    query_secret_no_detail,
    query_secret_no_remain,
    release_secret_no,
    unlock_secret_no,
)
from worker.sandbox.parameters import (
    Parameters,
    boolean,
    expiration,
    integer,
    json_object,
    one_of,
    phone,
    required,
    secret_number,
)
from worker.sandbox.pools import NumberPool
from worker.sandbox.refusals import BusinessError, GatewayError
from worker.sandbox.unknowns import Unknowns
from worker.sandbox.updates import DISPLAY_TYPES, update_subscription, vanished

Action = Callable[[Call], Answer]

_RESTRICTIONS_AT_BINDING = ("CONTROL_AX_DISABLE", "CONTROL_BX_DISABLE")


def bind_axn(call: Call) -> Answer:
    """BindAxn: give A a number X of its own."""
    for name in ("PoolKey", "PhoneNoA", "Expiration"):
        required(call.parameters, name)
    pool = call.pool()
    _check_call_settings(call.parameters)
    binding = _new_binding(call, pool)
    call.account.bindings.add(binding)
    # The field's name misleads: real replies carry B, or a made-up number where there is no B.
    extension = binding.phone_no_b or str(int(call.now * 1000))
    bound = {"Extension": extension, "SecretNo": binding.phone_no_x, "SubsId": binding.subs_id}
    return Answer(fields={"SecretBindDTO": bound})


def _new_binding(call: Call, pool: NumberPool) -> Binding:
    given = call.parameters
    return Binding(
        pool_key=pool.pool_key,
        phone_no_a=phone(given, "PhoneNoA"),
        phone_no_b=phone(given, "PhoneNoB"),
        out_id=given.get("OutId", ""),
        out_order_id=given.get("OutOrderId", ""),
        expires_at=expiration(given, call.now),
        created_at=call.now,
        request_id=call.request_id,
        nonce=call.nonce,
        need_record=boolean(given, "IsRecordingEnabled") or False,
        call_restrict=one_of(given, "CallRestrict", _RESTRICTIONS_AT_BINDING),
        call_display_type=one_of(given, "CallDisplayType", DISPLAY_TYPES),
        asr_status=boolean(given, "ASRStatus"),
        asr_model_id=given.get("ASRModelId", ""),
        # Last, because it takes the number: nothing after it may refuse.
        phone_no_x=_take_number(call, pool),
    )


def _check_call_settings(given: Parameters) -> None:
    integer(given, "CallTimeout")
    json_object(given, "RingConfig")


def _take_number(call: Call, pool: NumberPool) -> str:
    wanted = secret_number(call.parameters, "PhoneNoX")
    if wanted:
        _check_wanted(pool, wanted)
    _check_same_a(call, pool)
    if not wanted:
        return _draw_number(pool, call.parameters.get("ExpectCity", ""))
    pool.take(wanted)
    return wanted


def _check_wanted(pool: NumberPool, number: str) -> None:
    if number not in pool:
        raise BusinessError("isv.FORBIDDEN_ACTION", "createSubs")
    if not pool.is_free(number):
        raise BusinessError("isv.BIND_CONFLICT")


def _check_same_a(call: Call, pool: NumberPool) -> None:
    is_bound = call.account.bindings.is_bound(pool.pool_key, call.parameters["PhoneNoA"])
    if call.account.unknowns.same_a == "refuse" and is_bound:
        raise _no_number()


def _draw_number(pool: NumberPool, expected_city: str) -> str:
    number = pool.draw(expected_city)
    if number is None:
        raise _no_number()
    return number


def _no_number() -> BusinessError:
    return BusinessError("isv.NO_AVAILABLE_NUMBER", "no available number")


def unbind_subscription(call: Call) -> Answer:
    """UnbindSubscription: end a live binding; X is free at once."""
    binding = call.binding("SecretNo")
    if binding.ended:
        raise vanished()
    call.account.bindings.end(binding, "unbound", call.now)
    return Answer(fields={"ChargeId": "true"})


def query_subscription_detail(call: Call) -> Answer:
    """QuerySubscriptionDetail: a binding's parties and times; Status 1 is live and 0 has run out."""
    binding = call.account.bindings.seen(call.binding("PhoneNoX"), call.now)
    if binding is None or _is_gone(call.account.unknowns, binding):
        raise BusinessError("isv.SUBS_NOT_EXIST", "subs not exist")
    return Answer(fields={"SecretBindDetailDTO": _detail(binding)})


def _is_gone(unknowns: Unknowns, binding: Binding) -> bool:
    shown = {"expired": unknowns.lapsed_detail, "unbound": unknowns.unbound_detail}
    return binding.ended is not None and shown[binding.ended] == "not_exist"


def _detail(binding: Binding) -> dict[str, object]:
    certain: dict[str, object] = {
        "PhoneNoA": binding.phone_no_a,
        "PhoneNoX": binding.phone_no_x,
        "PhoneNoB": binding.phone_no_b,
        "ExpireDate": provider_time(binding.expires_at),
        "GmtCreate": provider_time(binding.created_at),
        "Status": 0 if binding.ended else 1,
        "SubsId": binding.subs_id,
        "NeedRecord": binding.need_record,
    }
    optional = {
        "CallRestrict": binding.call_restrict or None,
        "ASRStatus": binding.asr_status,
        "ASRModelId": binding.asr_model_id or None,
    }
    return certain | {name: value for name, value in optional.items() if value is not None}


def query_subs_id(call: Call) -> Answer:
    """QuerySubsId: the SubsId live on X, or an empty string. An unknown pool is a gateway error here alone."""
    pool_key, number = required(call.parameters, "PoolKey"), required(call.parameters, "PhoneNoX")
    if pool_key not in call.account.pools:
        # The misspelling is the provider's own.
        raise GatewayError(400, "POOLKEY_NOT_EXIST", "poolKey not exsit.")
    if number not in call.pool():
        raise BusinessError("isv.NO_NOT_EXIST", "no not exist")
    binding = call.account.bindings.seen_on_number(number, call.now)
    shown = {None, "expired"} if call.account.unknowns.lapsed_ids_shown else {None}
    return Answer(fields={"SubsId": binding.subs_id if binding and binding.ended in shown else ""})


ACTIONS: Mapping[str, Action] = {
    "BindAxn": bind_axn,
    "UnbindSubscription": unbind_subscription,
    "UpdateSubscription": update_subscription,
    "QuerySubscriptionDetail": query_subscription_detail,
    "QuerySubsId": query_subs_id,
    "LockSecretNo": lock_secret_no,
    "UnlockSecretNo": unlock_secret_no,
    "QuerySecretNoDetail": query_secret_no_detail,
    "QuerySecretNoRemain": query_secret_no_remain,
    "BuySecretNo": buy_secret_no,
    "ReleaseSecretNo": release_secret_no,
    "ListXTelephones": list_x_telephones,
}
