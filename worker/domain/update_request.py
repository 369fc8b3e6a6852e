"""An update request: one aspect of a binding set anew."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar, Literal

from pydantic import Field

from worker.domain.change_request import ChangeRequest
from worker.domain.durations import Duration
from worker.domain.job import JobKind
from worker.domain.phone_numbers import CustomerNumber
from worker.domain.request_fields import CallDisplayType, ExpirationTime, Flag, Text
from worker.errors import FieldFault

_ASPECTS = (
    "phone_no_a",
    "phone_no_b",
    "expiration",
    "expires_in",
    "group_id",
    "call_restrict",
    "call_display_type",
    "out_id",
    "is_recording_enabled",
)


class UpdateRequest(ChangeRequest):
    """One aspect of one binding, to be set to a value: the provider takes one at a time.

    Raises:
        InvalidRequestError: rules are broken; all of them are named, numbers masked.
    """

    kind: ClassVar[JobKind] = JobKind.UPDATE

    phone_no_a: CustomerNumber | None = Field(None, alias="PhoneNoA")
    phone_no_b: CustomerNumber | None = Field(None, alias="PhoneNoB")
    expiration: ExpirationTime | None = Field(None, alias="Expiration")
    group_id: Text | None = Field(None, alias="GroupId")
    call_restrict: Literal["CONTROL_AX_DISABLE", "CONTROL_BX_DISABLE", "CONTROL_CLEAR_DISABLE"] | None = Field(
        None, alias="CallRestrict"
    )
    call_display_type: CallDisplayType | None = Field(None, alias="CallDisplayType")
    out_id: Text | None = Field(None, alias="OutId")
    is_recording_enabled: Flag | None = Field(None, alias="IsRecordingEnabled")

    expires_in: Duration | None = None

    def __init__(self, **given: Any) -> None:  # without its own, type checkers take the fields for its arguments
        super().__init__(**given)

    @property
    def aspect(self) -> str:
        """The one that is set; `expiration` also where `expires_in` was given."""
        (given,) = (name for name in _ASPECTS if getattr(self, name) is not None)
        return "expiration" if given == "expires_in" else given

    @classmethod
    def _faults_between_fields(cls, given: Mapping[str, Any], twice: AbstractSet[str]) -> list[FieldFault]:
        faults = super()._faults_between_fields(given, twice)
        aspects = [name for name in _ASPECTS if given.get(name) is not None]
        if len(aspects) != 1:
            told = f" (given: {', '.join(aspects)})" if aspects else ""
            faults.append(FieldFault("request", "", f"give exactly one of {', '.join(_ASPECTS)}{told}"))
        return faults
