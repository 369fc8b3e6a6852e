"""The judge of the simulated year: what it lets pass, and each thing that it must not."""

from collections.abc import Sequence
from math import inf

import pytest

from tests.year.model import Life, Troubles, Wish, judge
from tests.year.provider import Change

HOUR, DAY = 3_600.0, 86_400.0
NO_TROUBLE = Troubles()
TEN_DAYS = Wish(for_s=10 * DAY)
"""For bindings of four days: due ten hours before each end, at the latest."""


def life(*changes: Change, died_s: float = inf, **given: object) -> Life:
    fields = {"order": "o", "subs_id": "1", "phone_no_x": "x", "bound_s": 0.0, "first_end_s": 4 * DAY}
    return Life(**(fields | {"changes": changes, "died_s": died_s} | given))  # type: ignore[arg-type]


FIRST = Change(3.5 * DAY, 4 * DAY, 8 * DAY)
SECOND = Change(7.5 * DAY, 8 * DAY, 10 * DAY)
WHOLE = life(FIRST, SECOND, died_s=10 * DAY)
LAPSED = life(died_s=4 * DAY)
FOLLOWER = life(subs_id="2", bound_s=4 * DAY + 600, first_end_s=10 * DAY, died_s=10 * DAY)


def faults(lives: Sequence[Life], wish: Wish = TEN_DAYS, troubles: Troubles = NO_TROUBLE, now: float = 20 * DAY) -> str:
    return "; ".join(judge(lives, wish, troubles, now).faults)


@pytest.mark.parametrize(
    ("lives", "wish", "troubles", "now"),
    [
        ([WHOLE], TEN_DAYS, NO_TROUBLE, 20 * DAY),
        ([life(FIRST)], TEN_DAYS, NO_TROUBLE, 5 * DAY),
        ([life(died_s=4 * DAY)], Wish(closed_s=2 * DAY), NO_TROUBLE, 20 * DAY),
        ([life(FIRST, Change(7.5 * DAY, 8 * DAY, 9 * DAY))], Wish(until_s=9 * DAY), NO_TROUBLE, 9 * DAY),
        ([life(FIRST, Change(7.5 * DAY, 8 * DAY, 12 * DAY + 90))], Wish(until_s=12 * DAY + 90), NO_TROUBLE, 13 * DAY),
        ([LAPSED], Wish(until_s=4 * DAY + 119), NO_TROUBLE, 20 * DAY),
        ([life(FIRST, bound_s=600.0, died_s=8 * DAY)], Wish(for_s=8 * DAY, length_s=4 * DAY), NO_TROUBLE, 20 * DAY),
        ([LAPSED, FOLLOWER], TEN_DAYS, Troubles([(3 * DAY, 4 * DAY + 300)]), 20 * DAY),
        ([LAPSED], Wish(for_s=10 * DAY, if_gone="report"), Troubles([(3 * DAY, 5 * DAY)]), 20 * DAY),
        ([life(died_s=DAY, is_unbound=True), FOLLOWER], TEN_DAYS, NO_TROUBLE, 20 * DAY),
        ([life(Change(3.95 * DAY, 4 * DAY, 8 * DAY))], TEN_DAYS, Troubles([(3 * DAY, 3.94 * DAY)]), 5 * DAY),
    ],
    ids=[
        "renewed to its end",
        "still living",
        "closed, and never renewed",
        "until a moment",
        "until a moment after an end",
        "ended a moment before",
        "for two lengths, bound ten minutes after it was asked for",
        "lost in an outage and replaced",
        "lost in an outage, to be reported only",
        "unbound at the console and replaced",
        "renewed late, after an outage",
    ],
)
def test_what_should_happen_is_no_fault(lives: list[Life], wish: Wish, troubles: Troubles, now: float) -> None:
    assert faults(lives, wish, troubles, now) == ""


