"""A rebind request: an old binding, by any of its names, and what is to be different about the new one."""

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field

from worker.domain.binding_wishes import WISHES_BY_WIRE_NAME, BindingWishes
from worker.domain.change_request import ChangeRequest
from worker.domain.job import JobKind
from worker.domain.phone_numbers import PrivateNumber
from worker.domain.rebinding import RebindMode
from worker.domain.request_fields import Text
from worker.errors import FieldFault

_NEW_NAMES = {"PhoneNoX": "new_phone_no_x", "PoolKey": "new_pool_key", "OutOrderId": "new_out_order_id"}


class RebindRequest(ChangeRequest, BindingWishes):
    """One binding to make anew. What is not given stays as it was.

    Attributes:
        mode: `new-x` binds another X and then ends the old binding; `same-x` ends it first and binds its X again.
        new_phone_no_x: a chosen X of the new binding, for new-x.
        new_pool_key: the pool of the new X, for new-x; default the old one's.
        new_out_order_id: of the new binding; default the old one's, where its bind job is named.

    Raises:
        InvalidRequestError: rules are broken; all of them are named, numbers masked.
    """

    kind: ClassVar[JobKind] = JobKind.REBIND

    mode: Annotated[RebindMode, Field(strict=False)] = RebindMode.NEW_X
    new_phone_no_x: PrivateNumber | None = None
    new_pool_key: Text | None = None
    new_out_order_id: Text | None = None

    def __init__(self, **given: Any) -> None:  # without its own, type checkers take the fields for its arguments
        super().__init__(**given)

    def digest(self) -> str:
        """As of all requests; an unbind or update that names the same binding and number has another one."""
        return hashlib.sha256(f"{self.kind}:{self.mode}:{super().digest()}".encode()).hexdigest()[:32]

    def wire_wishes(self, expiration: datetime | None) -> dict[str, str]:
        """What the request says of the new binding, as BindAxn's parameters.

        Args:
            expiration: to set, where the request gives one.
        """
        return self._on_the_wire({}, expiration, {**WISHES_BY_WIRE_NAME, **_NEW_NAMES})

    @classmethod
    def _faults_between_fields(cls, given: Mapping[str, Any], twice: AbstractSet[str]) -> list[FieldFault]:
        faults = super()._faults_between_fields(given, twice)
        has = {name for name, value in given.items() if value is not None}
        if {"expiration", "expires_in"} <= has:
            faults.append(FieldFault("expiration", "", "give either expiration or expires_in"))
        if given.get("mode") == RebindMode.SAME_X:
            rule = "is of no use with mode same-x, which keeps X and its pool"
            faults += [FieldFault(name, "", rule) for name in ("new_phone_no_x", "new_pool_key") if name in has]
            if "product_type" in has:
                rule = "cannot be kept on its X (mode same-x): without a pool, X cannot be looked up; use new-x"
                faults.append(FieldFault("product_type", "", rule))
        elif "product_type" in has and not has & {"new_pool_key", "no_type"}:
            faults.append(FieldFault("new_pool_key", "", "is required beside product_type (or no_type)"))
        return faults
