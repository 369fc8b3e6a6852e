"""What the judge of flatness finds, and what it lets pass."""

import random
from collections.abc import Callable

import pytest

from tests.chaos.soak.flatness import Point, Tolerance, theil_sen, trend_of

_MINUTES = 25
_TOLERANCE = Tolerance(6.0, 0.04)
"""MiB, as of a worker's memory: 10 MiB of 100."""


def series(value: Callable[[float], float], minutes: float = _MINUTES, noise: float = 1.5) -> list[Point]:
    """A sample each 5 s, from a worker's 100 MiB, with noise of this seed."""
    rng = random.Random(7)
    return [Point(at, 100 + value(at) + rng.gauss(0, noise)) for at in range(0, round(minutes * 60), 5)]


def is_flat(points: list[Point]) -> bool:
    trend = trend_of("rss", points, _TOLERANCE, warm_up_s=60, least_s=60)
    assert trend.is_judged
    return trend.is_flat


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("60 bytes a job at 200 jobs a second", lambda at: at * 200 * 60 / 2**20),
        ("a sawtooth that climbs", lambda at: at % 300 / 10 + at / 60),
        ("a step of 5 MiB each 5 minutes", lambda at: at // 300 * 5),
        ("begins after a quarter", lambda at: max(0.0, at - 375) / 40),
    ],
)
def test_a_leak_is_found(name: str, value: Callable[[float], float]) -> None:
    assert not is_flat(series(value)), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise alone", lambda at: 0.0),
        ("a sawtooth of 30 MiB each 5 minutes", lambda at: at % 300 / 10),
        ("a sawtooth of 30 MiB each 100 s", lambda at: at % 100 * 0.3),
        ("taken once, in a burst, and kept", lambda at: 40.0 * (at > 500)),
        ("warms up", lambda at: min(at, 60.0)),
        ("shrinks", lambda at: -at / 60),
        ("peaks at each fault", lambda at: 80.0 * (at % 120 < 10)),
        ("a tenth of what is allowed", lambda at: at / 1500),
    ],
)
def test_what_is_no_leak_passes(name: str, value: Callable[[float], float]) -> None:
    assert is_flat(series(value)), name


def test_of_too_little_nothing_is_said() -> None:
    short = trend_of("rss", series(lambda at: at, minutes=1.5), _TOLERANCE, warm_up_s=60, least_s=60)
    assert not short.is_judged
    assert short.is_flat


def test_the_slope_is_told_by_the_hour_and_no_outlier_moves_it() -> None:
    points = [Point(at, at / 36) for at in range(0, 1_800, 5)]
    points[100] = Point(500, 1e9)
    assert theil_sen(points) * 3_600 == pytest.approx(100)
    trend = trend_of("rss", points, _TOLERANCE, warm_up_s=0, least_s=60)
    assert trend.per_hour == pytest.approx(100, rel=0.01)
