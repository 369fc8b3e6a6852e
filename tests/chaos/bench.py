"""One cell of the fault matrix at work: load, fault, quiet, collection, verdict."""

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.chaos.checker import DIED, FAULT, LOST, WRONG, Evidence, Verdict, Violation, check, percentile
from tests.chaos.histories import (
    ORDINARY_ENDS,
    Death,
    Pause,
    ProducerHistory,
    Submission,
    read_producer,
    read_steps,
)
from tests.chaos.leaks import leaks_in_logs
from tests.chaos.orders import Order, OrderBook, Plan
from tests.chaos.processes import HarnessError, Kept
from tests.chaos.system import ChaosSystem, SystemOptions

ALL_END_WITHIN_S = 75.0
_ACCEPTED_WITHIN_S = 75.0
_LOAD_BEGINS_WITHIN_S = 45.0
_CRASH_WITHIN_S = 20.0
_ENDS_WITHIN_S = 20.0
_LOOK_S = 0.05
_LOOK_AT_ENDS_S = 0.3
_FEWEST_JOBS = 10
_SPARE_NUMBERS = 1000
Play = Callable[["Bench"], Awaitable[None]]
Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Cell:
    """One row of the table.

    Attributes:
        play: calls `Bench.run` for each of its runs.
        runs: how many those are; the cell's jobs are divided among them.
        weight: its share of all jobs, relative to the other cells.
        bound_s: how long after the last fault a job may take.
        deaths_allowed: how often processes may end by themselves, where Celery itself ends a worker; it starts again.
    """

    id: str
    title: str
    play: Play
    runs: int
    options: SystemOptions = field(default_factory=SystemOptions)
    weight: float = 1.0
    bound_s: float = 60.0
    deaths_allowed: int = 0


@dataclass(frozen=True)
class CellResult:
    """What came of a cell: all `violations` (a `control` must have some), and by name what else was measured."""

    id: str
    title: str
    runs: int
    jobs: int
    verdict: Verdict
    violations: list[Violation]
    seconds: float
    folder: str = ""
    control: bool = False
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        found = self.count("lost") + self.count("doubled") > 0
        return found if self.control else not self.violations

    def count(self, kind: str) -> int:
        """Jobs (or facts without a job) that broke a promise of this kind."""
        of_kind = [violation for violation in self.violations if violation.kind == kind]
        without_job = sum(violation.job_id == "-" for violation in of_kind)
        return len({violation.job_id for violation in of_kind} - {"-"}) + without_job

    @property
    def p99_recovery_s(self) -> float:
        return percentile(self.verdict.recovery_ms, 0.99) / 1000

    @property
    def longest_recovery_s(self) -> float:
        return max(self.verdict.recovery_ms, default=0) / 1000


