"""The parameters of a rebind's binds: what the request says, else what the old binding has. Pure."""

from collections.abc import Mapping

from worker.domain.expiration import parse_expiration
from worker.domain.phone_numbers import is_customer_number
from worker.ledger.rebind_record import Rebinding
from worker.provider.replies import SubscriptionDetail

_TOLD_BY_THE_PROVIDER = (
    "PhoneNoA", "PhoneNoB", "PhoneNoX", "Expiration", "IsRecordingEnabled", "CallRestrict", "ASRStatus", "ASRModelId",
)  # fmt: skip
"""Of these the provider's word counts, not the record's: they may have been changed since."""


def old_parameters(rebind: Rebinding, detail: SubscriptionDetail, record: Mapping[str, str]) -> dict[str, str]:
    """BindAxn's parameters that would make the old binding again.

    Args:
        rebind: names the old binding.
        detail: what the provider says of it.
        record: the parameters it was bound with, where our job did that: ids and call settings that no query tells.
    """
    kept = {name: value for name, value in record.items() if name not in _TOLD_BY_THE_PROVIDER}
    told = {
        "PhoneNoA": detail.phone_no_a,
        # Without a B the provider may show a made-up number, which must not be called.
        "PhoneNoB": detail.phone_no_b if is_customer_number(detail.phone_no_b) else "",
        "PhoneNoX": rebind.old_phone_no_x,
        "PoolKey": rebind.old_pool_key,
        "Expiration": detail.expire_date,
        "IsRecordingEnabled": _flag(detail.need_record),
        "CallRestrict": detail.call_restrict,
        "ASRStatus": _flag(detail.asr_status),
        "ASRModelId": detail.asr_model_id,
    }
    return {**kept, **{name: value for name, value in told.items() if value}}


def new_parameters(rebind: Rebinding, old: Mapping[str, str], wishes: Mapping[str, str]) -> dict[str, str]:
    """BindAxn's parameters for the binding that is asked for.

    Args:
        rebind: how it is made anew.
        old: as `old_parameters`.
        wishes: what the request says.
    """
    stays = dict(old)
    if rebind.is_on_new_x:
        del stays["PhoneNoX"]
    if "NoType" in wishes and rebind.is_on_new_x:
        stays.pop("PoolKey", None)
    if "PoolKey" in wishes:
        stays.pop("NoType", None)
    return {**stays, **wishes}


def is_enough(parameters: Mapping[str, str]) -> bool:
    """Whether a binding can be made by these."""
    try:
        parse_expiration(parameters.get("Expiration"))
    except ValueError:
        return False
    return bool(parameters.get("PhoneNoA"))


def _flag(value: bool | None) -> str:
    return "" if value is None else str(value).lower()
