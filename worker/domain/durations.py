"""Spans of time as people write them: `30s`, `5m`, `2h`, `7d`, or a plain number of seconds."""

import math
import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.IGNORECASE)
_LONGEST = timedelta(days=36_525)
"""A century: now plus any span is still a date, in every zone."""
_MS_PER_UNIT = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_duration(text: object) -> timedelta:
    """Read a span.

    Args:
        text: `30s`, `1.5h`, `250ms`, `7d`, a number of seconds, or a timedelta.

    Raises:
        ValueError: it is none of these, negative, or longer than a century.
    """
    try:
        span = _span_of(text)
    except OverflowError:
        span = timedelta.max
    if span < timedelta(0):
        raise ValueError("must not be negative")
    if span > _LONGEST:
        raise ValueError("must be at most 100 years")
    return span


def _span_of(text: object) -> timedelta:
    if isinstance(text, timedelta):
        return text
    if isinstance(text, (int, float)) and not isinstance(text, bool) and not math.isnan(text):
        return timedelta(seconds=text)
    if isinstance(text, str) and (match := _SPAN.fullmatch(text.strip())):
        return timedelta(milliseconds=float(match[1]) * _MS_PER_UNIT[(match[2] or "s").lower()])
    raise ValueError("must be a span of time such as 30s, 5m, 2h or 7d, or a number of seconds")


def duration_ms(span: timedelta) -> int:
    """Whole milliseconds."""
    return span // timedelta(milliseconds=1)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
"""A pydantic field that takes all the forms above."""
