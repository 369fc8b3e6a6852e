"""`python -m tests.chaos.soak_batches`: one large batch of binds through the sandbox, with checkout beside it.

Shows that its report is exact, that the memory of the workers stays flat and that Redis takes no more for a late row
than for an early one. Nothing is killed here: `make chaos` does that.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvloop

from tests.chaos.batch_bench import BatchBench, batching, options
from tests.chaos.batch_checker import PlannedRow
from tests.chaos.batch_sheets import Sheet
from tests.chaos.bench import Bench, Cell
from tests.chaos.checker import percentile
from tests.chaos.orders import Plan
from tests.chaos.system import ChaosSystem, clean_environment

NAME = "soak"
_LOOK_S = 5.0
_ROUND_S = 30
_MOST_RSS_GROWTH_MB = 48.0
_MOST_ROW_GROWTH = 1.25
_EARLY, _MIDDLE, _LATE = 0.25, 0.5, 0.75


@dataclass(frozen=True, slots=True)
class Sample:
    """How it stood at a moment: rows that had ended, MB of each worker, MB of Redis's data."""

    at_s: float
    ended: int
    workers_mb: dict[str, float]
    redis_mb: float


@dataclass
class Soak:
    """One run of it."""

    work: BatchBench
    samples: list[Sample] = field(default_factory=list)
    waits_ms: list[int] = field(default_factory=list)
    most_tries: int = 0

    async def run(self, rows: int, per_second: float, most_s: float, window: int) -> dict[str, Any]:
        """All figures."""
        sheet = _binds(rows)
        self.work.sheets.append(sheet)
        self.work.bench.judged_elsewhere |= {row.order for row in sheet.rows}
        began_s = time.monotonic()
        await self.work.started(await self.work.start(sheet, NAME, window=window), within_s=most_s)
        stored_s = time.monotonic()
        ended = asyncio.Event()
        shopping = asyncio.create_task(self._shop(per_second, ended))
        await self._watch(began_s + most_s)
        ended_s = time.monotonic()
        ended.set()
        await shopping
        if not (await self.work.read(NAME)).state.is_end:
            await self.work.cancel(sheet, NAME)
        await self.work.judge(sheet)
        done = self.samples[-1].ended
        return {
            "rows": rows,
            "start_s": round(stored_s - began_s),
            "rows_ended": done,
            "drain_s": round(ended_s - stored_s),
            "rows_per_s": round(done / (ended_s - stored_s)),
            "checkout_orders": len(self.waits_ms),
            "checkout_p50_ms": percentile(self.waits_ms, 0.5),
            "checkout_p99_ms": percentile(self.waits_ms, 0.99),
            **self._memory(done),
        }

    async def _watch(self, until_s: float) -> None:
        while True:
            batch = await self.work.read(NAME)
            memory = await self.work.system.ledger.info("memory")
            workers = {name: _rss_mb(kept.pid) for name, kept in self.work.system.workers.items()}
            sample = Sample(time.monotonic(), batch.ended, workers, int(memory["used_memory"]) / 2**20)
            self.samples.append(sample)
            print(f"{batch.ended:,} of {batch.rows:,}", workers, round(sample.redis_mb), file=sys.stderr)  # noqa: T201
            if batch.state.is_end or time.monotonic() > until_s:
                return
            await asyncio.sleep(_LOOK_S)

    async def _shop(self, per_second: float, ended: asyncio.Event) -> None:
        """Orders at a steady rate, a producer's plan after another."""
        bench, system = self.work.bench, self.work.system
        while not ended.is_set():
            orders = bench.book.make(round(per_second * _ROUND_S), lane="checkout", pool_key="FC123456")
            bench.judged_elsewhere |= {order.order for order in orders}
            bench.runs += 1
            producer = await system.start_producer(Plan(per_second, orders), f"{bench.runs}")
            await producer.is_done.wait()
            lines = system.history_of(f"{bench.runs}").read_text(encoding="utf-8").splitlines()
            jobs = [event["job_id"] for event in map(json.loads, lines) if event["event"] == "ok"]
            await bench.until_all_ended(jobs)
            found = (await system.records(jobs)).values()
            self.waits_ms += [record.finished_at - record.accepted_at for record in found if record]

    def _memory(self, done: int) -> dict[str, Any]:
        early, middle, late = (self._when(share * done) for share in (_EARLY, _MIDDLE, _LATE))
        last = self.samples[-1]
        growth = max(last.workers_mb[name] - early.workers_mb[name] for name in last.workers_mb)
        slopes = [_bytes_per_row(early, middle), _bytes_per_row(late, last)]
        return {
            "workers_mb": {f"{share:.0%}": at.workers_mb for share, at in ((0.25, early), (0.5, middle), (1, last))},
            "redis_mb": [round(at.redis_mb, 1) for at in (self.samples[0], early, middle, late, last)],
            "redis_bytes_per_row": {"25-50%": round(slopes[0]), "75-100%": round(slopes[1])},
            "is_flat": growth <= _MOST_RSS_GROWTH_MB and slopes[1] <= _MOST_ROW_GROWTH * slopes[0],
        }

    def _when(self, rows: float) -> Sample:
        return next(sample for sample in self.samples if sample.ended >= rows)


def _bytes_per_row(one: Sample, other: Sample) -> float:
    return (other.redis_mb - one.redis_mb) * 2**20 / max(1, other.ended - one.ended)


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)


def _binds(count: int) -> Sheet:
    numbers = range(1, count + 1)
    rows = [PlannedRow(n + 1, "bind", f"soak-{n}", given_order=f"soak-{n}") for n in numbers]
    cells = [
        {"op": "bind", "phone_no_a": f"136{n:08d}", "expires_in": "12h", "out_order_id": f"soak-{n}"} for n in numbers
    ]
    return Sheet(rows, cells)


async def soak(asked: argparse.Namespace) -> dict[str, Any]:
    """The figures and what was broken."""
    orders = round(asked.checkout * (asked.minutes + 1) * 60)
    wanted = options(AXN_STEPS_HISTORY="", AXN_PACE__BIND_AXN_PER_SECOND=str(asked.per_second))
    wanted = replace(wanted, numbers=asked.rows + orders + 1000, redis=())
    async with ChaosSystem(wanted) as system:
        await system.start_workers()
        bench = Bench(Cell("soak", "", _nothing, 1), system, seed=1, jobs=1, tell=print)
        async with batching(bench) as work:
            figures = await Soak(work).run(asked.rows, asked.checkout, asked.minutes * 60, asked.window)
        broken = [str(violation) for violation in bench.violations]
        return figures | {"broken": len(broken), "first_broken": broken[:10]}


async def _nothing(_: Bench) -> None:
    pass


def main() -> None:
    """Print the figures; the end status is 1 where something was broken or grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--checkout", type=float, default=20, help="orders per second beside it")
    parser.add_argument("--per-second", type=int, default=2_000, help="the pace's rate, all lanes together")
    parser.add_argument("--window", type=int, default=2_000)
    parser.add_argument("--minutes", type=float, default=60, help="then it is cancelled, and what was done is judged")
    with clean_environment():
        figures = uvloop.run(soak(parser.parse_args()))
    print(json.dumps(figures, indent=2))  # noqa: T201
    sys.exit(os.EX_OK if figures["is_flat"] and not figures["broken"] else 1)


if __name__ == "__main__":
    main()
