"""What should have happened to a binding: the rules of renewal written down a second time, and a judge of one life.

Nothing here is the engine's. Times are Unix seconds, spans are seconds. A life is what the provider knows of a binding:
when it was made, each accepted change of its end, and how it ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from tests.year.provider import Change

LEAST_LEAD_S = 600.0
LEAD_SHARE = 0.1
SPREAD = 0.1
LEAST_GAIN_S = 120.0
"""No renewal adds less: the one before takes so short a rest along; where there is none, the binding ends before it."""
CATCH_UP_S = 300.0
"""So much of the time in which a binding may be renewed must have been free of trouble, or it may be lost: a worker
must notice, wait for its turn in the pace, and try again."""
_ROUNDING_S = 2.0
"""The wire knows whole seconds, and a binding begins a moment before its record does."""
_IN_FLIGHT_S = 60.0
_NOTICED_WITHIN_S = 3 * 86_400.0
"""Longer than any trouble lasts."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How long an order wants its number.

    Attributes:
        until_s: up to this moment,
        for_s: or for so long from the moment that the first length counts from; without both: while the order is open.
        length_s: the first length, as it was asked for; 0: as the provider saw it.
        closed_s: when the order is closed.
        extend_by_s: length of a renewal; 0: the first length.
        lead_s: how long before the end it is due; 0: the rule's.
        if_gone: rebind_same_x, rebind_new_x or report.
    """

    until_s: float = 0.0
    for_s: float = 0.0
    closed_s: float = inf
    extend_by_s: float = 0.0
    lead_s: float = 0.0
    if_gone: str = "rebind_same_x"
    length_s: float = 0.0

    def limit_s(self, first: "Life") -> float:
        """Up to when it may be renewed, unless it is closed before."""
        began_s = first.first_end_s - self.length_s if self.length_s else first.bound_s
        return self.until_s or (began_s + self.for_s if self.for_s else inf)

    def period_s(self, life: "Life") -> float:
        """What one renewal adds."""
        return self.extend_by_s or self.length_s or life.first_end_s - life.bound_s

    def lead_of_s(self, period_s: float) -> float:
        """How long before the end a renewal is due at the latest."""
        return min(self.lead_s or max(LEAD_SHARE * period_s, LEAST_LEAD_S), period_s / 2)


@dataclass(frozen=True, slots=True)
class Life:
    """One binding as the provider saw it.

    Attributes:
        died_s: when it ran out or was unbound; inf while it lives.
        is_unbound: somebody ended it.
    """

    order: str
    subs_id: str
    phone_no_x: str
    bound_s: float
    first_end_s: float
    changes: Sequence[Change] = ()
    died_s: float = inf
    is_unbound: bool = False

    @property
    def end_s(self) -> float:
        """Until when it was to last in the end."""
        return self.changes[-1].after_s if self.changes else self.first_end_s


@dataclass(frozen=True, slots=True)
class Troubles:
    """When renewing was not possible.

    Attributes:
        spans: of Unix seconds, in order, apart from each other.
        oversleep_s: how late, at a time, workers may look at what is due.
    """

    spans: Sequence[tuple[float, float]] = ()
    oversleep_s: Callable[[float], float] = lambda _at_s: 0.0

    def free_s(self, since_s: float, until_s: float) -> float:
        """How much of a span was free of them."""
        inside = (max(0.0, min(end, until_s) - max(begin, since_s)) for begin, end in self.spans)
        return until_s - since_s - sum(inside)


@dataclass(slots=True)
class Verdict:
    """What became of one order.

    Attributes:
        faults: what should not have happened; empty is good.
        renewals: accepted changes of an end.
        lost: lives that trouble, or somebody at the console, ended before their time.
        rebound: of those, how many were followed by another binding.
        unsure: of those that were not, how many may not have been noticed: somebody ended them at the console before
            their next renewal, or in their last period, or the order was closed meanwhile.
    """

    faults: list[str] = field(default_factory=list)
    renewals: int = 0
    lost: int = 0
    rebound: int = 0
    unsure: int = 0


@dataclass(frozen=True, slots=True)
class _Case:
    """What the lives of one order are judged by.

    Attributes:
        limit_s: up to when they may be renewed.
        wanted_s: up to when there must be a binding, as far as it was observed.
    """

    wish: Wish
    limit_s: float
    wanted_s: float
    troubles: Troubles


def judge(lives: Sequence[Life], wish: Wish, troubles: Troubles, now_s: float) -> Verdict:
    """Judge all bindings of one order.

    Args:
        lives: oldest first: the binding, and those that replaced it.
        wish: of the order.
        troubles: when nothing could be renewed.
        now_s: the end of the observation.
    """
    verdict = Verdict()
    if not lives:
        verdict.faults.append("was never bound")
        return verdict
    limit_s = wish.limit_s(lives[0])
    case = _Case(wish, limit_s, min(limit_s, wish.closed_s, now_s), troubles)
    for life, follower in zip(lives, [*lives[1:], None], strict=True):
        _judge_changes(verdict, life, case)
        _judge_end(verdict, life, follower, case)
    return verdict


def _judge_changes(verdict: Verdict, life: Life, case: _Case) -> None:
    wish, period_s = case.wish, case.wish.period_s(life)
    before_s, set_s = life.first_end_s, life.bound_s
    for number, change in enumerate(life.changes, start=1):
        faults = _faults_of(change, wish, period_s, case.limit_s)
        if change.before_s != before_s:
            faults.append("begins at another end than the one before left")
        length_s = change.before_s - set_s
        lead_s = min(wish.lead_of_s(period_s), length_s / 2)
        early_s = change.before_s - lead_s - SPREAD * (length_s - lead_s) - change.at_s
        if early_s > _IN_FLIGHT_S:
            faults.append(f"is {early_s:.0f} s before its time")
        verdict.renewals += 1
        verdict.faults += [f"renewal {number} of {life.subs_id} {fault}" for fault in faults]
        before_s, set_s = change.after_s, change.at_s


def _faults_of(change: Change, wish: Wish, period_s: float, limit_s: float) -> list[str]:
    faults = []
    wanted_s = change.before_s + period_s
    if limit_s - wanted_s < LEAST_GAIN_S:
        wanted_s = limit_s
    if change.after_s <= change.before_s:
        faults.append("shortens the binding")
    elif change.after_s - change.before_s < LEAST_GAIN_S:
        faults.append(f"adds {change.after_s - change.before_s:.0f} s only")
    elif abs(change.after_s - wanted_s) > _ROUNDING_S:
        faults.append(f"sets its end {change.after_s - wanted_s:+.0f} s off")
    if change.before_s >= limit_s or change.after_s > limit_s + _ROUNDING_S:
        faults.append("comes after the policy's end")
    if change.at_s > wish.closed_s + _IN_FLIGHT_S:
        faults.append("comes after the order was closed")
    return faults


def _judge_end(verdict: Verdict, life: Life, follower: Life | None, case: _Case) -> None:
    is_whole = case.limit_s - life.end_s < LEAST_GAIN_S
    if life.died_s >= min(case.wanted_s, life.end_s if is_whole else inf) - _ROUNDING_S:
        if follower is not None:
            verdict.faults.append(f"{life.subs_id} was replaced though it lived")
        return
    verdict.lost += 1
    verdict.rebound += follower is not None
    # What was ended at the console is found out by its next renewal, and in its last period it has none.
    has_renewal = life.end_s <= case.wanted_s and not is_whole
    is_noticed = life.died_s + _NOTICED_WITHIN_S < case.wish.closed_s and (not life.is_unbound or has_renewal)
    verdict.unsure += follower is None and not is_noticed
    if follower is not None and case.wish.if_gone == "rebind_same_x" and follower.phone_no_x != life.phone_no_x:
        verdict.faults.append(f"{life.subs_id} was replaced on another X")
    if not life.is_unbound:
        _judge_lapse(verdict, life, case)
    if case.wish.if_gone == "report":
        if follower is not None:
            verdict.faults.append(f"{life.subs_id} was replaced against its policy")
    elif follower is None:
        _judge_absence(verdict, life, case)


def _judge_lapse(verdict: Verdict, life: Life, case: _Case) -> None:
    set_s = life.changes[-1].at_s if life.changes else life.bound_s
    lead_s = min(case.wish.lead_of_s(case.wish.period_s(life)), (life.end_s - set_s) / 2)
    free_s = case.troubles.free_s(life.end_s - lead_s, life.end_s)
    if free_s >= CATCH_UP_S + case.troubles.oversleep_s(life.end_s - lead_s):
        verdict.faults.append(f"{life.subs_id} was lost though {free_s:.0f} s were free to renew it in")


def _judge_absence(verdict: Verdict, life: Life, case: _Case) -> None:
    """A binding ended at the console is found out when its next renewal is due, a lapsed one at once."""
    known_s = life.end_s if life.is_unbound else life.died_s
    needed_s = CATCH_UP_S + case.troubles.oversleep_s(known_s)
    if case.troubles.free_s(known_s, max(case.wanted_s, known_s)) > needed_s:
        verdict.faults.append(f"{life.subs_id} was lost and nothing took its place")
