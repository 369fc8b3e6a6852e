"""One soak from its start to its verdict: capacity, load with faults, quiet, what is left, judgement."""

import asyncio
import contextlib
import gc
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from tests.chaos.bench import Bench, Cell
from tests.chaos.checker import FAULT, LOST, Violation, percentile
from tests.chaos.histories import Tail
from tests.chaos.leaks import leaks_in_logs
from tests.chaos.processes import Kept
from tests.chaos.receivers import Sink, Sinks
from tests.chaos.soak.faults import SKEWS_S, Faults
from tests.chaos.soak.load import LIFE_S, Load, PlanFile
from tests.chaos.soak.outcome import Outcome, Wishes
from tests.chaos.soak.parts import (
    MOST_LIVES,
    RETENTION,
    RETRY_MS,
    TRIES,
    VICTIMS,
    open_receivers,
    start_workers,
    system_options,
)
from tests.chaos.soak.samples import Sampler
from tests.chaos.soak.verdict import (
    Book,
    judge_book,
    redis_findings,
    residue_findings,
    trend_findings,
    trends,
)
from tests.chaos.soak.watch import Watch
from tests.chaos.system import ChaosSystem

_OUTSTANDING = 400
_TOP_UP_S = 0.2
_LOOK_S = 1.0
_CENSUS_EVERY = 3
_PLANNED_AHEAD_S = 2.0
_QUIET_S = 420.0
_GONE_S = 420.0
_FAULT_GAP_S = (3.0, 9.0)
_LAST_CALM_S = 10.0
_TELL_EVERY = 3
_WARM_UP_SHARE, _WARM_UP_S = 0.2, (60.0, 300.0)


