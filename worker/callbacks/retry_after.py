"""`Retry-After` of an answer (RFC 9110, 10.2.3): seconds, here also with a fraction, or an HTTP date."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[+-]?\d{1,18}(\.\d{0,9})?", re.ASCII)


def retry_after_ms(headers: Mapping[str, str], now_unix_ms: int) -> int:
    """How long the receiver asks to be left alone; 0 where it does not ask, or asks for what is past.

    Args:
        headers: of the answer, names in lower case.
        now_unix_ms: what a date is counted from where the answer tells none of its own. Its own (`Date`) is better: one
            clock that is wrong cancels itself out.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return max(math.ceil(float(text) * 1000), 0)
    moment_ms = _unix_ms_of(text)
    if moment_ms is None:
        return 0
    told_ms = _unix_ms_of(headers.get("date", ""))
    return max(moment_ms - (now_unix_ms if told_ms is None else told_ms), 0)


def _unix_ms_of(text: str) -> int | None:
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000": a time in UTC of unknown zone
            moment = moment.replace(tzinfo=UTC)
        return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
