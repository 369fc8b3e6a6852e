"""An order system: submits the orders of a plan until each is accepted, and writes down what it was told.

    python -m tests.chaos.producer PLAN HISTORY

One line of JSON per event, appended at once: `invoke` before each submission, then `ok` (with the job's id), `info`
(the outcome is unknown: submit again with the same key) or `fail` (refused for good). Started again after a kill, it
goes on from its history. Ends with 0 when every order is accepted or refused.
"""

import asyncio
import json
import os
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks import (
    AxnError,
    BindRequest,
    IdempotencyConflictError,
    InvalidRequestError,
    UnbindRequest,
    UpdateRequest,
    close,
    submit_async,
    submit_many_async,
)
from tests.chaos.orders import Order, Plan
from worker.domain.masking import mask_text

_AGAIN_S = 0.2
_AT_A_TIME = 16
_REQUESTS: dict[str, type[BindRequest | UpdateRequest | UnbindRequest]] = {
    "bind": BindRequest,
    "update": UpdateRequest,
    "unbind": UnbindRequest,
}


class History:
    """Append-only, unbuffered: what was written survives SIGKILL."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, event: str, order: str, **facts: Any) -> None:
        line = {"event": event, "order": order, "unix_ms": time.time_ns() // 1_000_000, "pid": os.getpid(), **facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")


def settled_orders(path: Path) -> set[str]:
    """Orders that an earlier life has brought to ok or fail."""
    if not path.exists():
        return set()
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {line["order"] for line in lines if line["event"] in ("ok", "fail")}


class Producer:
    """Submits at the plan's rate, however long each answer takes."""

    def __init__(self, plan: Plan, history: History, done: set[str]) -> None:
        self._plan = plan
        self._history = history
        self._done = done
        self._hands = asyncio.Semaphore(_AT_A_TIME)

    async def run(self) -> None:
        groups: dict[int, list[Order]] = defaultdict(list)
        for order in self._plan.orders:
            groups[order.group].append(order)
        began = time.monotonic()
        async with asyncio.TaskGroup() as shop:
            for place, order in enumerate(self._plan.orders):
                if order.group and order is not groups[order.group][-1]:
                    continue
                together = groups[order.group] if order.group else [order]
                left = [one for one in together if one.order not in self._done]
                if left:
                    await asyncio.sleep(began + place / self._plan.per_second - time.monotonic())
                    shop.create_task(self.until_settled(left))

    async def until_settled(self, orders: list[Order]) -> None:
        """Submit orders, together, until they are accepted or refused."""
        async with self._hands:
            while not await self._submit(orders):  # noqa: ASYNC110 - it is the submission that is awaited
                await asyncio.sleep(_AGAIN_S)

    async def _submit(self, orders: list[Order]) -> bool:
        for order in orders:
            self._history.write("invoke", order.order)
        try:
            answers = await self._ask(orders)
        except (IdempotencyConflictError, InvalidRequestError) as refused:
            self._write_all("fail", orders, refused)
            return True
        except AxnError as unknown:
            self._write_all("info", orders, unknown)
            return False
        except Exception as unforeseen:  # noqa: BLE001 - an error that no caller is told to expect; the checker tells it
            sys.stderr.write(mask_text(traceback.format_exc()))
            self._write_all("info", orders, unforeseen, is_foreseen=False)
            return False
        for order, answer in zip(orders, answers, strict=True):
            if isinstance(answer, str):
                self._history.write("ok", order.order, job_id=answer)
            else:
                self._write_all("fail", [order], answer)
        return True

    async def _ask(self, orders: list[Order]) -> list[str | IdempotencyConflictError]:
        requests = [_REQUESTS[order.kind](**order.fields()) for order in orders]
        if len(requests) == 1:
            return [await submit_async(requests[0])]
        return [row.conflict or row.job_id for row in await submit_many_async(requests)]

    def _write_all(self, event: str, orders: Iterable[Order], error: Exception, *, is_foreseen: bool = True) -> None:
        for order in orders:
            self._history.write(event, order.order, error=type(error).__name__, is_foreseen=is_foreseen)


def main() -> None:
    """Run the plan."""
    plan_path, history_path = map(Path, sys.argv[1:])
    done = settled_orders(history_path)
    asyncio.run(Producer(Plan.read(plan_path), History(history_path), done).run())
    close()


if __name__ == "__main__":
    main()
