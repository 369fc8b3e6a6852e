"""A bind request as a producer gives it: BindAxn's parameters, by wire name or in snake_case, and our own.

Formats are checked here. What depends on the time or the settings (is the Expiration far enough ahead, is there a
PoolKey, may this receiver be called) is checked when the request is accepted: see `worker.intake`.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from worker.domain.binding_wishes import BindingWishes
from worker.domain.job import JobKind
from worker.domain.phone_numbers import CustomerNumber, PrivateNumber
from worker.domain.request_fields import Text
from worker.errors import FieldFault


class BindRequest(BindingWishes):
    """One number to bind.

    Raises:
        InvalidRequestError: rules are broken; all of them are named, numbers masked.
    """

    kind: ClassVar[JobKind] = JobKind.BIND

    phone_no_a: CustomerNumber = Field(alias="PhoneNoA")
    pool_key: Text | None = Field(None, alias="PoolKey")
    phone_no_x: PrivateNumber | None = Field(None, alias="PhoneNoX")
    out_order_id: Text | None = Field(None, alias="OutOrderId")

    def __init__(self, **given: Any) -> None:  # without its own, type checkers take the fields for its arguments
        super().__init__(**given)

    def wire_parameters(self, *, pool_key: str, expiration: datetime) -> dict[str, str]:
        """BindAxn's business parameters as text, without those not given."""
        fixed = {"PoolKey": pool_key} if pool_key else {}
        return self._on_the_wire(fixed, expiration, self.field_by_wire_name)

    @classmethod
    def _faults_between_fields(cls, given: Mapping[str, Any], twice: AbstractSet[str]) -> list[FieldFault]:
        is_one_given = (given.get("expiration") is None) != (given.get("expires_in") is None)
        if is_one_given or "expiration" in twice:
            return []
        return [FieldFault("expiration", "", "give either expiration or expires_in")]
