"""A binding that was made elsewhere, as it is named to be taken into the registry."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, StringConstraints

from worker.domain.job import JobKind
from worker.domain.phone_numbers import PrivateNumber
from worker.domain.renewed_request import RenewedRequest
from worker.domain.request_fields import ExpirationTime, Text
from worker.errors import FieldFault


def _subs_id(text: str) -> str:
    if text.isascii() and text.isdigit():
        return text
    raise ValueError("must be digits only")


class AdoptRequest(RenewedRequest):
    """One binding to adopt. What is not known here the provider tells: A, B, and until when it lasts.

    Attributes:
        pool_key: of X; default AXN_POOL_KEY.
        expiration: as far as its owner knows; the provider's own word counts.
        out_id, out_order_id: as it was bound with, which the provider does not tell.

    Raises:
        InvalidRequestError: rules are broken; all of them are named, numbers masked.
    """

    kind: ClassVar[JobKind] = JobKind.BIND
    second_wire_names: ClassVar[Mapping[str, str]] = {"SecretNo": "phone_no_x"}

    subs_id: Annotated[str, StringConstraints(max_length=32), AfterValidator(_subs_id)] = Field(alias="SubsId")
    phone_no_x: PrivateNumber = Field(alias="PhoneNoX")
    pool_key: Text | None = Field(None, alias="PoolKey")
    expiration: ExpirationTime | None = Field(None, alias="Expiration")
    out_id: Text | None = Field(None, alias="OutId")
    out_order_id: Text | None = Field(None, alias="OutOrderId")

    def __init__(self, **given: Any) -> None:  # without its own, type checkers take the fields for its arguments
        super().__init__(**given)

    @classmethod
    def _faults_between_fields(cls, _given: Mapping[str, Any], _twice: AbstractSet[str]) -> list[FieldFault]:
        return []
