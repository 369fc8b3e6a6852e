"""G: batches of changes and rebinds, whose commands, feeders and workers die, whose answers are lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from tests.chaos.batch_bench import BatchBench, batching, options
from tests.chaos.batch_checker import NEW_X, SAME_X
from tests.chaos.batch_sheets import Sheet
from tests.chaos.bench import Bench, Cell
from tests.chaos.checker import FAULT

SHARES = (0.01, 0.5, 0.99)
_SHARE = 0.2
_PAUSE_S = 1.0
_TAKES_S = 12
_PER_CRASH_S = 12
_CRASH_WITHIN_S = 45.0
"""A dead feeder's lease lasts 10 s."""
_STEPS = ("batch.filed", "batch.fed", "attempt.claimed", "attempt.sending+20", "attempt.answered", "attempt.settled")
_ANSWERS: Sequence[Mapping[str, object]] = (
    {"kind": "close_after"},
    {"kind": "close_before"},
    {"kind": "http_503", "after_effect": True},
    {"kind": "http_503"},
)
_REBINDS: Mapping[str, Sequence[str]] = {"mixed": (NEW_X,), "chosen": (SAME_X,)}
_CHANGES = ("BindAxn", "UnbindSubscription")


async def killed_at(work: BatchBench, crashes: Sequence[str]) -> None:
    """The command ends at its steps; all workers of the lane are killed when these shares of the rows have ended."""

    async def scenario(sheet: Sheet) -> None:
        name = f"killed-{work.bench.runs}"
        command = await work.start(sheet, name, rate=_rate(sheet), crashes=crashes)
        await work.started(command)
        _need(work, command.deaths == len(crashes) + 1, f"the start ended {command.deaths} times, not at each crash")
        for share in SHARES:
            await work.at(name, share)
            await work.kill_workers()

    await work.run("start and workers killed", work.bench.jobs_per_run, scenario)


async def started_twice(work: BatchBench) -> None:
    """Two start the same file at once, and a third afterwards; a person pauses and resumes it."""

    async def scenario(sheet: Sheet) -> None:
        name = f"twice-{work.bench.runs}"
        await work.started(*[await work.start(sheet, name, rate=_rate(sheet)) for _ in range(2)])
        await work.at(name, 0.1)
        await work.axn("batch", "pause", name, "--reason", "chaos")
        await asyncio.sleep(_PAUSE_S)
        await work.axn("batch", "resume", name)
        await work.kill_workers()
        await work.ended(name)
        await work.started(await work.start(sheet, name, rate=_rate(sheet)))

    await work.run("started twice at once, paused, resumed", work.bench.jobs_per_run, scenario)


async def redis_restarts(work: BatchBench) -> None:
    """Redis is killed while rows are stored, and when half of them have ended."""
    redis = work.system.redis

    async def scenario(sheet: Sheet) -> None:
        name = f"redis-{work.bench.runs}"
        command = await work.start(sheet, name, rate=_rate(sheet))
        await work.until(name, lambda batch: batch.rows > 0, "its first rows are stored")
        for share in (0.0, 0.5):
            if share:
                await work.started(command)
                await work.at(name, share)
            async with work.bench.network_trouble():
                redis.restart_delay_s = work.bench.pick(0.0, 1.0)
                await work.bench.kill(redis)

    await work.run("Redis killed, appendfsync always", work.bench.jobs_per_run, scenario)


async def cancelled(work: BatchBench) -> None:
    """Cancelled in the middle. The rest, by its report, is another batch; or all is started again under its name."""

    async def by_a_new_name(sheet: Sheet) -> None:
        name = await cancel_one(sheet)
        outcomes = [end.partition('"outcome": "')[2].partition('"')[0] for end in await report_of(name)]
        rest = [index for index, outcome in enumerate(outcomes) if not outcome]
        _need(work, rest, "all rows were begun before it was cancelled")
        await work.started(await work.start(sheet, f"{name}-rest", of=rest))
        await work.at(f"{name}-rest", 0.5)
        await work.kill_workers()

    async def by_its_own_name(sheet: Sheet) -> None:
        name = await cancel_one(sheet)
        await work.axn("batch", "rm", name)
        del sheet.batches[name]
        await work.started(await work.start(sheet, name))

    async def cancel_one(sheet: Sheet) -> str:
        name = f"cancelled-{work.bench.runs}"
        await work.started(await work.start(sheet, name, rate=_rate(sheet)))
        await work.at(name, 0.2)
        await work.cancel(sheet, name)
        return name

    async def report_of(name: str) -> list[str]:
        return await work.axn("batch", "report", name, "--format", "jsonl")

    rows = work.bench.jobs_per_run
    await work.run("cancelled, the rest under a new name", rows, by_a_new_name)
    await work.run("cancelled, removed, started again", rows, by_its_own_name)


