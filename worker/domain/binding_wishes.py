"""What a bind and a rebind may both ask of the binding that they make: BindAxn's parameters but those that name it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from worker.domain.durations import Duration
from worker.domain.expiration import wire_expiration
from worker.domain.job import OnDoubt
from worker.domain.phone_numbers import CustomerNumber
from worker.domain.renewed_request import RenewedRequest
from worker.domain.request_fields import CallDisplayType, ExpirationTime, Flag, Text


def _ring_config(given: object) -> object:
    try:
        ring_config = json.loads(given) if isinstance(given, str) else given
        if isinstance(ring_config, Mapping):
            return json.dumps(dict(ring_config), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        pass  # the rule below says it
    raise ValueError('must be a JSON object such as {"AXNRing_A": "…"}')


class BindingWishes(RenewedRequest):
    """Base of the requests that make a binding."""

    phone_no_a: CustomerNumber | None = Field(None, alias="PhoneNoA")
    expiration: ExpirationTime | None = Field(None, alias="Expiration")
    phone_no_b: CustomerNumber | None = Field(None, alias="PhoneNoB")
    expect_city: Text | None = Field(None, alias="ExpectCity")
    is_recording_enabled: Flag | None = Field(None, alias="IsRecordingEnabled")
    out_id: Text | None = Field(None, alias="OutId")
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

    def _on_the_wire(
        self, fixed: Mapping[str, str], expiration: datetime | None, names: Mapping[str, str]
    ) -> dict[str, str]:
        """BindAxn's business parameters as text, without those not given.

        Args:
            fixed: parameters that are known otherwise.
            expiration: of the binding, if it is to be set.
            names: by BindAxn's names, the fields that hold its parameters.
        """
        parameters = dict(fixed)
        if expiration is not None:
            parameters["Expiration"] = wire_expiration(expiration)
        for wire_name, name in names.items():
            value = None if name == "expiration" else getattr(self, name)
            if value is not None and wire_name not in parameters:
                parameters[wire_name] = str(value).lower() if isinstance(value, bool) else str(value)
        return parameters


WISHES_BY_WIRE_NAME: Mapping[str, str] = {
    field.alias: name for name, field in BindingWishes.model_fields.items() if field.alias
}
