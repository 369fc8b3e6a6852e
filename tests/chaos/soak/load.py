"""What the shops of a soak are told to submit: arrivals by Poisson, of this seed."""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests.chaos.orders import Order, OrderBook
from tests.chaos.receivers import Sink

LIFE_S = 120
"""Of a binding. The provider takes none that ends within 60 s; the rest is for what faults cost."""
LEAST_LIFE_S = 62
"""The provider's 60 s, and the margin of the settings."""
KEPT_FOR_S = 250
"""Of a binding that is renewed, which happens once then: a renewal adds two minutes, and takes a shorter rest along."""
CHANGED_LIFE_S = 140
GROUP = 20
"""Binds that are submitted together."""
_CHANGED_SHARE = 0.25
"""Of the binds: a fifth of all jobs are changes, then, and each of the two doors has two fifths."""
_KEPT_SHARE = 0.05
_GROUP_SHARE = 1 / (GROUP + 1)
BINDS_SHARE = 1 / (1 + _CHANGED_SHARE * (1 - _KEPT_SHARE))
_CHANGED_AFTER_S = (3.0, 15.0)


@dataclass
class PlanFile:
    """A plan that a shop follows."""

    path: Path

    def submit(self, at_s: float, orders: Sequence[Order]) -> None:
        """Submit these together at this Unix second."""
        self._write({"at_s": at_s, "orders": [asdict(order) for order in orders]})

    def end(self) -> None:
        """There is no more to come."""
        self._write({"is_over": True})

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Load:
    """Makes the orders.

    Attributes:
        first_expirations: by order, the Expiration that it is bound with, as the provider writes it.
        expirations: the same, as it was set since.
        kept: orders whose bindings are renewed.
        planned: by order, what was planned and is not known to be accepted.
    """

    def __init__(self, book: OrderBook, rng: random.Random, receivers: Sequence[Sink]) -> None:
        self._book = book
        self._rng = rng
        self._receivers = receivers
        self.first_expirations: dict[str, str] = {}
        self.expirations: dict[str, str] = {}
        self.kept: set[str] = set()
        self.planned: dict[str, Order] = {}

    def gap_s(self, per_second: float) -> float:
        """Until the next submission, where so many jobs a second are submitted, their changes included."""
        binds_per_submission = 1 + _GROUP_SHARE * (GROUP - 1)
        return self._rng.expovariate(per_second * BINDS_SHARE / binds_per_submission)

    def submission(self, at_s: float) -> list[Order]:
        """One order of checkout, or a group of the batch lane."""
        is_group = self._rng.random() < _GROUP_SHARE
        orders = [self._bind(at_s, "batch" if is_group else "checkout") for _ in range(GROUP if is_group else 1)]
        self.planned |= {order.order: order for order in orders}
        return orders

    def change(self, order: Order) -> tuple[float, Order] | None:
        """A change of what was bound for an order, and when it is asked for; none for most."""
        if order.order in self.kept or self._rng.random() >= _CHANGED_SHARE:
            return None
        at_s = time.time() + self._rng.uniform(*_CHANGED_AFTER_S)
        change, request = self._rng.choice((
            ("unbind", {}),
            ("unbind", {}),
            ("update", {"phone_no_a": order.request["phone_no_a"].replace("138", "137", 1)}),
            ("update", {"expiration": beijing(at_s + CHANGED_LIFE_S)}),
        ))  # fmt: skip
        changed = Order(f"{order.order}-{change}", {"out_order_id": order.order, **request}, kind=change)
        self.planned[changed.order] = changed
        return at_s, changed

    def ends_s(self, order: Order, bound_s: float) -> float:
        """When an order's binding ends, Unix s."""
        name = order.order
        return max(
            unix_s(self.expirations.get(name) or self.first_expirations[name]),
            bound_s + KEPT_FOR_S if name in self.kept else 0,
        )

    def is_late(self, order: Order, at_s: float) -> bool:
        """Whether its turn came when the provider could not do it any more: the machine was too slow."""
        name = order.request.get("out_order_id", order.order)
        ends_s = unix_s(self.first_expirations[name])
        return at_s >= ends_s - (0 if order.kind == "unbind" else LEAST_LIFE_S)

    def _bind(self, at_s: float, lane: str) -> Order:
        expiration = beijing(at_s + LIFE_S)
        fixed: dict[str, Any] = {"lane": lane, "expires_in": None, "expiration": expiration}
        if is_kept := self._rng.random() < _KEPT_SHARE:
            fixed["renew"] = {"for": f"{KEPT_FOR_S}s", "extend_by": "2m", "if_gone": "report"}
        else:
            fixed["callback_url"] = self._rng.choice(self._receivers).url
        order = self._book.one(**fixed)
        self.first_expirations[order.order] = expiration
        if is_kept:
            self.kept.add(order.order)
        return order


def beijing(unix_s: float) -> str:
    """As the provider writes a moment."""
    moment = datetime.fromtimestamp(int(unix_s), ZoneInfo("Asia/Shanghai"))
    return moment.replace(tzinfo=None).isoformat(" ", timespec="seconds")


def unix_s(told: str) -> float:
    """The moment that the provider wrote."""
    return datetime.fromisoformat(told).replace(tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()
