"""Rate limits: at most n accepted requests of an action in any one second."""

from collections import deque
from collections.abc import Iterable

from worker.sandbox.config import Limit

_WINDOW_S = 1.0


class RateLimits:
    """One sliding second per limited action. A refused request does not count, so a client may always come back."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._per_second = {limit.action: limit.per_second for limit in limits}
        self._accepted: dict[str, deque[float]] = {action: deque() for action in self._per_second}

    def allow(self, action: str, now: float) -> bool:
        """Count this request, if the second that ends at `now` still has room for it."""
        limit = self._per_second.get(action)
        if limit is None:
            return True
        accepted = self._accepted[action]
        while accepted and accepted[0] <= now - _WINDOW_S:
            accepted.popleft()
        if len(accepted) >= limit:
            return False
        accepted.append(now)
        return True
