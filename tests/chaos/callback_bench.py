"""What a cell needs where callbacks are at stake: receivers, the `axn` command, and a verdict on every callback."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.chaos.bench import ALL_END_WITHIN_S, Bench
from tests.chaos.callback_checker import (
    DELIVERED,
    CallbackEvidence,
    KeySpan,
    Owed,
    Receiver,
    Silence,
    check_callbacks,
    delays_ms,
)
from tests.chaos.checker import FAULT, percentile
from tests.chaos.histories import Record, Submission
from tests.chaos.orders import Order
from tests.chaos.processes import HarnessError
from tests.chaos.receivers import ALLOWED_NET, Sink, Sinks
from tests.chaos.system import SystemOptions
from worker.callback_desk import CallbackDesk, CallbackFilter
from worker.domain.durations import duration_ms, parse_duration
from worker.ledger.callback_views import CallbackState
from worker.ledger.keys import webhook_id_of

DEFAULT_KEY = "whsec_Y2hhb3M6IGRlZmF1bHQga2V5IG9mIHRoZSB3b3JrZXJz"
TRY_TIMEOUT_S = 2.0
_AT_A_TIME = 16
_LOOK_S = 0.2
_MOST_DEAD = 1_000_000
_BATCH_SHARE = 0.2


def options(schedule: str, **tuning: str) -> SystemOptions:
    """A system whose workers may call the receivers, and try again after these delays."""
    return SystemOptions(
        tuning={
            "AXN_CALLBACK_ALLOW_HTTP": "1",
            "AXN_CALLBACK_ALLOW_NETS": ALLOWED_NET,
            "AXN_CALLBACK_PORTS": "",
            "AXN_CALLBACK_SECRET": DEFAULT_KEY,
            "AXN_CALLBACK_PER_RECEIVER": str(_AT_A_TIME),
            "AXN_CALLBACK_TIMEOUT": f"{TRY_TIMEOUT_S:g}s",
            "AXN_CALLBACK_SCHEDULE": schedule,
            **tuning,
        }
    )


class CallbackBench:
    """Receivers beside a bench.

    Attributes:
        sinks: the receivers.
        keys: of hosts that have their own, the default one among them while it signs.
        silences: times in which a host must not be called.
        begun_anew: hosts whose callbacks somebody has replayed.
    """

    def __init__(self, bench: Bench, sinks: Sinks) -> None:
        self.bench = bench
        self.sinks = sinks
        self.keys: dict[str, list[KeySpan]] = {}
        self.silences: list[Silence] = []
        self.begun_anew: set[str] = set()
        self._unheard: dict[str, Receiver] = {}

    def expect(self, host: str, ends: str) -> None:
        """A host that must never hear anything; its callbacks end with one of these errors, separated by spaces."""
        self._unheard[host] = Receiver(host, frozenset(ends.split()), is_told=False)

    def orders(self, count: int, *sinks: Sink, **fixed: Any) -> list[Order]:
        """So many orders, their callbacks to these receivers in turn."""
        return [self.order(sinks[number % len(sinks)].url, **fixed) for number in range(count)]

    def order(self, url: str, **fixed: Any) -> Order:
        """An order whose callback goes to this URL."""
        lane = "batch" if self.bench.rng.random() < _BATCH_SHARE else "checkout"
        return self.bench.book.one(lane=lane, callback_url=url, **fixed)

    def mixed(self, *parts: Sequence[Order]) -> list[Order]:
        """All of them, in an order of this seed."""
        orders = [order for part in parts for order in part]
        self.bench.rng.shuffle(orders)
        return orders

    async def axn(self, *words: str, may_fail: bool = False) -> list[Any]:
        """Run `axn … --json`, as a person does; its lines.

        Raises:
            HarnessError: it failed.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker.cli", *words, "--json",
            env={**os.environ, **self.bench.system.env},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if process.returncode and not may_fail:
            raise HarnessError(f"axn {' '.join(words)} ended with {process.returncode}: {err.decode()[-300:]}")
        return [json.loads(line) for line in out.decode().splitlines()]

    async def settled(self, within_s: float = ALL_END_WITHIN_S) -> None:
        """Wait until every callback is delivered or given up; what is not by then is the checker's to tell."""
        left = [one.job_id for one in self.bench.submissions if one.receiver]
        deadline = time.monotonic() + within_s
        while left and time.monotonic() < deadline:
            records = await self.bench.system.records(left)
            left = [job_id for job_id, record in records.items() if not is_told(record)]
            if left:
                await asyncio.sleep(_LOOK_S)

    async def judge(self) -> None:
        """Wait, and note every broken promise."""
        await self.settled()
        evidence = CallbackEvidence(
            owed=await self._owed(),
            receivers={**self._unheard, **{host: sink.receiver for host, sink in self.sinks.by_host.items()}},
            arrivals=self.sinks.arrivals,
            default_keys=[KeySpan(DEFAULT_KEY)],
            keys=self.keys,
            schedule_ms=self._schedule_ms(),
            silences=self.silences,
            denied=self.sinks.denied,
            most_at_a_time={host: sink.most_at_a_time for host, sink in self.sinks.by_host.items()},
            allowed_at_a_time=_AT_A_TIME,
        )
        self.bench.violations += check_callbacks(evidence)
        self._note_figures(evidence)

    def need(self, has_happened: object, what: str) -> None:
        """Say so where the fault itself did not happen."""
        if not has_happened:
            self.bench.blame("F0", FAULT, what)

    async def until(self, condition: Callable[[], bool], what: str, within_s: float = 40.0) -> None:
        """Wait for a condition; HarnessError where it does not come true."""
        await self.bench.until(condition, what, within_s)

    async def _owed(self) -> list[Owed]:
        mine = [one for one in self.bench.submissions if one.receiver]
        records = await self.bench.system.records([one.job_id for one in mine])
        desk = CallbackDesk(self.bench.system.ledger)
        dead = {one.webhook_id: one for one in await desk.find(CallbackFilter(CallbackState.DEAD), _MOST_DEAD)}
        owed = []
        for one in mine:
            record = records[one.job_id]
            if record is None or not record.has_ended:
                continue  # I1's business
            found = owed_by(one, record)
            dead_error = dead[found.webhook_id].last_error if found.webhook_id in dead else ""
            owed.append(replace(found, dead_error=dead_error, may_begin_anew=one.receiver in self.begun_anew))
        return owed

    def _schedule_ms(self) -> list[int]:
        words = self.bench.cell.options.tuning["AXN_CALLBACK_SCHEDULE"].split(",")
        return [duration_ms(parse_duration(word)) for word in words]

    def _note_figures(self, evidence: CallbackEvidence) -> None:
        taken = [one for one in evidence.owed if one.callback_state == DELIVERED]
        self.bench.figures |= {
            "callbacks": len(evidence.owed),
            "tries": len(evidence.arrivals),
            "delivered": len(taken),
            "dead": sum(bool(one.dead_error) for one in evidence.owed),
        }
        if found := delays_ms(evidence):
            self.bench.figures |= {
                "bystanders": len(found),
                "bystanders_p50_ms": percentile(found, 0.5),
                "bystanders_p99_ms": percentile(found, 0.99),
            }


def owed_by(one: Submission, record: Record) -> Owed:
    """The callback of a job that has ended, and that nobody has given up."""
    return Owed(
        job_id=one.job_id,
        host=one.receiver,
        webhook_id=webhook_id_of(one.job_id, record.fence),
        finished_ms=record.finished_at,
        state=record.state,
        phone_no_x=record.phone_no_x,
        callback_state=record.callback_state,
    )


def is_told(record: Record | None) -> bool:
    """Whether its callback was taken or given up."""
    return record is not None and record.callback_state in (DELIVERED, "dead")


@contextlib.asynccontextmanager
async def receiving(bench: Bench) -> AsyncIterator[CallbackBench]:
    """Receivers for the length of the block; at its end every callback is judged."""
    async with Sinks() as sinks:
        at_work = CallbackBench(bench, sinks)
        try:
            yield at_work
        except HarnessError as broken:
            bench.blame("F0", FAULT, str(broken))
        await at_work.judge()


def share_of(bench: Bench, most: int = 200) -> int:
    """A part of a cell's jobs that is enough for its purpose, however many there are."""
    return min(most, max(12, bench.jobs_per_run // 3))


def unix_ms() -> int:
    """Now."""
    return time.time_ns() // 1_000_000
