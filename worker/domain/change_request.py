"""What updates and unbinds have in common: they name a binding.

By the job that made it, or by the order that it was made for: the ledger then tells all the rest. Or as the provider
does: SubsId, X and pool.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, StringConstraints

from worker.domain.job_ids import is_job_id
from worker.domain.job_request import JobRequest
from worker.domain.phone_numbers import PrivateNumber
from worker.domain.request_fields import Flag, Text
from worker.errors import FieldFault

_NAMED_ONCE = "give either bind_job_id, or out_order_id, or subs_id, phone_no_x and pool_key"


def _job_id(text: str) -> str:
    if is_job_id(text):
        return text
    raise ValueError("must be the 26 letters and digits of a job's id")


def _subs_id(text: str) -> str:
    if text.isascii() and text.isdigit():
        return text
    raise ValueError("must be digits only")


class ChangeRequest(JobRequest):
    """Base of the requests that change a binding.

    Attributes:
        bind_job_id: the job that made the binding, instead of subs_id, phone_no_x and pool_key.
        out_order_id: instead of them, too: the OutOrderId that we bound it with. It must have one active binding.
        pool_key: of X; default AXN_POOL_KEY.
        product_type: instead of a pool, for old accounts; also beside bind_job_id or out_order_id where the bind had a
            NoType.
        is_confirmed: SubsId, X and pool come from a confirmed bind, so that "no such binding" can only mean that it has
            ended. With bind_job_id or out_order_id the ledger knows that itself.
    """

    second_wire_names: ClassVar[Mapping[str, str]] = {"SecretNo": "phone_no_x"}

    bind_job_id: Annotated[str, AfterValidator(_job_id)] | None = None
    out_order_id: Text | None = Field(None, alias="OutOrderId")
    subs_id: Annotated[str, StringConstraints(max_length=32), AfterValidator(_subs_id)] | None = Field(
        None, alias="SubsId"
    )
    phone_no_x: PrivateNumber | None = Field(None, alias="PhoneNoX")
    pool_key: Text | None = Field(None, alias="PoolKey")
    product_type: Text | None = Field(None, alias="ProductType")
    is_confirmed: Flag = False

    @property
    def names_confirmed_binding(self) -> bool:
        """Whether the binding is known to have been there, exactly as it is named."""
        # A product type is the caller's word, also beside a bind job.
        is_on_record = self.bind_job_id is not None or self.out_order_id is not None
        return self.is_confirmed or (is_on_record and self.product_type is None)

    @classmethod
    def _faults_between_fields(cls, given: Mapping[str, Any], _twice: AbstractSet[str]) -> list[FieldFault]:
        has = {name for name, value in given.items() if value is not None}
        by_record = [name for name in ("bind_job_id", "out_order_id") if name in has]
        if by_record:
            if len(by_record) > 1 or has & {"subs_id", "phone_no_x", "pool_key"}:
                return [FieldFault(by_record[0], "", _NAMED_ONCE)]
            return []
        if not has & {"subs_id", "phone_no_x"}:
            faults = [FieldFault("bind_job_id", "", "is required (or out_order_id, or subs_id and phone_no_x)")]
        else:
            missing = [name for name in ("subs_id", "phone_no_x") if name not in has]
            faults = [FieldFault(name, "", "is required (or bind_job_id for all three)") for name in missing]
        if {"pool_key", "product_type"} <= has:
            faults.append(FieldFault("product_type", "", "give either pool_key or product_type"))
        return faults
