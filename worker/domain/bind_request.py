"""A bind request as a producer gives it: BindAxn's parameters, by wire name or in snake_case, and our own.

Formats are checked here. What depends on the time or the settings (is the Expiration far enough ahead, is there a
PoolKey, may this receiver be called) is checked when the request is accepted: see `worker.intake`.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PositiveInt,
    StringConstraints,
    ValidationError,
)

from worker.domain.callback_url import CallbackUrl
from worker.domain.durations import Duration, parse_duration
from worker.domain.expiration import parse_expiration, wire_expiration
from worker.domain.job import Lane, OnDoubt
from worker.domain.masking import mask_value
from worker.domain.phone_numbers import CustomerNumber, PrivateNumber
from worker.errors import FieldFault, InvalidRequestError

_LONGEST_TEXT = 1024
"""The provider documents no length; this only keeps a mistake from filling Redis."""


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    raise ValueError("must not hold control characters")


def _whole_number(given: object) -> object:
    return int(given) if isinstance(given, str) and given.isascii() and given.isdigit() else given


def _ring_config(given: object) -> object:
    try:
        ring_config = json.loads(given) if isinstance(given, str) else given
        if isinstance(ring_config, Mapping):
            return json.dumps(dict(ring_config), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        pass  # the rule below says it
    raise ValueError('must be a JSON object such as {"AXNRing_A": "…"}')


def _deadline(given: object) -> object:
    if not isinstance(given, datetime) and not (isinstance(given, str) and any(mark in given for mark in "-:T")):
        return parse_duration(given)
    try:
        moment = datetime.fromisoformat(given.strip()) if isinstance(given, str) else given
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # the rule below says it
    raise ValueError("must be a span such as 30s, or a time with its zone such as 2026-12-01T12:00:00+08:00")


def _lane(given: object) -> object:
    if given in (Lane.CHECKOUT, Lane.BATCH):
        return Lane(str(given))
    raise ValueError(f"must be '{Lane.CHECKOUT}' or '{Lane.BATCH}'")


Text = Annotated[str, StringConstraints(min_length=1, max_length=_LONGEST_TEXT), AfterValidator(_printable)]
ExpirationTime = Annotated[datetime, BeforeValidator(parse_expiration), PlainSerializer(wire_expiration)]


class BindRequest(BaseModel):
    """One number to bind.

    Raises:
        InvalidRequestError: rules are broken; all of them are named, numbers masked.
    """

    model_config = ConfigDict(
        populate_by_name=True, extra="forbid", frozen=True, strict=True, hide_input_in_errors=True
    )

    phone_no_a: CustomerNumber = Field(alias="PhoneNoA")
    pool_key: Text | None = Field(None, alias="PoolKey")
    expiration: ExpirationTime | None = Field(None, alias="Expiration")
    phone_no_b: CustomerNumber | None = Field(None, alias="PhoneNoB")
    phone_no_x: PrivateNumber | None = Field(None, alias="PhoneNoX")
    expect_city: Text | None = Field(None, alias="ExpectCity")
    is_recording_enabled: Annotated[bool, Field(strict=False)] | None = Field(None, alias="IsRecordingEnabled")
    out_id: Text | None = Field(None, alias="OutId")
    out_order_id: Text | None = Field(None, alias="OutOrderId")
    no_type: Text | None = Field(None, alias="NoType")
    call_display_type: Annotated[Literal[1, 2, 3], BeforeValidator(_whole_number)] | None = Field(
        None, alias="CallDisplayType"
    )
    call_restrict: Literal["CONTROL_AX_DISABLE", "CONTROL_BX_DISABLE"] | None = Field(None, alias="CallRestrict")
    call_timeout: Annotated[PositiveInt, Field(strict=False)] | None = Field(None, alias="CallTimeout")
    asr_status: Annotated[bool, Field(strict=False)] | None = Field(None, alias="ASRStatus")
    asr_model_id: Text | None = Field(None, alias="ASRModelId")
    ring_config: Annotated[Text, BeforeValidator(_ring_config)] | None = Field(None, alias="RingConfig")
    extend: Text | None = Field(None, alias="Extend")
    owner_id: Annotated[PositiveInt, Field(strict=False)] | None = Field(None, alias="OwnerId")
    resource_owner_id: Annotated[PositiveInt, Field(strict=False)] | None = Field(None, alias="ResourceOwnerId")
    resource_owner_account: Text | None = Field(None, alias="ResourceOwnerAccount")

    expires_in: Duration | None = None
    callback_url: CallbackUrl | None = None
    idempotency_key: Annotated[Text, StringConstraints(max_length=256)] | None = None
    deadline: Annotated[Any, BeforeValidator(_deadline)] | None = None
    on_doubt: Annotated[OnDoubt, Field(strict=False)] = OnDoubt.HOLD
    lane: Annotated[Literal[Lane.CHECKOUT, Lane.BATCH], BeforeValidator(_lane)] = Lane.CHECKOUT

    def __init__(self, **given: Any) -> None:
        faults = _faults_between_fields(given)
        twice = {fault.field for fault in faults if fault.field in given}
        try:
            super().__init__(**{name: value for name, value in given.items() if name not in twice})
        except ValidationError as invalid:
            faults = [*_faults(invalid), *faults]
        if faults:
            raise InvalidRequestError(faults)

    @classmethod
    def from_mapping(cls, given: object) -> Self:
        """A request that arrived as data.

        Raises:
            InvalidRequestError: it is no mapping of names to values, or breaks rules.
        """
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise InvalidRequestError([FieldFault("request", "", "must be a mapping of field names to values")])
        return cls(**given)

    def wire_parameters(self, *, pool_key: str, expiration: datetime) -> dict[str, str]:
        """BindAxn's business parameters as text, without those not given."""
        parameters = {"PoolKey": pool_key} if pool_key else {}
        parameters["Expiration"] = wire_expiration(expiration)
        for wire_name, name in _NAME_BY_WIRE_NAME.items():
            value = getattr(self, name)
            if value is not None and wire_name not in parameters:
                parameters[wire_name] = str(value).lower() if isinstance(value, bool) else str(value)
        return parameters

    def digest(self) -> str:
        """Of the request as given, without its idempotency key: equal for equal requests, also across releases."""
        given = self.model_dump(mode="json", exclude={"idempotency_key"}, exclude_none=True, exclude_defaults=True)
        text = json.dumps(given, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


_NAME_BY_WIRE_NAME = {field.alias: name for name, field in BindRequest.model_fields.items() if field.alias}
_FIELD_NAMES = tuple(BindRequest.model_fields)


def _faults_between_fields(given: Mapping[str, Any]) -> list[FieldFault]:
    faults = [
        FieldFault(name, "", f"is given twice, also as {wire_name}")
        for wire_name, name in _NAME_BY_WIRE_NAME.items()
        if wire_name in given and name in given
    ]
    expirations = [given.get(name) for name in ("expiration", "Expiration") if given.get(name) is not None]
    if bool(expirations) == (given.get("expires_in") is not None) and "expiration" not in {f.field for f in faults}:
        faults.append(FieldFault("expiration", "", "give either expiration or expires_in"))
    return faults


def _faults(invalid: ValidationError) -> list[FieldFault]:
    return [_fault(dict(error)) for error in invalid.errors(include_url=False)]


def _fault(error: dict[str, Any]) -> FieldFault:
    given_name = str(error["loc"][0]) if error["loc"] else ""
    name = _NAME_BY_WIRE_NAME.get(given_name, given_name)
    if error["type"] == "missing":
        return FieldFault(name, "", "is required")
    if error["type"] == "extra_forbidden":
        return FieldFault(mask_value(name), "", _unknown_field_rule(given_name))
    return FieldFault(name, mask_value(error["input"]), _rule(error))


def _rule(error: Mapping[str, Any]) -> str:
    if error["type"] in ("too_long", "string_too_long"):
        return f"must be at most {error['ctx']['max_length']} characters"
    if error["type"] == "string_too_short":
        return "must not be empty"
    return str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


def _unknown_field_rule(given_name: str) -> str:
    near = difflib.get_close_matches(given_name, (*_FIELD_NAMES, *_NAME_BY_WIRE_NAME), n=1)
    return "is no field of a bind request" + (f"; did you mean {near[0]}?" if near else "")