class Soak:
    """One at work on a system that is there."""

    def __init__(
        self, bench: Bench, sinks: Sinks, receivers: list[Sink], wishes: Wishes, tell: Callable[[str], None]
    ) -> None:
        self._bench, self._sinks, self._receivers = bench, sinks, receivers
        self._wishes, self._tell = wishes, tell
        self._rng = random.Random(f"soak load {wishes.seed}")
        folder = bench.system.folder / "producers"
        self._plans = {name: PlanFile(folder / f"{name}.plan") for name in ("shop", "operator")}
        self._load = Load(bench.book, self._rng, receivers)
        self.watch = Watch(
            bench, sinks, self._load, self._plans["shop"],
            [Tail(bench.system.history_of(name)) for name in self._plans],
            [RETRY_MS] * TRIES,
            [skew_s * 1000 for skew_s in SKEWS_S],
            RETENTION,
        )  # fmt: skip
        self.sampler = Sampler(bench.system)
        self._shops: list[Kept] = []
        self._faults: Faults | None = None
        self.outcome = Outcome(wishes)

    async def run(self) -> Outcome:
        """All of it."""
        before = self.sampler.keep(await self.sampler.take_redis(with_census=True))
        await self._open_shops()
        async with _beside(self._look()):
            self.outcome.capacity = await self._measure_capacity()
            self.outcome.per_second = self._wishes.per_second or self.outcome.capacity * self._wishes.load_share
            self._tell(
                f"capacity {self.outcome.capacity:.0f} jobs a second; {self.outcome.per_second:.0f} for the load"
            )
            async with _beside(self._sample(before.figures)):
                began_s = self.sampler.now_s
                await self._offer()
                ended_s = self.sampler.now_s
            self.outcome.load_s = ended_s - began_s
            await self._become_quiet()
        after = await self._until_gone(before.figures)
        await self._judge(before.figures, after, began_s, ended_s)
        return self.outcome

    # --- the load ---

    async def _open_shops(self) -> None:
        system = self._bench.system
        for name, plan in self._plans.items():
            plan.path.touch()
            words = ["-m", "tests.chaos.soak.shop", str(plan.path), str(system.history_of(name))]
            shop = Kept(
                f"producer-{name}", [sys.executable, *words], system.folder / "logs", system.env, until_done=True,
                most_lives=MOST_LIVES,
            )  # fmt: skip
            system.others.append(shop)
            self._shops.append(shop)
            await shop.start()

    def _submit(self, at_s: float) -> None:
        orders = self._load.submission(at_s)
        self._plans["operator" if len(orders) > 1 else "shop"].submit(at_s, orders)

    async def _measure_capacity(self) -> float:
        """Jobs a second that are done, callbacks included, while there are always some hundreds to do."""
        if self._wishes.per_second:
            return 0.0
        began_s = time.monotonic()
        first_s, first = 0.0, 0
        while (now_s := time.monotonic()) < began_s + self._wishes.capacity_s:
            for _ in range((_OUTSTANDING - self.watch.at_work) // 2):  # a submission is two jobs, on average
                self._submit(time.time())
            if not first_s and now_s > began_s + self._wishes.capacity_s / 4:
                first_s, first = now_s, len(self.watch.done)
            await asyncio.sleep(_TOP_UP_S)
        return (len(self.watch.done) - first) / (time.monotonic() - first_s)

    async def _offer(self) -> None:
        """The load, whatever becomes of it, and the faults in its midst."""
        until_s = time.time() + self._wishes.minutes * 60
        at_s = time.time()
        async with _beside(self._fault(until_s - _LAST_CALM_S)):
            while at_s < until_s:
                at_s += self._load.gap_s(self.outcome.per_second)
                await asyncio.sleep(at_s - _PLANNED_AHEAD_S - time.time())
                self._submit(at_s)

    async def _fault(self, until_s: float) -> None:
        workers = self._bench.system.workers
        victims = [workers[name] for name in VICTIMS]
        rng = random.Random(f"soak faults {self._wishes.seed}")
        self._faults = Faults(self._bench, self._sinks, victims, self._shops, self._receivers, rng)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until_s - time.time()):
                await self._faults.run(_FAULT_GAP_S)

    # --- watching ---

    async def _look(self) -> None:
        while True:
            await self.watch.look()
            await self.watch.judge_some()
            await asyncio.sleep(_LOOK_S if self.outcome.per_second else _TOP_UP_S)

    async def _sample(self, before: Any) -> None:
        number = 0
        while True:
            await self._take_sample(before, with_census=number % _CENSUS_EVERY == 0)
            if number % _TELL_EVERY == 0:
                self._tell(self._progress())
                gc.freeze()  # the jobs that are remembered; looking through millions of them would halt the proxies
            number += 1
            await asyncio.sleep(self._wishes.sample_s)

    async def _take_sample(self, before: Any, *, with_census: bool) -> dict[str, float]:
        figures: dict[str, float] = {}
        with contextlib.suppress(RedisError, OSError):
            figures = await self.sampler.take_redis(with_census=with_census)
        if "keys job" in figures:
            figures["records allowed"] = self.watch.records_allowed()
            if figures["keys job"]:
                grown_mib = figures["redis used MiB"] - before["redis used MiB"]
                figures["redis bytes per record"] = grown_mib * 2**20 / figures["keys job"]
        figures |= self.sampler.take_processes(self._bench.system.processes)
        counts = self.watch.counts
        figures |= {
            "accepted": counts["accepted"],
            "ended": counts["ended"],
            "outstanding": self.watch.outstanding,
            "oldest s": self.watch.oldest_s(),
            "callbacks owed": len(self.watch.open),
        }
        self.sampler.keep(figures)
        return figures

    def _progress(self) -> str:
        counts, faults = self.watch.counts, self._faults
        broken = len(self._bench.violations)
        return (
            f"{self.sampler.now_s:5.0f} s: {counts['accepted']:,} accepted, {counts['ended']:,} ended, "
            f"{self.watch.outstanding} under way, {counts['judged']:,} judged, {broken} broken; "
            f"{faults.counts.total() if faults else 0} faults" + (f", {faults.now}" if faults and faults.now else "")
        )

    # --- the end ---

    async def _become_quiet(self) -> None:
        """All is accepted, and all ends."""
        self._tell("the load has ended; its jobs end")
        deadline = time.monotonic() + _QUIET_S
        await self._until_none_outstanding(deadline)
        self.watch.is_changing = False
        for plan in self._plans.values():
            plan.end()
        await self._until_none_outstanding(deadline)
        if self._load.planned:
            self._bench.blame("I1", LOST, f"{len(self._load.planned)} orders could not be submitted")

    async def _until_none_outstanding(self, deadline: float) -> None:
        while self.watch.outstanding and time.monotonic() < deadline:  # noqa: ASYNC110 - other processes give no event
            await asyncio.sleep(_LOOK_S)

    async def _until_gone(self, before: Any) -> dict[str, float]:
        """Wait until no record is there but of jobs in doubt, or until long after they had to be gone."""
        deadline = time.monotonic() + _GONE_S
        while True:
            figures = await self._take_sample(before, with_census=True)
            left = figures.get("keys job", 0.0)
            has_census = "entries timetable" in figures
            if has_census and (left <= self.watch.in_doubt or time.monotonic() > deadline):
                return figures
            self._tell(f"{self.sampler.now_s:5.0f} s: {left:.0f} records left, {self.watch.in_doubt} in doubt")
            await asyncio.sleep(self._wishes.sample_s)

    async def _judge(self, before: Any, after: dict[str, float], began_s: float, ended_s: float) -> None:
        bench, watch, outcome = self._bench, self.watch, self.outcome
        await watch.look()
        await watch.judge_some(all_of_it=True)
        watch.judge_leftovers()
        followed = [*watch.done.values(), *watch.open.values()]
        shown = (await bench.system.ask_sandbox("GET", "bindings"))["bindings"]
        violations, states = await asyncio.to_thread(judge_book, Book(followed, shown, self._load))
        bench.note_unwanted_ends()
        leaks = await asyncio.to_thread(leaks_in_logs, bench.system.folder / "logs")
        outcome.violations = [*bench.violations, *violations, *leaks]
        if self._faults is not None:
            outcome.faults = dict(self._faults.counts)
        if not outcome.faults:
            outcome.violations.append(Violation("F0", FAULT, "-", "no fault happened"))
        samples = self.sampler.samples
        warm_up_s = min(max(_WARM_UP_SHARE * (ended_s - began_s), _WARM_UP_S[0]), _WARM_UP_S[1])
        stays_s = LIFE_S + RETENTION.binding_s + RETENTION.swept_s + RETENTION.slack_s
        outcome.trends = trends(samples, warm_up_s=warm_up_s, records_from_s=began_s + stays_s, until_s=ended_s)
        outcome.findings = [
            *trend_findings(outcome.trends),
            *redis_findings(samples),
            *residue_findings(
                before,
                after,
                in_doubt=watch.in_doubt,
                failed=watch.counts["failed"],
                deaths=sum(kept.deaths for kept in bench.system.workers.values()),
            ),
        ]
        outcome.counts, outcome.states = dict(watch.counts), dict(states)
        outcome.lives = sum(len(kept.lives) for kept in bench.system.processes)
        outcome.most = {
            name: samples.most(name)
            for name in samples.names()
            if name.startswith(("queue", "entries timetable", "oldest", "loop", "outstanding", "keys job", "aof MiB"))
        }
        outcome.waits_ms = _waits(watch)


