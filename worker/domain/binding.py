"""A binding: as the provider names it, by what we can find it, and what we know of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Binding:
    """What it takes to change a binding: its id, its X, and the pool of the X.

    Attributes:
        pool_key: empty where the account has a product type instead of pools.
        binding_id: the job that made it, where we know it; else empty.
    """

    subs_id: str
    phone_no_x: str
    pool_key: str
    binding_id: str = ""


class BindingStatus(StrEnum):
    """What became of a binding, as far as we know."""

    ACTIVE = "active"
    """Bound, and its Expiration is ahead."""
    UNBOUND = "unbound"
    """Ended by an unbind of ours."""
    LAPSED = "lapsed"
    """Its Expiration has passed."""
    REPLACED = "replaced"
    """Ended for another one that was made in its place."""


class NameKind(StrEnum):
    """By what a binding can be found."""

    SUBS_ID = "subs_id"
    PHONE_NO_X = "phone_no_x"
    OUT_ID = "out_id"
    OUT_ORDER_ID = "out_order_id"


@dataclass(frozen=True, slots=True)
class BindingName:
    """One of a binding's names; several bindings may share it."""

    kind: NameKind
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BoundBinding:
    """What the ledger knows of a binding. Times are Unix milliseconds by Redis's clock, 0 where there is none.

    Attributes:
        binding_id: the job that made it.
        parameters: BindAxn's business parameters as they stand now: updates change them. A is among them.
        expires_at: its Expiration; 0 where the request told none that can be read.
        ended_at: when it was unbound or replaced.
        replaced_by: the job whose binding came in its place; else empty.
    """

    binding_id: str
    subs_id: str
    phone_no_x: str
    status: BindingStatus
    expires_at: int
    bound_at: int
    ended_at: int = 0
    replaced_by: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_active(self) -> bool:
        """Whether it should be there at the provider."""
        return self.status is BindingStatus.ACTIVE

    @property
    def phone_no_a(self) -> str:
        """The customer's number itself: mask it wherever it is shown."""
        return self.parameters.get("PhoneNoA", "")

    @property
    def pool_key(self) -> str:
        """The pool of X; empty where the account has a NoType instead."""
        return self.parameters.get("PoolKey", "")

    @property
    def no_type(self) -> str:
        """Of old accounts, instead of a pool."""
        return self.parameters.get("NoType", "")

    @property
    def out_id(self) -> str:
        """The caller's id, told in call receipts."""
        return self.parameters.get("OutId", "")

    @property
    def out_order_id(self) -> str:
        """The order that it was made for."""
        return self.parameters.get("OutOrderId", "")

    @property
    def names(self) -> list[BindingName]:
        """All by which it can be found."""
        return names_of(self.subs_id, self.phone_no_x, self.parameters)

    def as_named(self) -> Binding:
        """What it takes to change it."""
        return Binding(self.subs_id, self.phone_no_x, self.pool_key, self.binding_id)


def names_of(subs_id: str, phone_no_x: str, parameters: Mapping[str, str]) -> list[BindingName]:
    """The names of a binding with these BindAxn parameters; those it has none of are left out."""
    values = {
        NameKind.SUBS_ID: subs_id,
        NameKind.PHONE_NO_X: phone_no_x,
        NameKind.OUT_ID: parameters.get("OutId", ""),
        NameKind.OUT_ORDER_ID: parameters.get("OutOrderId", ""),
    }
    return [BindingName(kind, value) for kind, value in values.items() if value]
