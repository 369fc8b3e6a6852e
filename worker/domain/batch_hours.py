"""The hours of a batch: when its rows may be fed. Times of day are Asia/Shanghai's."""

import re
from datetime import UTC, datetime, time, timedelta

from worker.domain.batch import BatchOptions
from worker.domain.expiration import SHANGHAI, unix_ms

_HOUR = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def parse_hour(text: str) -> time:
    """A time of day, `HH:MM`.

    Raises:
        ValueError: another form.
    """
    match = _HOUR.fullmatch(text)
    if match is None:
        raise ValueError("must be a time of day such as 22:00 (Asia/Shanghai)")
    return time(int(match[1]), int(match[2]))


def next_opening(options: BatchOptions, now_ms: int) -> int:
    """When rows may be fed next, Unix ms; 0 where they may now.

    Args:
        options: its hours; with none, or with two that are equal, it is always open. The span's end is shut.
        now_ms: Unix ms.
    """
    if not options.not_before or options.not_before == options.not_after:
        return 0
    opens, shuts = parse_hour(options.not_before), parse_hour(options.not_after)
    now = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(SHANGHAI)
    at = now.time()
    is_open = opens <= at < shuts if opens < shuts else at >= opens or at < shuts
    if is_open:
        return 0
    opening = datetime.combine(now.date(), opens, SHANGHAI)
    return unix_ms(opening if opening > now else opening + timedelta(days=1))
