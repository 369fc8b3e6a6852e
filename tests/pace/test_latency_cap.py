"""The cap before providers that are well, slow down, break down or change for good; in played time."""

import math
from collections.abc import Callable

import pytest

from tests.pace.concurrency_simulation import PlayedClock, Provider
from worker.domain.job import Lane
from worker.pace.concurrency import InFlight
from worker.pace.latency_cap import LatencyCap

MINUTE = 60_000.0


def between(begin_ms: float, end_ms: float, then: float, else_: float) -> Callable[[float], float]:
    return lambda now_ms: then if begin_ms <= now_ms < end_ms else else_


@pytest.mark.parametrize("most", [8, 200])
@pytest.mark.parametrize(("median_ms", "jitter"), [(5, 0), (5, 1), (50, 0.3), (500, 1), (3_000, 0), (3_000, 0.5)])
def test_before_a_provider_that_is_well_the_cap_stays(most: int, median_ms: float, jitter: float) -> None:
    """Also where a call in a hundred runs into its timeout (3 s, 0.5)."""
    provider = Provider(
        most=most, servers=lambda _: math.inf, service_ms=lambda _: median_ms, batch_per_second=lambda _: 1e6,
        jitter=jitter, checkouts_per_second=20 * most / median_ms,
    )  # fmt: skip
    seen = provider.run(8_000 / most * median_ms * math.exp(jitter**2 / 2))
    assert seen.caps == [(0, most)]
    assert len(seen.queueing) > 2_000


@pytest.mark.parametrize("per_second", [200, 750], ids=["four fifths of the servers", "three times as much"])
def test_when_the_capacity_halves_the_queue_stays_bounded_and_the_cap_comes_back(per_second: float) -> None:
    """100 servers of 400 ms become 50, and 100 again. At 200 in flight, uncapped, queueing is 1,200 ms."""
    falls, comes_back, end = 1 * MINUTE, 2 * MINUTE, 2.5 * MINUTE
    provider = Provider(
        most=200, servers=between(falls, comes_back, 50, 100), service_ms=lambda _: 400,
        batch_per_second=between(0, falls, 200, per_second), checkouts_per_second=10,
    )  # fmt: skip
    seen = provider.run(end)
    assert min(cap for when, cap in seen.caps if when < falls) == 200
    assert 90 <= seen.cap_at(comes_back - 1) <= 130
    assert seen.percentile(seen.queueing, 0.99, falls + 15_000, comes_back) < 600
    assert seen.calls_per_second(falls + 15_000, comes_back) > 0.95 * 50 / 0.4 / math.exp(0.3**2 / 2)
    assert seen.percentile(seen.waits, 0.99, falls, end) < 50
    assert seen.cap_at(comes_back + 15_000) == 200


@pytest.mark.parametrize("minutes", [2, 15])
def test_an_outage_is_not_taken_for_usual_and_is_over_when_it_is_over(minutes: float) -> None:
    """Every call takes 20 times as long, however few we send."""
    over = (1 + minutes) * MINUTE
    provider = Provider(
        most=50,
        servers=lambda _: math.inf,
        service_ms=between(MINUTE, over, 4_000, 200),
        batch_per_second=lambda _: 150,
    )
    seen = provider.run(over + 20_000)
    assert seen.cap_at(2 * MINUTE) <= 20
    assert seen.cap_at(over) <= 11
    assert seen.cap_at(over + 20_000) == 50
    assert provider.in_flight.usual_ms < 3.5 * 200


@pytest.mark.parametrize(("times", "minutes"), [(1.7, 0), (3, 20), (10, 45)])
def test_a_latency_that_is_higher_for_good_becomes_the_usual_one(times: float, minutes: float) -> None:
    provider = Provider(
        most=10, servers=lambda _: math.inf, service_ms=between(0, MINUTE, 500, 500 * times),
        batch_per_second=lambda _: 15,
    )  # fmt: skip
    seen = provider.run((2 + minutes) * MINUTE)
    assert min(cap for _, cap in seen.caps) == (4 if minutes else 10)
    assert seen.caps[-1][1] == 10


def test_a_provider_that_answers_nothing_in_time_is_left_alone_and_found_again() -> None:
    """2 of 100 servers are left, nearly every call runs into its timeout."""
    provider = Provider(
        most=200, servers=between(MINUTE, 4 * MINUTE, 2, 100), service_ms=lambda _: 200, batch_per_second=lambda _: 300
    )
    seen = provider.run(4.5 * MINUTE)
    assert len(seen.timeouts) > 100
    assert seen.cap_at(4 * MINUTE - 1) <= 8
    assert seen.cap_at(4.5 * MINUTE) > 2 * 60, "60 are in flight then: it grows no further than they need"


def test_overloads_of_one_round_trip_cut_once_and_a_lone_one_cuts_nothing() -> None:
    cap = LatencyCap(100)
    seen = []
    for now_ms in (1_000, 1_001, 1_002, 1_003, 1_004, 1_990, 2_010, 2_020):
        cap.ended(1_000, is_overload=True, in_flight=90, now_ms=now_ms)
        seen.append(cap.calls)
    assert seen == [100, 100, 100, 70, 70, 70, 49, 49]


@pytest.mark.parametrize(("in_flight", "grows"), [(24, False), (25, True)])
def test_the_cap_grows_only_while_half_of_it_is_in_flight(in_flight: int, grows: bool) -> None:
    clock = PlayedClock()
    slots = InFlight(100, clock)
    for pause_ms in (10, 10, 10, 10, 100):
        clock.now_ms += pause_ms
        slots.take(Lane.CHECKOUT, 1)
        slots.done(Lane.CHECKOUT, 10, is_overload=True)
    assert slots.cap == 49
    slots.take(Lane.CHECKOUT, in_flight)
    for _ in range(1_000):
        clock.now_ms += 1
        slots.done(Lane.CHECKOUT, 10, is_overload=False)
        slots.take(Lane.CHECKOUT, 1)
    assert (slots.cap > 49) is grows
