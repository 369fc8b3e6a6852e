"""Rows whose form is right: what is asked for, of which binding, and under which key.

Every row has a stable key: 32 hexadecimal digits, the same for the same row in every run, so that no row is done twice.
It is a hash of the row's `key` column where it has one, else of the operation and of what tells what it acts on:

    bind                 A, B, X, pool_key, no_type, out_id and out_order_id
    all others           the binding as it is named: bind_job_id, or out_order_id, or subs_id and X

Two rows with one key are duplicates. So two rows that set the same of one binding to different values are duplicates
too, as nobody knows which is meant; a bind that is really meant twice needs a `key` or an `out_order_id` of its own.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.batches.operations import OLD_AND_NEW, Operation
from worker.domain.bind_request import BindRequest
from worker.domain.rebind_request import RebindRequest
from worker.domain.rebinding import RebindMode
from worker.domain.unbind_request import UnbindRequest
from worker.domain.update_request import UpdateRequest

_TELL_BINDS_APART = ("phone_no_a", "phone_no_b", "phone_no_x", "pool_key", "no_type", "out_id", "out_order_id")
_TELL_BINDINGS_APART = ("bind_job_id", "out_order_id", "subs_id", "phone_no_x")
_KEY_BYTES = 16
_NEW_NAMES = {old: new for new, old in OLD_AND_NEW.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedBinding:
    """A binding as a row names it, by one of three.

    Attributes:
        bind_job_id: our job that bound it.
        out_order_id: the OutOrderId that we bound it with.
        provider_fields: subs_id, phone_no_x and what goes with them in a change request.
    """

    bind_job_id: str = ""
    out_order_id: str = ""
    provider_fields: Mapping[str, Any]

    def fields(self, bind_job_id: str = "") -> dict[str, Any]:
        """A change request's fields that name it.

        Args:
            bind_job_id: instead of `out_order_id`, where that names it.
        """
        job_id = self.bind_job_id or (bind_job_id if self.out_order_id else "")
        if job_id:
            return {**self.provider_fields, "bind_job_id": job_id}
        return {**self.provider_fields, **({"out_order_id": self.out_order_id} if self.out_order_id else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBase:
    """What all rows have.

    Attributes:
        line: in the file, from 1.
        key: see this module.
        operation: what is asked for.
    """

    line: int
    key: str
    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class BindRow(RowBase):
    """A number to bind.

    Attributes:
        wishes: fields of its bind request.
    """

    wishes: Mapping[str, Any]

    def request(self) -> BindRequest:
        """The request to file."""
        return BindRequest(**self.wishes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow(RowBase):
    """An unbind, or one aspect of a binding to set.

    Attributes:
        binding: which.
        wishes: the aspect's value, where there is one, and the fields of ours.
    """

    binding: NamedBinding
    wishes: Mapping[str, Any]

    def request(self, bind_job_id: str = "") -> UpdateRequest | UnbindRequest:
        """The request to file.

        Args:
            bind_job_id: as for `NamedBinding.fields`.
        """
        request_type = UnbindRequest if self.operation is Operation.UNBIND else UpdateRequest
        return request_type(**self.binding.fields(bind_job_id), **self.wishes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RebindRow(RowBase):
    """A binding to make anew.

    Attributes:
        mode: with another X, or with the same.
        binding: the old one.
        wishes: fields of the new one's bind request; what is not among them stays as it was.
    """

    mode: RebindMode
    binding: NamedBinding
    wishes: Mapping[str, Any]

    def request(self, bind_job_id: str = "") -> RebindRequest:
        """The request to file.

        Args:
            bind_job_id: as for `NamedBinding.fields`.
        """
        wishes = {_NEW_NAMES.get(name, name): value for name, value in self.wishes.items()}
        return RebindRequest(**self.binding.fields(bind_job_id), **wishes, mode=self.mode)


Row = BindRow | ChangeRow | RebindRow


def row_key(operation: Operation, given: Mapping[str, Any]) -> str:
    """The stable key of a row whose form is right.

    Args:
        operation: of the row.
        given: by the fields' names.
    """
    get = given.get
    if own := get("key"):
        text = f"key\x1f{own}"
    elif operation is Operation.BIND:
        text = "\x1f".join([operation.value, *[get(name) or "" for name in _TELL_BINDS_APART]])
    else:
        text = "\x1f".join([operation.value, *[get(name) or "" for name in _TELL_BINDINGS_APART]])
    return hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).hexdigest()