@pytest.mark.parametrize(
    ("lives", "wish", "troubles", "fault"),
    [
        ([], TEN_DAYS, NO_TROUBLE, "never bound"),
        ([LAPSED, FOLLOWER], TEN_DAYS, NO_TROUBLE, "lost though 34560 s were free"),
        ([LAPSED, FOLLOWER], TEN_DAYS, Troubles([(0, 4 * DAY - 301)]), "lost though 301 s were free"),
        ([life(FIRST, died_s=8 * DAY)], TEN_DAYS, Troubles([(7 * DAY, 8 * DAY)]), "nothing took its place"),
        ([life(died_s=DAY, is_unbound=True)], TEN_DAYS, NO_TROUBLE, "nothing took its place"),
        (
            [LAPSED, FOLLOWER],
            Wish(for_s=10 * DAY, if_gone="report"),
            Troubles([(3 * DAY, 5 * DAY)]),
            "replaced against its policy",
        ),
        ([WHOLE, FOLLOWER], TEN_DAYS, NO_TROUBLE, "replaced though it lived"),
        (
            [LAPSED, life(subs_id="2", phone_no_x="y", bound_s=4 * DAY + 600, first_end_s=10 * DAY, died_s=10 * DAY)],
            TEN_DAYS,
            Troubles([(3 * DAY, 5 * DAY)]),
            "replaced on another X",
        ),
        ([life(Change(3.5 * DAY, 4 * DAY, 3.9 * DAY))], TEN_DAYS, NO_TROUBLE, "shortens"),
        (
            [life(FIRST, Change(7.5 * DAY, 8 * DAY, 8 * DAY + 90))],
            Wish(until_s=8 * DAY + 90),
            NO_TROUBLE,
            "adds 90 s only",
        ),
        ([life(FIRST, died_s=8 * DAY)], Wish(until_s=8 * DAY + 120), NO_TROUBLE, "was lost"),
        ([life(Change(3.5 * DAY, 4 * DAY, 12 * DAY))], TEN_DAYS, NO_TROUBLE, "sets its end +345600 s off"),
        ([life(Change(3.5 * DAY, 4 * DAY, 8 * DAY - 28_800))], TEN_DAYS, NO_TROUBLE, "sets its end -28800 s off"),
        ([life(FIRST, Change(7.5 * DAY, 7.9 * DAY, 10 * DAY))], TEN_DAYS, NO_TROUBLE, "begins at another end"),
        ([life(FIRST, Change(5 * DAY, 8 * DAY, 10 * DAY))], TEN_DAYS, NO_TROUBLE, "before its time"),
        (
            [life(FIRST, SECOND, Change(9.9 * DAY, 10 * DAY, 14 * DAY))],
            TEN_DAYS,
            NO_TROUBLE,
            "after the policy's end",
        ),
        ([life(FIRST)], Wish(closed_s=3 * DAY), NO_TROUBLE, "after the order was closed"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_should_not_happen_is_named(lives: list[Life], wish: Wish, troubles: Troubles, fault: str) -> None:
    assert fault in faults(lives, wish, troubles)


def test_the_counts_are_those_of_the_lives() -> None:
    verdict = judge([LAPSED, FOLLOWER], TEN_DAYS, Troubles([(3 * DAY, 5 * DAY)]), 20 * DAY)
    assert (verdict.renewals, verdict.lost, verdict.rebound) == (0, 1, 1)
    assert judge([WHOLE], TEN_DAYS, NO_TROUBLE, 20 * DAY).renewals == 2


@pytest.mark.parametrize(
    ("lives", "is_unsure"),
    [
        ([life(died_s=3 * DAY, is_unbound=True)], False),
        ([life(FIRST, SECOND, died_s=9 * DAY, is_unbound=True)], True),
        ([life(FIRST, died_s=8 * DAY)], False),
    ],
    ids=["its next renewal finds out", "it was in its last period", "it lapsed"],
)
def test_whether_somebody_must_have_noticed_is_known(lives: list[Life], is_unsure: bool) -> None:
    verdict = judge(lives, TEN_DAYS, NO_TROUBLE, 20 * DAY)
    assert (verdict.lost, verdict.unsure) == (1, int(is_unsure))
