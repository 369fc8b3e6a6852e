"""Files of mixed rows, each of which does one thing to a binding that no other row names."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.chaos.batch_checker import FINISHED, NEW_X, SAME_X, PlannedRow
from tests.chaos.bench import Bench
from tests.chaos.histories import SandboxBinding
from tests.chaos.orders import CHOSEN_POOL_KEY, POOL_KEY
from tests.chaos.processes import HarnessError

_SEEDS_PER_SECOND = 250
_COLUMNS = (
    "op", "mode", "phone_no_a", "expiration", "expires_in", "on_doubt",
    "out_order_id", "bind_job_id", "subs_id", "phone_no_x", "pool_key", "is_confirmed",
)  # fmt: skip
_MIXED = ("bind", NEW_X, NEW_X, "move-a", "set-expiration", "unbind")
_OF_CHOSEN_X = (SAME_X, SAME_X, SAME_X, "move-a", "set-expiration", "unbind")
_NAMED_BY = ("out_order_id", "bind_job_id", "subs_id")


class Sheet:
    """A file of rows.

    Attributes:
        batches: that were made of it or of its rest: their rows, and the state that each must come to.
    """

    def __init__(self, rows: Sequence[PlannedRow], cells: Sequence[dict[str, str]]) -> None:
        self.rows = rows
        self.cells = cells
        self.batches: dict[str, tuple[Sequence[PlannedRow], str]] = {}

    @property
    def count(self) -> int:
        return len(self.rows)

    def write(self, path: Path, name: str, of: Sequence[int] | None = None) -> None:
        """Write the file of a batch: all rows, or those of these indexes. One that is there stays as it is."""
        if name in self.batches:
            return
        chosen = range(self.count) if of is None else of
        self.batches[name] = ([replace(self.rows[index], line=line) for line, index in enumerate(chosen, 2)], FINISHED)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(self.cells[index] for index in chosen)


class SheetMaker:
    """Makes them, and what they name."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._made = 0
        self._chosen_numbers = set(bench.system.chosen_numbers())

    async def sheet(self, count: int, *, mixed: Sequence[str] = _MIXED, chosen: Sequence[str] = _OF_CHOSEN_X) -> Sheet:
        """A file of so many rows; what they name is bound first, by checkout.

        Args:
            count: of rows.
            mixed: what rows do, drawn evenly.
            chosen: the same of rows that name an X of the pool from which nobody draws.
        """
        ops = [self._bench.rng.choice(mixed) for _ in range(count)]
        seeds = iter(await self._bindings(sum(op != "bind" for op in ops)))
        rows, cells = [], []
        for line, op in enumerate(ops, 2):
            row, given = self._bind(line) if op == "bind" else self._change(line, op, *next(seeds), chosen)
            rows.append(row)
            cells.append(given)
        self._bench.judged_elsewhere |= {row.order for row in rows}
        return Sheet(rows, cells)

    async def _bindings(self, count: int) -> list[tuple[SandboxBinding, str]]:
        """So many, each with the job that bound it."""
        bench = self._bench
        orders = [bench.book.one(lane="checkout", on_doubt="hold") for _ in range(count)]
        known = len(bench.submissions)
        await bench.run(f"{count} bindings to change", _nothing, orders=orders, over_s=count / _SEEDS_PER_SECOND)
        bench.runs -= 1
        jobs = {one.order: one.job_id for one in bench.submissions[known:]}
        del bench.submissions[known:]
        bound = {one.order: one for one in await self._bench.system.bindings() if one.order in jobs}
        bench.judged_elsewhere |= set(jobs)
        if len(bound) != count:
            raise HarnessError(f"{len(bound)} of {count} bindings were made")
        return [(bound[order.order], jobs[order.order]) for order in orders]

    def _bind(self, line: int) -> tuple[PlannedRow, dict[str, str]]:
        self._made += 1
        order = f"{self._bench.cell.id}-row-{self._made}"
        doubt = self._bench.rng.choice(("hold", "rebind"))
        given = {"op": "bind", "phone_no_a": f"136{self._made:08d}", "expires_in": "3h", "out_order_id": order}
        return PlannedRow(line, "bind", order, on_doubt=doubt, given_order=order), given | {"on_doubt": doubt}

    def _change(
        self, line: int, op: str, old: SandboxBinding, job_id: str, chosen: Sequence[str]
    ) -> tuple[PlannedRow, dict[str, str]]:
        self._made += 1
        is_chosen = old.phone_no_x in self._chosen_numbers
        if is_chosen:
            op = self._bench.rng.choice(chosen)
        given = {"op": op, **self._naming(old, job_id, is_chosen=is_chosen)}
        phone_no_a, expires, mode, doubt = "", "", "", "hold"
        if op in (NEW_X, SAME_X):
            doubt = self._bench.rng.choice(("hold", "rebind"))
            mode, op = op, "rebind"
            given |= {"op": op, "mode": mode, "on_doubt": doubt}
        elif op == "move-a":
            given["phone_no_a"] = phone_no_a = f"137{self._made:08d}"
        elif op == "unbind" and "subs_id" in given:
            given["is_confirmed"] = "true"  # else "no such binding" after a lost answer may not count as done
        elif op == "set-expiration":
            given["expiration"] = expires = _in_hours(5 + self._made % 40)
        row = PlannedRow(
            line, op, old.order, old, mode, phone_no_a, expires, doubt, given_order=given.get("out_order_id", "")
        )
        return row, given

    def _naming(self, old: SandboxBinding, job_id: str, *, is_chosen: bool) -> dict[str, str]:
        match self._bench.rng.choice(_NAMED_BY):
            case "out_order_id":
                return {"out_order_id": old.order}
            case "bind_job_id":
                return {"bind_job_id": job_id}
            case _:
                pool = CHOSEN_POOL_KEY if is_chosen else POOL_KEY
                return {"subs_id": old.subs_id, "phone_no_x": old.phone_no_x, "pool_key": pool}


async def _nothing() -> None:
    pass


def _in_hours(hours: int) -> str:
    return (datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M:%S")
