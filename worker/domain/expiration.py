"""A binding's Expiration: `YYYY-MM-DD HH:MM:SS` in Asia/Shanghai on the wire, an aware datetime inside.

The provider's page names no zone; its sibling actions speak of Beijing time, so the zone is always written explicitly
here and never left to the machine's own.
"""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")
WIRE_FORMAT = "%Y-%m-%d %H:%M:%S"
PROVIDER_MINIMUM = timedelta(seconds=60)
"""The provider refuses an Expiration that is not more than this ahead of its own clock."""

_WIRE_LENGTH = 19
_FIRST_PADDED_YEAR = 1000
"""Before it, strftime writes fewer than four digits on some systems."""
_WIRE_FORM = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")
_RULE = 'must be "YYYY-MM-DD HH:MM:SS" (Asia/Shanghai), or a time with its zone'


def parse_expiration(given: object) -> datetime:
    """Read an expiration.

    Args:
        given: the wire's form (Asia/Shanghai), an ISO 8601 string with an offset, or an aware datetime.

    Raises:
        ValueError: another form, no such date, or a datetime without a zone.
    """
    if isinstance(given, str):
        given = _parse_text(given.strip())
    if not isinstance(given, datetime):
        raise ValueError(_RULE)  # noqa: TRY004 - pydantic reports ValueErrors of a validator
    if given.tzinfo is None:
        raise ValueError(f"{_RULE}; this datetime has none")
    try:
        return given.astimezone(SHANGHAI).replace(microsecond=0)
    except OverflowError:  # at the calendar's ends
        raise ValueError(_RULE) from None


def _parse_text(text: str) -> datetime:
    try:
        if _WIRE_FORM.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)  # strptime takes thirty times as long
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(_RULE) from None


def wire_expiration(expiration: datetime) -> str:
    """The wire's form of an aware datetime."""
    there = expiration.astimezone(SHANGHAI)
    if there.year < _FIRST_PADDED_YEAR:
        return there.strftime(WIRE_FORMAT)
    return there.isoformat(" ", "seconds")[:_WIRE_LENGTH]  # the same, in a third of the time


def unix_ms(moment: datetime) -> int:
    """Unix milliseconds of an aware datetime."""
    return int(moment.timestamp() * 1000)
