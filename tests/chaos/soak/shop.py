"""An order system that is told its orders while it runs; otherwise as `tests.chaos.producer`.

    python -m tests.chaos.soak.shop PLAN HISTORY

The plan grows: a line of JSON for each submission, `{"at_s": …, "orders": […]}` with the Unix second at which it is
made however busy the shop is (an open loop), and at last `{"is_over": true}`. Ends with 0 when all are settled.
"""

import asyncio
import sys
import time
from pathlib import Path

from tasks import close
from tests.chaos.histories import Tail
from tests.chaos.orders import Order, Plan
from tests.chaos.producer import History, Producer, settled_orders

_LOOK_S = 0.1


class Shop(Producer):
    """Follows a plan."""

    def __init__(self, plan: Path, history: History, done: set[str]) -> None:
        super().__init__(Plan(0), history, done)
        self._settled_before = done
        self._tail = Tail(plan)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as shop:
            while True:
                for line in self._tail.new_events():
                    if line.get("is_over"):
                        return
                    orders = [Order(**order) for order in line["orders"]]
                    left = [one for one in orders if one.order not in self._settled_before]
                    if left:
                        shop.create_task(self._at(line["at_s"], left))
                await asyncio.sleep(_LOOK_S)

    async def _at(self, at_s: float, orders: list[Order]) -> None:
        await asyncio.sleep(at_s - time.time())
        await self.until_settled(orders)


def main() -> None:
    """Follow the plan."""
    plan_path, history_path = map(Path, sys.argv[1:])
    asyncio.run(Shop(plan_path, History(history_path), settled_orders(history_path)).run())
    close()


if __name__ == "__main__":
    main()