def _waits(watch: Watch) -> dict[str, int]:
    waits = [
        one.record.finished_at - one.record.accepted_at
        for one in watch.done.values()
        if one.record is not None and one.order.request.get("lane", "checkout") == "checkout"
    ]
    told = watch.delays_ms
    return {
        "checkout p50": percentile(waits, 0.5), "checkout p99": percentile(waits, 0.99),
        "callback p50": percentile(told, 0.5), "callback p99": percentile(told, 0.99),
    }  # fmt: skip


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Do this for the length of the block, at most; where it fails, the block fails."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        try:
            yield
        finally:
            task.cancel()


async def play(wishes: Wishes, tell: Callable[[str], None], *, csv: Path | None, keeps_folder: bool) -> Outcome:
    """Play one on a system of its own; its samples go to `csv`, also where it is interrupted."""
    began_s = time.monotonic()
    async with ChaosSystem(system_options(wishes.minutes, wishes.per_second), keeps_folder=keeps_folder) as system:
        await start_workers(system)
        bench = Bench(Cell("soak", "", _nothing, 1), system, seed=wishes.seed, jobs=1, tell=tell)
        async with Sinks() as sinks:
            rng = random.Random(f"soak receivers {wishes.seed}")
            soak = Soak(bench, sinks, await open_receivers(sinks, rng), wishes, tell)
            try:
                outcome = await soak.run()
            finally:
                if csv is not None:
                    soak.sampler.samples.write(csv)
        outcome.seconds = time.monotonic() - began_s
        outcome.folder = str(system.folder) if keeps_folder else ""
        return outcome


async def _nothing(_: Bench) -> None:
    pass
