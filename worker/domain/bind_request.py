"""A bind request as a producer gives it: BindAxn's parameters, by wire name or in snake_case, and our own.

Formats are checked here. What depends on the time or the settings (is the Expiration far enough ahead, is there a
PoolKey, may this receiver be called) is checked when the request is accepted: see `worker.intake`.
"""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from worker.domain.durations import Duration
from worker.domain.expiration import wire_expiration
from worker.domain.job import JobKind, OnDoubt
from worker.domain.phone_numbers import CustomerNumber, PrivateNumber
from worker.domain.renewed_request import RenewedRequest
from worker.domain.request_fields import CallDisplayType, ExpirationTime, Flag, Text
from worker.errors import FieldFault


def _ring_config(given: object) -> object:
    try:
        ring_config = json.loads(given) if isinstance(given, str) else given
        if isinstance(ring_config, Mapping):
            return json.dumps(dict(ring_config), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        pass  # the rule below says it
    raise ValueError('must be a JSON object such as {"AXNRing_A": "…"}')


class BindRequest(RenewedRequest):
    """One number to bind.

    Raises:
        InvalidRequestError: rules are broken; all of them are named, numbers masked.
    """

    kind: ClassVar[JobKind] = JobKind.BIND

    phone_no_a: CustomerNumber = Field(alias="PhoneNoA")
    pool_key: Text | None = Field(None, alias="PoolKey")
    expiration: ExpirationTime | None = Field(None, alias="Expiration")
    phone_no_b: CustomerNumber | None = Field(None, alias="PhoneNoB")
    phone_no_x: PrivateNumber | None = Field(None, alias="PhoneNoX")
    expect_city: Text | None = Field(None, alias="ExpectCity")
    is_recording_enabled: Flag | None = Field(None, alias="IsRecordingEnabled")
    out_id: Text | None = Field(None, alias="OutId")
    out_order_id: Text | None = Field(None, alias="OutOrderId")
    no_type: Text | None = Field(None, alias="NoType")
    call_display_type: CallDisplayType | None = Field(None, alias="CallDisplayType")
    call_restrict: Literal["CONTROL_AX_DISABLE", "CONTROL_BX_DISABLE"] | None = Field(None, alias="CallRestrict")
    call_timeout: Annotated[PositiveInt, Field(strict=False)] | None = Field(None, alias="CallTimeout")
    asr_status: Flag | None = Field(None, alias="ASRStatus")
    asr_model_id: Text | None = Field(None, alias="ASRModelId")
    ring_config: Annotated[Text, BeforeValidator(_ring_config)] | None = Field(None, alias="RingConfig")
    extend: Text | None = Field(None, alias="Extend")
    owner_id: Annotated[PositiveInt, Field(strict=False)] | None = Field(None, alias="OwnerId")
    resource_owner_id: Annotated[PositiveInt, Field(strict=False)] | None = Field(None, alias="ResourceOwnerId")
    resource_owner_account: Text | None = Field(None, alias="ResourceOwnerAccount")

    expires_in: Duration | None = None
    on_doubt: Annotated[OnDoubt, Field(strict=False)] = OnDoubt.HOLD

    def __init__(self, **given: Any) -> None:  # without its own, type checkers take the fields for its arguments
        super().__init__(**given)

    def wire_parameters(self, *, pool_key: str, expiration: datetime) -> dict[str, str]:
        """BindAxn's business parameters as text, without those not given."""
        parameters = {"PoolKey": pool_key} if pool_key else {}
        parameters["Expiration"] = wire_expiration(expiration)
        for wire_name, name in self.field_by_wire_name.items():
            value = getattr(self, name)
            if value is not None and wire_name not in parameters:
                parameters[wire_name] = str(value).lower() if isinstance(value, bool) else str(value)
        return parameters

    @classmethod
    def _faults_between_fields(cls, given: Mapping[str, Any], twice: AbstractSet[str]) -> list[FieldFault]:
        is_one_given = (given.get("expiration") is None) != (given.get("expires_in") is None)
        if is_one_given or "expiration" in twice:
            return []
        return [FieldFault("expiration", "", "give either expiration or expires_in")]
