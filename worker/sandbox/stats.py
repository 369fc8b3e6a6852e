"""Counts of what was asked and what was said."""

from collections import Counter, deque
from dataclasses import dataclass, field

MEMORY_S = 600
UNKNOWN_ACTION = "(unknown)"


@dataclass(slots=True)
class ActionCount:
    """One action: how often each Code was given, and how many requests each of the last seconds brought."""

    codes: Counter[str] = field(default_factory=Counter)
    per_second: deque[list[int]] = field(default_factory=deque)

    def record(self, code: str, second: int) -> None:
        self.codes[code] += 1
        if not self.per_second or self.per_second[-1][0] != second:
            self.per_second.append([second, 0])
        self.per_second[-1][1] += 1
        self.forget(second)

    def forget(self, second: int) -> None:
        while self.per_second and self.per_second[0][0] <= second - MEMORY_S:
            self.per_second.popleft()


class Stats:
    """Counts by action. A request that hung up without an answer counts under the name of its fault."""

    def __init__(self) -> None:
        self._actions: dict[str, ActionCount] = {}

    def record(self, action: str, code: str, now: float) -> None:
        self._actions.setdefault(action, ActionCount()).record(code, int(now))

    def as_dict(self, now: float) -> dict[str, dict[str, object]]:
        """By action: `total`, `codes` {Code: count}, `per_second` [[Unix second, count], …] of the last 10 minutes."""
        return {action: _as_dict(counted, int(now)) for action, counted in self._actions.items()}


def _as_dict(counted: ActionCount, second: int) -> dict[str, object]:
    counted.forget(second)
    return {
        "total": counted.codes.total(),
        "codes": dict(counted.codes),
        "per_second": list(counted.per_second),
    }
