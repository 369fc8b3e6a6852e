"""Remembers good rows, to see quickly that others like them are good too.

Rules between a request's fields ask only which of them are given. So in two rows that give the same fields, a number,
an id or an Expiration can be judged by itself, by the very types and functions that requests are judged by; and the
other fields' values, of which a file has few, were judged before where they are equal. What is not text is judged anew
each time: 1 equals True.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter

from worker.batches.operations import OLD_AND_NEW, Operation
from worker.domain.bind_request import BindRequest
from worker.domain.expiration import parse_expiration
from worker.domain.request_fields import IdempotencyKey, Text
from worker.domain.unbind_request import UnbindRequest

_MOST_REMEMBERED = 4_096

Like = tuple[tuple[str, ...], tuple[str, ...]]
"""The names of what a row gives, and its values but for the free ones."""


def _check_of(annotation: Any) -> Callable[[Any], bool]:
    return TypeAdapter(annotation, config=ConfigDict(strict=True)).validator.isinstance_python


def _check_of_field(model: type[BindRequest | UnbindRequest], name: str) -> Callable[[Any], bool]:
    field = model.model_fields[name]
    return _check_of(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    **{name: _check_of_field(BindRequest, name) for name in ("phone_no_a", "phone_no_b", "phone_no_x", "out_id")},
    **{name: _check_of_field(UnbindRequest, name) for name in ("subs_id", "bind_job_id")},
    "out_order_id": _check_of(Text),
    "key": _check_of(IdempotencyKey),
    **{name: _check_of_field(BindRequest, OLD_AND_NEW[name]) for name in ("new_phone_no_x", "new_out_order_id")},
}
"""The free fields, by which a file's rows differ."""
_RENEWALS_ENDS = frozenset({"renew_until", "renew_for"})
"""An Expiration beside one of these must come before it, and is not free."""


class LikeRows:
    """Rows that were good, by what others must have in common with them."""

    def __init__(self, is_far_enough: Callable[[datetime], bool]) -> None:
        """Remember rows of one file.

        Args:
            is_far_enough: what time and settings say of an Expiration.
        """
        self._operations: dict[Like, Operation] = {}
        self._is_far_enough = is_far_enough
        self._checks = {**_CHECKS, "expiration": self._is_good_expiration}

    def like(self, given: Mapping[str, Any]) -> Like | None:
        """What a row must have in common with another; None where that is not to be told from its values."""
        rest = []
        has_renewals_end = not _RENEWALS_ENDS.isdisjoint(given)
        for name, value in given.items():
            if value.__class__ is not str:
                return None
            if name not in self._checks or (has_renewals_end and name == "expiration"):
                rest.append(value)
        return tuple(given), tuple(rest)

    def operation_of(self, like: Like | None, given: Mapping[str, Any]) -> Operation | None:
        """The operation of a row that is good because others like it were, else None: then nothing is known."""
        operation = self._operations.get(like) if like else None
        if operation is None:
            return None
        for name, value in given.items():
            check = self._checks.get(name)
            if check and (value[0] == "#" or not check(value)):
                return None
        return operation

    def _is_good_expiration(self, text: str) -> bool:
        try:
            return self._is_far_enough(parse_expiration(text))
        except ValueError:
            return False

    def remember(self, like: Like | None, operation: Operation) -> None:
        """A row like this was good."""
        if like and like not in self._operations:
            if len(self._operations) >= _MOST_REMEMBERED:
                self._operations.clear()
            self._operations[like] = operation
