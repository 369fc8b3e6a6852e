"""Rate limits: at most n accepted requests of an action in any one second, or a bucket that allows bursts."""

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from worker.sandbox.config import Limit

_WINDOW_S = 1.0


class _Meter(Protocol):
    def allow(self, now: float) -> bool: ...


class SlidingSecond:
    """At most `per_second` in any one second."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._accepted: deque[float] = deque()

    def allow(self, now: float) -> bool:
        while self._accepted and self._accepted[0] <= now - _WINDOW_S:
            self._accepted.popleft()
        if len(self._accepted) >= self._per_second:
            return False
        self._accepted.append(now)
        return True


class Bucket:
    """`burst` at once after a rest, and `per_second` in the long run."""

    def __init__(self, per_second: int, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at = 0.0

    def allow(self, now: float) -> bool:
        gained = max(now - self._filled_at, 0.0) * self._per_second
        self._tokens = min(self._tokens + gained, self._burst)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class RateLimits:
    """One meter per limited action. A refused request does not count, so a client may always come back."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._meters: dict[str, _Meter] = {limit.action: _meter(limit) for limit in limits}

    def allow(self, action: str, now: float) -> bool:
        """Count this request, if its action's meter still has room for it."""
        meter = self._meters.get(action)
        return meter is None or meter.allow(now)


def _meter(limit: Limit) -> _Meter:
    return SlidingSecond(limit.per_second) if limit.burst is None else Bucket(limit.per_second, limit.burst)