async def mixed_batches(bench: Bench) -> None:
    """G1."""
    async with batching(bench) as work:
        await bench.system.start_worker("batch-2", "batch")
        chunks = max(1, bench.jobs_per_run // 500)
        stored = [f"batch.stored:{max(1, round(share * chunks))}" for share in SHARES]
        await killed_at(work, ("batch.made", *dict.fromkeys(stored), "batch.sealed"))
        await started_twice(work)
        await redis_restarts(work)
        await cancelled(work)


async def rebinds_killed(work: BatchBench, steps: Sequence[str] = _STEPS) -> None:
    """The worker ends between a rebind's steps, and in them, one life after the other."""
    worker = work.system.workers["batch"]

    async def scenario(sheet: Sheet) -> None:
        name = f"steps-{work.bench.runs}"
        crashes = [_crash(work.bench, step) for step in steps]
        await work.bench.arm(worker, crashes[0])
        worker.following = [{"AXN_STEPS_CRASH": crash} for crash in crashes[1:]]
        deaths = worker.deaths
        await work.started(await work.start(sheet, name, rate=_rate(sheet, _PER_CRASH_S * len(steps))))
        for number in range(len(steps)):
            await work.bench.crashed(worker, deaths + number, _CRASH_WITHIN_S)
        await work.kill_workers()

    await work.run("killed between steps", work.bench.jobs_per_run, scenario, **_REBINDS)


def _crash(bench: Bench, step: str) -> str:
    return f"{step}:{bench.rng.randint(1, 2 if step.startswith('batch') else 12)}"


async def rebinds_unanswered(work: BatchBench) -> None:
    """A share of the answers to both of a rebind's changes is lost, before or after their effect."""

    async def scenario(sheet: Sheet) -> None:
        name = f"answers-{work.bench.runs}"
        async with _spoilt(work.bench):
            await work.started(await work.start(sheet, name, rate=_rate(sheet)))
            await work.at(name, 0.4)
            await work.kill_workers()
            await work.at(name, 0.7)

    await work.run("answers lost", work.bench.jobs_per_run, scenario, **_REBINDS)


@contextlib.asynccontextmanager
async def _spoilt(bench: Bench) -> AsyncIterator[None]:
    share = _SHARE / len(_ANSWERS)
    for action in _CHANGES:
        for answer in _ANSWERS:
            await bench.system.ask_sandbox("POST", "faults", {"action": action, "probability": share, **answer})
    try:
        yield
    finally:
        met = (await bench.system.ask_sandbox("GET", "faults"))["faults"]
        await bench.system.ask_sandbox("DELETE", "faults")
        bench.figures["answers_lost"] = sum(one["applied"] for one in met)
        if not bench.figures["answers_lost"]:
            bench.blame("F0", FAULT, f"no answer was lost in run {bench.runs}")


async def rebinds(bench: Bench) -> None:
    """G2."""
    async with batching(bench) as work:
        await rebinds_killed(work)
        await bench.system.start_worker("batch-2", "batch")
        await rebinds_unanswered(work)


async def in_short(bench: Bench) -> None:
    """Started twice at once, one of them killed while it stores rows, the worker when half of them have ended."""
    async with batching(bench) as work:

        async def scenario(sheet: Sheet) -> None:
            name = f"short-{bench.runs}"
            rate = _rate(sheet, 3)
            first = await work.start(sheet, name, rate=rate, crashes=["batch.stored"])
            second = await work.start(sheet, name, rate=rate)
            await work.at(name, 0.5)
            await work.kill_workers()
            await work.started(first, second)

        await work.run("started twice, killed", bench.jobs_per_run, scenario)


def _rate(sheet: Sheet, seconds: int = _TAKES_S) -> int:
    """So slow that there is a middle in which something can happen."""
    return max(5, sheet.count // seconds)


def _need(work: BatchBench, has_happened: object, what: str) -> None:
    if not has_happened:
        work.bench.blame("F0", FAULT, what)


CELLS = (
    Cell(
        "G1", "batch: start, workers, Redis killed; twice; cancelled", mixed_batches, runs=5, weight=1.5,
        options=options(),
    ),
    Cell("G2", "rebinds killed between steps, answers lost", rebinds, runs=2, weight=1.5, options=options()),
)  # fmt: skip
