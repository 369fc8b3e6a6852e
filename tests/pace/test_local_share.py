"""What checkout may send while Redis is away."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pace.concurrency_simulation import PlayedClock
from worker.pace.local_share import LocalShare

STEPS = st.lists(
    st.tuples(
        st.floats(0, 500),  # ms that pass
        st.booleans(),  # whether Redis answers in between
        st.sampled_from([0.0, 20.0, 10_000.0]),  # the caller's patience
    ),
    min_size=2,
    max_size=60,
)


@given(steps=STEPS, interval_ms=st.floats(0.1, 50), share=st.floats(0.05, 1), start=st.floats(0, 0.999))
def test_no_window_holds_more_than_the_share(
    steps: list[tuple[float, bool, float]], interval_ms: float, share: float, start: float
) -> None:
    clock = PlayedClock()
    local = LocalShare(share, clock, random_share=lambda: start)
    local.know(interval_ms)
    places = []
    for passes_ms, is_redis_back, patience_ms in steps:
        clock.now_ms += passes_ms
        if is_redis_back:
            local.know(interval_ms)
        wait_ms = local.place(patience_ms=patience_ms)
        if wait_ms is not None:
            assert 0 <= wait_ms <= patience_ms
            places.append(clock.now_ms + wait_ms)
    per_ms = Fraction(share) / Fraction(interval_ms)
    for first, last in itertools.combinations(range(len(places)), 2):
        window_ms = Fraction(places[last] - places[first]) + Fraction(1, 10**6)
        assert last - first + 1 <= per_ms * window_ms + 1


def test_processes_do_not_begin_together_and_a_refused_place_is_not_taken() -> None:
    clock = PlayedClock(now_ms=5_000)
    starts = iter([0.75, 0.1])
    local = LocalShare(0.5, clock, random_share=lambda: next(starts))
    local.know(10)
    assert local.place(patience_ms=14) is None
    assert [local.place(patience_ms=100) for _ in range(6)] == [15, 35, 55, 75, 95, None]
    clock.now_ms += 1_000
    assert local.place(patience_ms=0) == 0, "a second wait at random would be needless"
    local.know(40)
    assert local.place(patience_ms=100) == 80, "the last place is an interval of today's rate ago, the tenth is less"


def test_nothing_is_sent_on_old_or_no_knowledge_or_without_a_share() -> None:
    clock = PlayedClock()
    local, off = LocalShare(1, clock, random_share=lambda: 0), LocalShare(0, clock)
    assert local.place(patience_ms=1e9) is None
    for not_a_rate in (0, -1, float("nan")):
        local.know(not_a_rate)
    assert local.place(patience_ms=1e9) is None
    local.know(10)
    off.know(10)
    clock.now_ms += 600_000
    assert (local.place(patience_ms=0), off.place(patience_ms=1e9)) == (0, None)
    clock.now_ms += 1
    assert local.place(patience_ms=1e9) is None


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        LocalShare(share, PlayedClock())
