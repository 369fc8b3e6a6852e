"""What is due against what the pace lets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.job import Lane
from worker.ledger.renewal_views import DueHour
from worker.pace.state import (
    AccountState,
    ActionState,
    Ceiling,
    CircuitState,
    Cut,
    LaneState,
    LastMinute,
    StopState,
    Traffic,
)
from worker.registry.outlook import ACTION, hours_ahead, renewal_pace, will_end_unrenewed

MINUTE, HOUR = 60_000, 3_600_000


def state(
    *, rate: float | None = None, paused: str = "", is_stopped: bool = False, is_open: bool = False
) -> AccountState:
    minute = LastMinute(None, None, None)
    traffic = None if rate is None else Traffic(1, rate, None, minute, Cut(1, rate), None)
    lanes = tuple(LaneState(lane, 0, lane.value == paused, None, "") for lane in Lane if lane is not Lane.CALLBACK)
    action = ActionState(ACTION, Ceiling(50.0, 50.0, False, None, ""), lanes, traffic)
    stop = StopState("isv.OUT_OF_SERVICE", None, None) if is_stopped else None
    return AccountState("acc", 1, stop, CircuitState("host", is_open, None, None), (action,))


@pytest.mark.parametrize(
    ("given_state", "per_second", "why"),
    [
        (state(), 50, "ceiling"),
        (state(rate=47.6), 50, "ceiling"),
        (state(rate=12.0), 12, "throttled"),
        (state(paused="renewal"), 0, "paused"),
        (state(paused="batch"), 50, "ceiling"),
        (state(is_open=True), 0, "circuit"),
        (state(is_stopped=True, is_open=True), 0, "stopped"),
    ],
)
def test_the_pace_of_renewals_is_the_account_s(given_state: AccountState, per_second: float, why: str) -> None:
    pace = renewal_pace(given_state, 0.05)
    assert (pace.per_second, pace.why) == (per_second, why)
    assert pace.assured_per_second == pytest.approx(per_second * 0.05)


def test_what_an_hour_has_no_room_for_waits_for_the_next() -> None:
    due = [DueHour(hour * HOUR, count) for hour, count in enumerate((3_000, 9_000, 1_000, 1_000, 0))]
    ahead = hours_ahead(due, 1.0)
    assert [(hour.due, hour.room, hour.left_over) for hour in ahead] == [
        (3_000, 3_600, 0), (9_000, 3_600, 5_400), (1_000, 3_600, 2_800), (1_000, 3_600, 200), (0, 3_600, 0),
    ]  # fmt: skip
    assert [hour.is_short for hour in ahead] == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("ending_within", "per_second", "lost"),
    [
        ({}, 1.0, 0),
        ({MINUTE: 0, HOUR: 0}, 0.0, 0),
        ({MINUTE: 60, HOUR: 3_600}, 1.0, 0),
        ({MINUTE: 61, HOUR: 61}, 1.0, 1),
        ({MINUTE: 10, HOUR: 5_000}, 1.0, 1_400),
        ({MINUTE: 10, HOUR: 20}, 0.0, 20),
    ],
)
def test_those_beyond_what_can_be_renewed_in_time_will_end(
    ending_within: dict[int, int], per_second: float, lost: int
) -> None:
    assert will_end_unrenewed(ending_within, per_second) == lost


@given(st.lists(st.integers(1, 120).map(lambda minutes: 60 * minutes), max_size=40), st.sampled_from([1 / 600, 1 / 60]))
def test_the_count_is_what_going_first_to_end_first_would_lose(ends_s: list[int], per_second: float) -> None:
    """Each renewal takes its turn, the next to end first; whoever has ended when it comes is lost and costs no turn."""
    spans = range(MINUTE, 121 * MINUTE, MINUTE)
    counted = will_end_unrenewed({span: sum(end * 1_000 <= span for end in ends_s) for span in spans}, per_second)
    done, lost = 0, 0
    for end in sorted(ends_s):
        if (done + 1) / per_second <= end:
            done += 1
        else:
            lost += 1
    assert (counted == 0) == (lost == 0) or abs(counted - lost) <= 1
