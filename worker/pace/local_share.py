"""What checkout may send while Redis is away: a share of the last rate that was known, paced by this process alone."""

import math
import random
from collections.abc import Callable

from worker.clock import Clock


class LocalShare:
    """Places for checkouts at `share` of the last known rate; any window W holds at most share * rate * W + 1 of them.

    The rate is that of all workers, so the shares of all processes together should not exceed 1.

    Args:
        share: 0 (nothing is sent without Redis) to 1.
        known_for_ms: knowledge older than this is none: the provider's limit may have changed.
        random_share: a number in [0, 1), so that the processes do not all send at the moment when Redis goes away.

    Raises:
        ValueError: the share is not one.
    """

    def __init__(
        self,
        share: float,
        clock: Clock,
        *,
        known_for_ms: float = 600_000,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share must be between 0 and 1, not {share}")
        self._share = share
        self._clock = clock
        self._known_for_ms = known_for_ms
        self._random_share = random_share
        self._interval_ms = 0.0
        self._known_at_ms = -math.inf
        self._enters_at_ms: float | None = None
        self._last_ms = -math.inf

    @property
    def is_on(self) -> bool:
        """Whether anything may be sent without Redis."""
        return self._share > 0

    def know(self, interval_ms: float) -> None:
        """Redis answered: calls of all workers are so many ms apart. What comes next is a new absence."""
        if interval_ms > 0:
            self._interval_ms, self._known_at_ms, self._enters_at_ms = interval_ms, self._clock.monotonic_ms(), None

    def place(self, *, patience_ms: float) -> float | None:
        """How many ms to wait before sending one call; the place is taken.

        Returns:
            None, and no place is taken, if the share is 0, no rate is known, or the wait would exceed patience_ms.
        """
        now_ms = self._clock.monotonic_ms()
        if not self._share or now_ms - self._known_at_ms > self._known_for_ms:
            return None
        step_ms = self._interval_ms / self._share
        if self._enters_at_ms is None:
            self._enters_at_ms = now_ms + self._random_share() * step_ms
        at_ms = max(now_ms, self._enters_at_ms, self._last_ms + step_ms)
        if at_ms - now_ms > patience_ms:
            return None
        self._last_ms = at_ms
        return at_ms - now_ms
