"""What happens in a year: who orders numbers and for how long, and what goes wrong. All of it follows from one seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from math import inf
from typing import Any, Literal

from tests.year.model import Wish

HOUR_S, DAY_S = 3_600.0, 86_400.0
LEAP_YEAR_START_S = datetime(2027, 12, 1, 1, 30, tzinfo=UTC).timestamp()
"""The year that follows holds 29 February 2028."""
TroubleKind = Literal["redis", "provider", "workers"]
_TELLING_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """One number that somebody wants.

    Attributes:
        at_s: when it is ordered, Unix seconds.
        name: its OutOrderId.
        phone_no_a: who wants it.
        length_s: of the first binding.
        wish: how long it must last.
        is_told: its events go to the receiver.
    """

    at_s: float
    name: str
    phone_no_a: str
    length_s: float
    wish: Wish
    is_told: bool

    def renew(self) -> dict[str, str]:
        """The request's policy."""
        wish = self.wish
        policy: dict[str, str] = {"if_gone": wish.if_gone}
        if wish.until_s:
            policy["until"] = datetime.fromtimestamp(wish.until_s, UTC).isoformat()
        elif wish.for_s:
            policy["for"] = f"{wish.for_s:.0f}s"
        else:
            policy["while"] = "open"
        spans = {"extend_by": wish.extend_by_s, "lead": wish.lead_s}
        return policy | {name: f"{span:.0f}s" for name, span in spans.items() if span}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something is away for a while. It begins with the first call of the provider after `at_s`, within the hour."""

    at_s: float
    kind: TroubleKind
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Noise:
    """For a while, some updates are throttled, fail, or lose their answer."""

    at_s: float
    lasts_s: float
    throttled: float = 0.0
    failed: float = 0.0
    unanswered: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """Somebody sets the clocks of Redis and provider, or only those of the workers."""

    at_s: float
    by_s: float
    of: Literal["all", "workers"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run.

    Attributes:
        begin_s: Unix seconds.
        end_s: of the observation.
        consoles: when somebody unbinds one of the bindings at the provider's console.
        short_s: spans in which bindings of short lead live: then nobody may oversleep.
        asleep_s: how late workers may look at what is due at other times: that makes one leap out of many.
    """

    begin_s: float
    end_s: float
    orders: list[Order]
    troubles: list[Trouble] = field(default_factory=list)
    noises: list[Noise] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    consoles: list[float] = field(default_factory=list)
    short_s: list[tuple[float, float]] = field(default_factory=list)
    asleep_s: float = 1_800.0

    def oversleep_s(self, now_s: float) -> float:
        """How late the workers may look at what is due."""
        return 60.0 if any(begin <= now_s < end for begin, end in self.short_s) else self.asleep_s


class _Orders:
    """Makes orders, each another A."""

    def __init__(self, random_: random.Random) -> None:
        self._random = random_
        self._numbers = count()

    def order(self, at_s: float, length_s: float, **wish: Any) -> Order:
        number = next(self._numbers)
        if_gone = self._random.choice(["rebind_same_x", "rebind_same_x", "rebind_new_x", "report"])
        return Order(
            at_s, f"order-{number}", f"139{number:08d}", length_s, Wish(if_gone=if_gone, **wish),
            is_told=self._random.random() < _TELLING_SHARE,
        )  # fmt: skip


