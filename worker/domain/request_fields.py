"""Fields that requests have in common: texts, flags, spans and moments in the forms that people and programs write."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints

from worker.domain.durations import parse_duration
from worker.domain.expiration import parse_expiration, wire_expiration
from worker.domain.job import Lane

_LONGEST_TEXT = 1024
"""The provider documents no length; this only keeps a mistake from filling Redis."""


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    raise ValueError("must not hold control characters")


def _whole_number(given: object) -> object:
    return int(given) if isinstance(given, str) and given.isascii() and given.isdigit() else given


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
Flag = Annotated[bool, Field(strict=False)]
"""A truth in any form: true, "True", 1, "yes"."""
CallDisplayType = Annotated[Literal[1, 2, 3], BeforeValidator(_whole_number)]
IdempotencyKey = Annotated[Text, StringConstraints(max_length=256)]
OrderKey = Annotated[Text, StringConstraints(max_length=256)]
"""Callbacks with the same one are delivered one at a time, in order."""
Deadline = Annotated[Any, BeforeValidator(_deadline)]
"""A span from the acceptance (timedelta), or a moment (datetime in UTC)."""
ProducerLane = Annotated[Literal[Lane.CHECKOUT, Lane.BATCH], BeforeValidator(_lane)]
