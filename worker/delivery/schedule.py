"""When a callback that failed is tried again."""

from collections.abc import Sequence

_JITTER = 0.2
_LONGEST_RETRY_AFTER_MS = 86_400_000


def next_delay_ms(schedule_ms: Sequence[int], tries: int, *, retry_after_ms: int, share: float) -> int | None:
    """How long to wait after so many tries, or None where the schedule is exhausted.

    A receiver may put the next try off by `Retry-After`, by a day at most; it cannot bring it forward. (That a callback
    is not put off beyond its deadline is the ledger's business: it knows the time.)

    Args:
        schedule_ms: delays before the second, third … try.
        tries: made so far, from 1.
        retry_after_ms: what the receiver asked for, 0 for nothing.
        share: a random number in [0, 1): the schedule's delays vary by ±20 %.
    """
    if tries > len(schedule_ms):
        return None
    planned_ms = round(schedule_ms[max(tries, 1) - 1] * (1 - _JITTER + 2 * _JITTER * share))
    return max(planned_ms, min(retry_after_ms, _LONGEST_RETRY_AFTER_MS))
