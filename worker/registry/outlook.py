"""What is to be renewed against what the pace lets through: hour by hour, and what will end before its turn. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.domain.job import Lane
from worker.ledger.renewal_views import DueHour
from worker.pace.state import AccountState, ActionState

ACTION = "UpdateSubscription"
_S_PER_HOUR = 3_600
RISK_SPANS_MS: tuple[int, ...] = tuple(minutes * 60_000 for minutes in (1, 5, 15, 30, 60, 120, 360, 720, 1_440))
"""Up to when it is reckoned who will end before his turn."""


@dataclass(frozen=True, slots=True)
class RenewalPace:
    """How many renewals a second there can be.

    Attributes:
        per_second: when no other lane wants any; 0 while none may be sent.
        assured_per_second: when checkout wants all.
        why: what bounds it: ceiling, throttled, paused, stopped or circuit.
    """

    per_second: float
    assured_per_second: float
    why: str


@dataclass(frozen=True, slots=True)
class HourAhead:
    """One hour.

    Attributes:
        begins_at: Unix ms.
        due: renewals that fall due in it.
        room: as many as the pace lets through in it.
        left_over: of those due till then, as many as must wait for the next hour.
    """

    begins_at: int
    due: int
    room: int
    left_over: int

    @property
    def is_short(self) -> bool:
        """Whether the pace is too low for it."""
        return self.left_over > 0


def renewal_pace(state: AccountState, assured_share: float) -> RenewalPace:
    """What the pace lets through as it stands.

    Args:
        state: of the account, with UpdateSubscription among its actions.
        assured_share: AXN_PACE__ASSURED_SHARE.
    """
    action = next(action for action in state.actions if action.action == ACTION)
    rate, why = _rate_of(action)
    if any(lane.is_paused for lane in action.lanes if lane.lane is Lane.RENEWAL):
        rate, why = 0.0, "paused"
    if state.circuit.is_open:
        rate, why = 0.0, "circuit"
    if state.stop is not None:
        rate, why = 0.0, "stopped"
    return RenewalPace(rate, rate * assured_share, why)


def _rate_of(action: ActionState) -> tuple[float, str]:
    granted = action.traffic.rate if action.traffic is not None else None
    if granted is not None and granted < action.ceiling.per_second / 2:
        return granted, "throttled"
    return action.ceiling.per_second, "ceiling"


def hours_ahead(hours: Sequence[DueHour], per_second: float) -> list[HourAhead]:
    """What each hour has room for, and what it leaves to the next."""
    room, left_over, ahead = int(per_second * _S_PER_HOUR), 0, []
    for hour in hours:
        left_over = max(0, left_over + hour.renewals - room)
        ahead.append(HourAhead(hour.begins_at, hour.renewals, room, left_over))
    return ahead


def will_end_unrenewed(ending_within: Mapping[int, int], per_second: float) -> int:
    """How many bindings end before their turn at this pace, the first to end going first.

    Args:
        ending_within: by a span in ms, how many of those that are due end within it.
        per_second: renewals.
    """
    return max((0, *(int(count - per_second * span_ms / 1000) for span_ms, count in ending_within.items())))


def first_span_too_full(ending_within: Mapping[int, int], per_second: float) -> int:
    """Within how many ms the first of those ends, as far as the spans tell; 0: there is none. Arguments as above."""
    full = (span_ms for span_ms, count in ending_within.items() if int(count - per_second * span_ms / 1000) > 0)
    return min(full, default=0)
