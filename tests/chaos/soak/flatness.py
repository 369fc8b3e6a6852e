"""Judges whether a figure stays flat. Pure: points in, a trend out.

A leak goes on: it is in the slope of all points, in that of the lowest ones, and still there in the second half. So the
growth of a figure over its time is the least of three: Theil and Sen's slope (the median of the slopes of all pairs,
which no outlier moves) of the points; that of the lowest point of each eighth, which a sawtooth does not move; and that
of the lowest points of the second half, which what was taken once and kept does not move. None depends on how fast the
machine is.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_POINTS = 12
_MOST_POINTS = 200
"""Pairs grow with the square: of more points every second, third … is taken."""
_BINS = 8
_SECONDS_PER_HOUR = 3_600


@dataclass(frozen=True, slots=True)
class Point:
    """A figure at a moment, seconds of any clock that does not jump."""

    at_s: float
    value: float


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The growth that is still flat: so much, and such a share of the median, over the time that is judged."""

    absolute: float
    share: float = 0.0

    def over(self, median: float) -> float:
        """In the figure's own unit."""
        return self.absolute + self.share * abs(median)


@dataclass(frozen=True, slots=True)
class Trend:
    """How a figure went after its warm-up.

    Attributes:
        span_s: time from the first point that counts to the last.
        growth: over that time, as reckoned above; less than 0 where it shrank.
        allowed: growth.
        is_judged: False where there were too few points.
    """

    name: str
    span_s: float
    median: float
    most: float
    growth: float
    allowed: float
    is_judged: bool

    @property
    def is_flat(self) -> bool:
        return not self.is_judged or self.growth <= self.allowed

    @property
    def per_hour(self) -> float:
        """Growth in an hour, at this slope."""
        return self.growth / self.span_s * _SECONDS_PER_HOUR if self.span_s else 0.0


def trend_of(name: str, points: Sequence[Point], tolerance: Tolerance, *, warm_up_s: float, least_s: float) -> Trend:
    """Judge one figure of one process's life, or of the whole run.

    Args:
        name: of the figure.
        points: by time.
        tolerance: of its growth.
        warm_up_s: time from the first point that does not count.
        least_s: what is left must last so long to be judged.
    """
    settled = [point for point in points if point.at_s >= points[0].at_s + warm_up_s]
    values = [point.value for point in settled]
    median = statistics.median(values) if values else 0.0
    span_s = settled[-1].at_s - settled[0].at_s if settled else 0.0
    is_judged = len(settled) >= LEAST_POINTS and span_s >= least_s
    return Trend(
        name, span_s, median, max(values, default=0.0), growth_of(settled) if is_judged else 0.0,
        tolerance.over(median), is_judged,
    )  # fmt: skip


def growth_of(points: Sequence[Point]) -> float:
    """The least of the three growths."""
    span_s = points[-1].at_s - points[0].at_s
    later = [point for point in points if point.at_s >= points[0].at_s + span_s / 2]
    return span_s * min(theil_sen(points), theil_sen(lowest(points)), theil_sen(lowest(later)))


def theil_sen(points: Sequence[Point]) -> float:
    """The median slope, per second; 0 of fewer than two points."""
    points = points[:: -(-len(points) // _MOST_POINTS)] if points else points
    slopes = [
        (other.value - one.value) / (other.at_s - one.at_s)
        for place, one in enumerate(points)
        for other in points[place + 1 :]
        if other.at_s > one.at_s
    ]
    return statistics.median(slopes) if slopes else 0.0


def lowest(points: Sequence[Point]) -> list[Point]:
    """The lowest point of each eighth of the time."""
    begins_s, span_s = points[0].at_s, points[-1].at_s - points[0].at_s
    found: dict[int, Point] = {}
    for point in points:
        place = min(_BINS - 1, int((point.at_s - begins_s) / span_s * _BINS)) if span_s else 0
        if place not in found or point.value < found[place].value:
            found[place] = point
    return [found[place] for place in sorted(found)]
