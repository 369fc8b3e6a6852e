"""The orders of a run: what the producer submits, and what the checker knows of each."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

POOL_KEY = "FC123456"
CHOSEN_POOL_KEY = "FC654321"
"""The numbers that orders choose by name; none is drawn from it, so that nobody else takes them."""
_GROUP = 20
_BATCH_SHARE, _REBIND_SHARE, _CHOSEN_SHARE = 0.4, 0.4, 0.2


@dataclass(frozen=True, slots=True)
class Order:
    """One request.

    Attributes:
        order: its idempotency key, and a bind's OutOrderId.
        request: further fields of its request.
        group: orders of the same group above 0 are submitted together.
        kind: bind, update or unbind.
    """

    order: str
    request: dict[str, Any]
    group: int = 0
    kind: str = "bind"

    @property
    def on_doubt(self) -> str:
        return str(self.request.get("on_doubt", "hold"))

    @property
    def receiver(self) -> str:
        """The host that its callback goes to; empty without one."""
        return (urlsplit(str(self.request.get("callback_url", ""))).hostname or "").rstrip(".")

    def fields(self) -> dict[str, Any]:
        """All fields of its request."""
        bind = {"out_order_id": self.order, "expires_in": "2h"} if self.kind == "bind" else {}
        return {"idempotency_key": self.order, **bind, **self.request}


@dataclass(frozen=True, slots=True)
class Plan:
    """What one producer process submits, in this order, at this rate."""

    per_second: float
    orders: list[Order] = field(default_factory=list)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        given = json.loads(path.read_text(encoding="utf-8"))
        return cls(given["per_second"], [Order(**order) for order in given["orders"]])


class OrderBook:
    """Makes orders that differ in everything that matters: lane, door, on_doubt, a chosen X.

    Args:
        chosen: the numbers of the pool to choose from; each is given to one order at most.

    Attributes:
        callback_urls: of the orders, in turn; none without any.
    """

    def __init__(self, name: str, rng: random.Random, chosen: Iterator[str]) -> None:
        self._name = name
        self._rng = rng
        self._chosen = chosen
        self._made = 0
        self._groups = 0
        self.callback_urls: Sequence[str] = ()

    def make(self, count: int, **fixed: Any) -> list[Order]:
        """So many orders; `fixed` fields are the same for all of them."""
        orders: list[Order] = []
        while len(orders) < count:
            if self._rng.random() < _BATCH_SHARE / _GROUP:
                self._groups += 1
                size = min(_GROUP, count - len(orders))
                orders += [self.one(group=self._groups, **{"lane": "batch", **fixed}) for _ in range(size)]
            else:
                orders.append(self.one(**{"lane": self._lane(), **fixed}))
        return orders

    def one(self, *, group: int = 0, **fixed: Any) -> Order:
        """A single order."""
        self._made += 1
        request: dict[str, Any] = {"phone_no_a": f"138{self._made:08d}", "lane": "checkout"}
        if self._rng.random() < _REBIND_SHARE:
            request["on_doubt"] = "rebind"
        if self.callback_urls:
            request["callback_url"] = self.callback_urls[self._made % len(self.callback_urls)]
        if self._rng.random() < _CHOSEN_SHARE and not fixed.get("pool_key"):
            number = next(self._chosen, None)
            if number is not None:
                request |= {"phone_no_x": number, "pool_key": CHOSEN_POOL_KEY}
        return Order(f"{self._name}-{self._made}", request | fixed, group)

    def _lane(self) -> str:
        return "batch" if self._rng.random() < _BATCH_SHARE / 4 else "checkout"