def year(seed: int, bindings: int) -> Scenario:
    """A year with its leap day: a sale, then orders day by day; outages of ten minutes to two days."""
    random_ = random.Random(seed)
    begin_s = LEAP_YEAR_START_S
    end_s = begin_s + 366 * DAY_S
    short_s = [(begin_s, begin_s + 8 * DAY_S), (begin_s + 88 * DAY_S, begin_s + 93 * DAY_S)]
    orders = sorted(_year_orders(random_, begin_s, end_s, bindings), key=lambda order: order.at_s)
    planned: list[tuple[float, TroubleKind, float]] = [
        (20.3, "workers", 600.0), (45.1, "redis", 1_800.0), (60.7, "provider", 3 * HOUR_S), (90.2, "redis", 600.0),
        (120.4, "workers", 2 * DAY_S), (160.9, "provider", DAY_S), (200.5, "redis", 12 * HOUR_S),
        (250.1, "workers", 6 * HOUR_S), (300.6, "provider", 2 * DAY_S), (340.2, "redis", 2 * DAY_S),
    ]  # fmt: skip
    troubles = [Trouble(begin_s + day * DAY_S, kind, lasts_s) for day, kind, lasts_s in planned]
    noises = [
        Noise(begin_s + 30 * DAY_S, 2 * DAY_S, throttled=0.3),
        Noise(begin_s + 89.5 * DAY_S, DAY_S, throttled=0.1, failed=0.1, unanswered=0.1),
        Noise(begin_s + 210 * DAY_S, DAY_S, throttled=0.05, failed=0.2, unanswered=0.05),
    ]
    steps = [
        Step(begin_s + 70 * DAY_S, -90.0, "all"), Step(begin_s + 130 * DAY_S, 120.0, "all"),
        Step(begin_s + 180 * DAY_S, 240.0, "workers"), Step(begin_s + 220 * DAY_S, -480.0, "workers"),
        Step(begin_s + 240 * DAY_S, 240.0, "workers"),
    ]  # fmt: skip
    consoles = sorted(random_.uniform(begin_s + DAY_S, end_s - 40 * DAY_S) for _ in range(max(2, bindings // 100)))
    return Scenario(begin_s, end_s, orders, troubles, noises, steps, consoles, short_s)


def _year_orders(random_: random.Random, begin_s: float, end_s: float, bindings: int) -> Iterator[Order]:
    make = _Orders(random_)
    for _ in range(bindings):
        kind = random_.choices(("rental", "open", "season", "days", "hours"), (45, 25, 15, 10, 5))[0]
        in_sale = random_.random() < 0.4
        at_s = begin_s + (random_.uniform(0, 1_200) if in_sale else random_.uniform(0, 300 * DAY_S))
        if kind == "rental":
            yield make.order(at_s, 30 * DAY_S, for_s=random_.randint(60, 330) * DAY_S)
        elif kind == "open":
            closed_s = at_s + random_.uniform(5, 400) * DAY_S
            yield make.order(at_s, 30 * DAY_S, closed_s=closed_s if closed_s < end_s else inf)
        elif kind == "season":
            until_s = float(round(at_s + random_.uniform(20, 90) * DAY_S))
            yield make.order(at_s, 10 * DAY_S, until_s=until_s, extend_by_s=14 * DAY_S, lead_s=DAY_S)
        elif kind == "days":
            yield make.order(at_s, DAY_S, for_s=random_.randint(5, 15) * DAY_S)
        else:
            first = begin_s + random_.choice((0.5, 88.5)) * DAY_S
            hours_at_s = first + random_.uniform(0, 2 * DAY_S)
            yield make.order(hours_at_s, random_.choice((2, 6)) * HOUR_S, for_s=random_.randint(12, 48) * HOUR_S)


def month(seed: int, bindings: int) -> Scenario:
    """Five weeks around 29 February 2028: one outage, one bad day, one step of the clocks."""
    random_ = random.Random(seed)
    begin_s = datetime(2028, 2, 10, 3, 0, tzinfo=UTC).timestamp()
    end_s = begin_s + 35 * DAY_S
    make = _Orders(random_)
    orders = []
    for number in range(bindings):
        at_s = begin_s + random_.uniform(0, 1_200)
        if number % 3 == 0:
            orders.append(make.order(at_s, 7 * DAY_S, for_s=(28 + number % 2 * 4) * DAY_S))
        elif number % 3 == 1:
            closed_s = at_s + random_.choice((16.0, 20.0, inf)) * DAY_S
            orders.append(make.order(at_s, 9 * DAY_S, closed_s=closed_s))
        else:
            until_s = float(round(begin_s + random_.uniform(20, 25) * DAY_S))
            if number % 2:  # a moment after its fourth end
                until_s = float(round(at_s + 20 * DAY_S + 90))
            orders.append(make.order(at_s, 5 * DAY_S, until_s=until_s, lead_s=8 * HOUR_S))
    orders.sort(key=lambda order: order.at_s)
    return Scenario(
        begin_s, end_s, orders,
        troubles=[Trouble(begin_s + 4.5 * DAY_S, "redis", 12 * HOUR_S)],
        noises=[Noise(begin_s + 8 * DAY_S, DAY_S, throttled=0.1, failed=0.05, unanswered=0.05)],
        steps=[Step(begin_s + 12 * DAY_S, -90.0, "all")],
        consoles=[begin_s + 3 * DAY_S, begin_s + 10 * DAY_S],
        asleep_s=2 * HOUR_S,
    )  # fmt: skip