class Bench:
    """What a cell plays on. Each run submits `jobs_per_run` orders.

    Attributes:
        judged_elsewhere: orders whose bindings batches have made or changed: `batch_bench` judges those.
        row_states: how their rows ended.
    """

    def __init__(self, cell: Cell, system: ChaosSystem, *, seed: int, jobs: int, tell: Callable[[str], None]) -> None:
        self.cell = cell
        self.system = system
        self.rng = random.Random(f"{cell.id}:{seed}")
        self.jobs_per_run = max(_FEWEST_JOBS, jobs // cell.runs)
        self.book = OrderBook(f"{cell.id}-{seed}", self.rng, iter(system.chosen_numbers()))
        self._tell = tell
        self.runs = 0
        self.submissions: list[Submission] = []
        self.pauses: list[Pause] = []
        self.violations: list[Violation] = []
        self.figures: dict[str, int] = {}
        self.unbound: set[str] = set()
        """SubsIds of bindings that the cell itself has ended: that they are not there is no loss."""
        self.judged_elsewhere: set[str] = set()
        self.row_states: Counter[str] = Counter()

    async def run(
        self,
        name: str,
        fault: Fault,
        *,
        orders: Sequence[Order] | None = None,
        over_s: float = 2.0,
        may_end: dict[str, frozenset[str]] | None = None,
        vanished: Callable[[], set[str]] = set,
        first_producer_env: dict[str, str] | None = None,
    ) -> ProducerHistory:
        """Load, and the fault in the midst of it; then wait until everything is accepted and has ended.

        Args:
            name: for the progress.
            fault: comes back when the fault is over.
            orders: the load; without it, `jobs_per_run` new ones.
            over_s: how long the load takes.
            may_end: by order, where other ends than the ordinary ones are right.
            vanished: job ids whose records the fault deleted.
            first_producer_env: of the producer's first life alone.
        """
        self.runs += 1
        self._tell(f"{self.cell.id} run {self.runs}: {name}")
        orders = self.book.make(self.jobs_per_run) if orders is None else orders
        plan = Plan(len(orders) / over_s, list(orders))
        producer_name = f"{self.runs}"
        producer = await self.system.start_producer(plan, producer_name, **(first_producer_env or {}))
        await self._until_accepted(producer_name, 1 + self.rng.randrange(max(1, len(orders) // 4)))
        try:
            await fault()
        except HarnessError as broken:
            # The run goes on to its end: what has happened so far is judged all the same.
            self.blame("F0", FAULT, str(broken))
        fault_ended_ms = _unix_ms()
        await self._until_done(producer)
        history = read_producer(self.system.history_of(producer_name))
        self._note_refusals(history)
        new = self._submissions(orders, history, fault_ended_ms, may_end or {}, vanished())
        self.submissions += new
        await self.until_all_ended([one.job_id for one in new if not one.may_vanish])
        return history

    async def verdict(self) -> CellResult:
        """Collect and judge."""
        system = self.system
        records = await system.records([submission.job_id for submission in self.submissions])
        steps = await asyncio.to_thread(read_steps, system.steps_folder)
        ended = [life for kept in system.processes for life in kept.lives if life.ended_ns]
        self.note_unwanted_ends()
        self.violations += await asyncio.to_thread(leaks_in_logs, system.folder / "logs")
        bindings = await system.bindings()
        evidence = Evidence(
            submissions=self.submissions,
            records=records,
            bindings=[
                replace(one, is_live=one.is_live or one.subs_id in self.unbound)
                for one in bindings
                if one.order not in self.judged_elsewhere
            ],
            steps=steps,
            pauses=self.pauses,
            deaths=[Death(life.pid, life.ended_ns) for life in ended],
            bound_ms=round(self.cell.bound_s * 1000),
        )
        found = await asyncio.to_thread(check, evidence)
        found.states.update(self.row_states)
        jobs = len(self.submissions) + self.row_states.total()
        violations = found.violations + self.violations
        return CellResult(self.cell.id, self.cell.title, self.runs, jobs, found, violations, 0.0, figures=self.figures)

    def pick(self, low: float, high: float) -> float:
        """A random number of this seed."""
        return self.rng.uniform(low, high)

    async def sleep(self, low_s: float, high_s: float) -> None:
        """A random pause of this seed."""
        await asyncio.sleep(self.pick(low_s, high_s))

    def blame(self, invariant: str, kind: str, text: str, job_id: str = "-") -> None:
        """Note a broken promise that the checker cannot see."""
        self.violations.append(Violation(invariant, kind, job_id, text))

    async def kill(self, kept: Kept, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill a process and wait until it runs again."""
        deaths = kept.deaths
        if not kept.send(number):
            await kept.wait_ready()
            deaths = kept.deaths
            kept.send(number)
        await self.ended(kept, deaths, number)

    async def ended(self, kept: Kept, deaths: int, number: signal.Signals) -> None:
        """Wait until a process that was sent a signal has ended and runs again; one that hangs is blamed and killed."""
        try:
            await self.until(lambda: kept.deaths > deaths, "", within_s=_ENDS_WITHIN_S)
        except HarnessError:
            self.blame("X3", WRONG, f"{kept.name} had not ended {_ENDS_WITHIN_S:g} s after {number.name}")
            kept.send(signal.SIGKILL)
            await self.until(lambda: kept.deaths > deaths, f"{kept.name} ends by SIGKILL")
        await kept.wait_ready()

    async def arm(self, kept: Kept, crash: str) -> None:
        """Start a worker anew, so that it crashes where the words of AXN_STEPS_CRASH say; only this once."""
        kept.next_env = {"AXN_STEPS_CRASH": crash}
        await self.kill(kept)

    async def crashed(self, kept: Kept, deaths: int, within_s: float = _CRASH_WITHIN_S) -> None:
        """Wait until an armed process has crashed and runs again; note it where it never does."""
        try:
            await self.until(lambda: kept.deaths > deaths, "", within_s)
        except HarnessError:
            self.blame("F0", FAULT, f"{kept.name} never reached its crash point in run {self.runs}")
            await self.kill(kept)
        await kept.wait_ready()

    @contextlib.asynccontextmanager
    async def paused(self, kept: Kept) -> AsyncIterator[None]:
        """SIGSTOP for the length of the block."""
        pid, from_ns = kept.pid, time.monotonic_ns()
        kept.send(signal.SIGSTOP, ends_it=False)
        try:
            yield
        finally:
            kept.send(signal.SIGCONT, ends_it=False)
            self.pauses.append(Pause(pid if kept is not self.system.redis else 0, from_ns, time.monotonic_ns()))

    @contextlib.asynccontextmanager
    async def network_trouble(self) -> AsyncIterator[None]:
        """Steps of all processes may be late by the length of the block."""
        from_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self.pauses.append(Pause(0, from_ns, time.monotonic_ns()))

    async def until(self, condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        """Wait for a condition.

        Raises:
            HarnessError: it did not come true in time.
        """
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise HarnessError(f"{self.cell.id}: {what} did not happen within {within_s:g} s")
            await asyncio.sleep(_LOOK_S)

    async def _until_accepted(self, producer: str, count: int) -> None:
        path = self.system.history_of(producer)
        deadline = time.monotonic() + _LOAD_BEGINS_WITHIN_S
        while not path.exists() or path.read_bytes().count(b'"event": "ok"') < count:
            if time.monotonic() > deadline:
                self.blame("F0", FAULT, f"{count} orders were not accepted before the fault of run {self.runs}")
                return
            await asyncio.sleep(_LOOK_S)

    async def _until_done(self, producer: Kept) -> None:
        try:
            await asyncio.wait_for(producer.is_done.wait(), _ACCEPTED_WITHIN_S)
        except TimeoutError:
            self.blame("I1", LOST, f"the producer of run {self.runs} could not get all its orders accepted")
        await producer.end()
        if producer.failure is not None:
            raise HarnessError(str(producer.failure))

    def _note_refusals(self, history: ProducerHistory) -> None:
        for order, error in history.refused.items():
            self.blame("I1", WRONG, f"order {order} was refused: {error}")
        for error in history.unforeseen:
            self.blame("X2", WRONG, f"submitting raised {error} in run {self.runs}, which no caller is told to expect")

    def _submissions(
        self,
        orders: Sequence[Order],
        history: ProducerHistory,
        fault_ended_ms: int,
        may_end: dict[str, frozenset[str]],
        vanished: set[str],
    ) -> list[Submission]:
        return [
            Submission(
                order=order.order,
                job_id=history.accepted[order.order][0],
                accepted_ms=history.accepted[order.order][1],
                on_doubt=order.on_doubt,
                fault_ended_ms=fault_ended_ms,
                may_end=may_end.get(order.order, ORDINARY_ENDS),
                may_vanish=history.accepted[order.order][0] in vanished,
                receiver=order.receiver,
            )
            for order in orders
            if order.order in history.accepted
        ]

    async def until_all_ended(self, job_ids: Sequence[str]) -> None:
        """Wait until all have ended, at most the bound; what has not ended by then is the checker's to tell."""
        left = list(job_ids)
        deadline = time.monotonic() + ALL_END_WITHIN_S
        while left and time.monotonic() < deadline:
            records = await self.system.records(left)
            left = [job_id for job_id, record in records.items() if record is None or not record.has_ended]
            if left:
                await asyncio.sleep(_LOOK_AT_ENDS_S)

    def note_unwanted_ends(self) -> None:
        """Blame the processes that ended by themselves."""
        lives = [(kept.name, life) for kept in self.system.processes for life in kept.lives]
        unwanted = [(name, life) for name, life in lives if life.ended_ns and not life.is_end_wanted]
        for name, life in unwanted[self.cell.deaths_allowed :]:
            self.blame("X1", DIED, f"{name} ended by itself: {life.how or 'before it was ready'}")


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


async def play(
    cell: Cell, *, seed: int, jobs: int, tell: Callable[[str], None], keeps_folder: bool = False, **_: Any
) -> CellResult:
    """Play a cell on a system of its own."""
    began = time.monotonic()
    # Enough for every job to be bound, and bound anew once.
    options = replace(cell.options, numbers=2 * jobs + _SPARE_NUMBERS)
    async with ChaosSystem(options, keeps_folder=keeps_folder) as system:
        await system.start_workers()
        bench = Bench(cell, system, seed=seed, jobs=jobs, tell=tell)
        try:
            await cell.play(bench)
        except HarnessError as broken:
            bench.blame("F0", FAULT, str(broken))
        result = await bench.verdict()
        seconds = round(time.monotonic() - began, 1)
        return CellResult(
            **{**result.__dict__, "seconds": seconds, "folder": str(system.folder) if keeps_folder else ""}
        )
