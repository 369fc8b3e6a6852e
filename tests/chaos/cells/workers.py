"""A: producers and workers die, sleep, and are told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.bench import Bench, Cell
from tests.chaos.checker import FAULT
from tests.chaos.processes import Kept
from tests.chaos.system import LEASE_S

ATTEMPT_STEPS = (
    "attempt.received",
    "attempt.claimed",
    "attempt.sending",
    "attempt.sending+20",
    "attempt.answered",
    "attempt.settled",
    "attempt.done",
)
PRODUCER_STEPS = ("producer.accepting", "producer.filed", "producer.published")
TICK_STEPS = ("tick.taken", "tick.published")
_ONCE_PER_MESSAGE = ("attempt.received", "attempt.done")
_PROVIDER_LATENCY_MS = 50
_KILLS = 3
_LOAD_PER_CRASH_S = 2.5
_KILL_LATENCIES_S = (0.0, 0.002, 0.02)
_GRACE_S = 0.3


async def producer_crashes(bench: Bench, steps: Sequence[str] = PRODUCER_STEPS) -> None:
    """The producer ends at each of its steps; started again it goes on from its history."""

    async def crashed() -> None:
        producer = bench.system.others[-1]
        await bench.until(lambda: producer.deaths > 0, "the producer's crash", within_s=30.0)

    for step in steps:
        crash = f"{step}:{bench.rng.randint(2, max(3, bench.jobs_per_run // 4))}"
        await bench.run(f"crash at {crash}", crashed, first_producer_env={"AXN_STEPS_CRASH": crash})


async def producer_dies(bench: Bench) -> None:
    """The crash points, then SIGKILL at any moment."""

    async def kill_again_and_again() -> None:
        for _ in range(_KILLS):
            producer = bench.system.others[-1]
            producer.send(signal.SIGKILL)
            await bench.sleep(0.3, 1.5)

    await producer_crashes(bench)
    await bench.run("SIGKILL at random", kill_again_and_again)


async def worker_crashes(bench: Bench, steps: Sequence[str] = ATTEMPT_STEPS) -> None:
    """The checkout worker ends at each boundary of an attempt, and 20 ms into a call of 50 ms."""
    for step in steps:
        most = 3 if step in _ONCE_PER_MESSAGE else max(3, bench.jobs_per_run // 8)
        passes = bench.rng.randint(1, most)
        worker, deaths, crash = await _arm(bench, f"{step}:{passes}")
        async with bench.system.provider_fault(kind="latency", latency_ms=_PROVIDER_LATENCY_MS):
            await bench.run(f"crash at {crash}", lambda: bench.crashed(worker, deaths))  # noqa: B023 - awaited here


async def _arm(bench: Bench, crash: str) -> tuple[Kept, int, str]:
    worker = bench.system.workers["checkout"]
    await bench.arm(worker, crash)
    return worker, worker.deaths, crash


async def worker_crashes_in_turn(bench: Bench, steps: Sequence[str]) -> None:
    """The same in one run: each life of the worker is armed for the next step."""
    worker = bench.system.workers["checkout"]

    async def crash_in_turn() -> None:
        for step in (*steps[1:], ""):
            deaths = worker.deaths
            worker.next_env = {"AXN_STEPS_CRASH": f"{step}:{bench.rng.randint(1, 5)}"} if step else {}
            await bench.crashed(worker, deaths)

    await bench.arm(worker, f"{steps[0]}:{bench.rng.randint(1, 5)}")
    async with bench.system.provider_fault(kind="latency", latency_ms=_PROVIDER_LATENCY_MS):
        await bench.run(f"crash at {', '.join(steps)}", crash_in_turn, over_s=_LOAD_PER_CRASH_S * len(steps))


async def workers_killed(bench: Bench, latencies_s: Sequence[float] = _KILL_LATENCIES_S, kills: int = _KILLS) -> None:
    """SIGKILL of either worker at any moment, with 0, 2 and 20 ms on the way to Redis."""
    for latency_s in latencies_s:
        bench.system.redis_way.slow_down(latency_s)
        await bench.run(f"SIGKILL at random, Redis {latency_s * 1000:g} ms away", lambda: _kill_any(bench, kills))
    bench.system.redis_way.slow_down(0)


async def _kill_any(bench: Bench, kills: int) -> None:
    for _ in range(kills):
        await bench.kill(bench.rng.choice(list(bench.system.workers.values())))
        await bench.sleep(0.0, 0.6)


async def worker_dies(bench: Bench) -> None:
    """Crash points and random kills."""
    await worker_crashes(bench)
    await workers_killed(bench)


async def pool_child_dies(bench: Bench) -> None:
    """The same application under Celery's prefork pool; SIGKILL of its children, as an out-of-memory killer does it.

    The pool goes by its other name, `processes`: Celery 5.7 takes `-P prefork` for the default, and then prefers the
    application's own setting, threads.
    """
    system = bench.system
    await system.retire_worker("checkout")
    command = [
        sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-P", "processes", "-c", "2",
        "-Q", "axn.checkout", "-n", "prefork@%h", "--without-gossip", "--without-mingle", "-l", "warning",
    ]  # fmt: skip
    prefork = await system.start_worker("checkout", "checkout", command=command)

    async def kill_children() -> None:
        for _ in range(_KILLS):
            children = _children_of(prefork.pid)
            if not children:
                bench.blame("F0", FAULT, "the prefork worker has no children to kill")
                return
            os.kill(bench.rng.choice(children), signal.SIGKILL)
            await bench.sleep(0.3, 1.0)

    for number in range(bench.cell.runs):
        await bench.run(f"SIGKILL of a pool child, {number + 1}", kill_children)


def _children_of(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(word) for word in found.split()]


async def told_to_stop(bench: Bench) -> None:
    """SIGTERM; SIGTERM and, after a grace too short, SIGKILL; one worker after the other; SIGQUIT."""
    for name, fault in (
        ("SIGTERM", lambda: _signal_both(bench, signal.SIGTERM)),
        ("SIGTERM, then SIGKILL", lambda: _term_then_kill(bench)),
        ("rolling restart", lambda: _roll(bench)),
        ("SIGQUIT", lambda: _signal_both(bench, signal.SIGQUIT)),
    ):
        async with bench.system.provider_fault(kind="latency", latency_ms=200):
            await bench.run(name, fault)


async def _signal_both(bench: Bench, number: signal.Signals) -> None:
    await asyncio.gather(*(bench.kill(worker, number) for worker in bench.system.workers.values()))


async def _term_then_kill(bench: Bench) -> None:
    for worker in bench.system.workers.values():
        deaths = worker.deaths
        worker.send(signal.SIGTERM)
        await asyncio.sleep(_GRACE_S)
        if worker.deaths == deaths:
            worker.send(signal.SIGKILL)
        await bench.ended(worker, deaths, signal.SIGKILL)


async def _roll(bench: Bench) -> None:
    for worker in list(bench.system.workers.values()) * 2:
        await bench.kill(worker, signal.SIGTERM)


async def worker_sleeps(bench: Bench) -> None:
    """SIGSTOP for twice the lease: it wakes as the owner of jobs that others have taken over."""

    async def stop_and_go() -> None:
        worker = bench.system.workers["checkout"]
        async with bench.paused(worker):
            await asyncio.sleep(2 * LEASE_S)

    await bench.system.start_worker("checkout-2", "checkout")
    for number in range(bench.cell.runs):
        async with bench.system.provider_fault(kind="latency", latency_ms=100):
            await bench.run(f"SIGSTOP for 2 leases, {number + 1}", stop_and_go)


async def tickers_die(bench: Bench, steps: Sequence[str] = TICK_STEPS) -> None:
    """Two more processes look at the timetable; messages vanish, and tickers end with what they took in hand."""
    system = bench.system
    extra = [await system.start_worker(f"ticker-{number}", "renewal") for number in (1, 2)]

    async def lose_messages_and_crash() -> None:
        for worker, deaths in armed:
            await system.broker.delete("axn.checkout", "axn.batch")
            await bench.crashed(worker, deaths)

    for step in steps:
        armed = []
        for worker in extra:
            await bench.arm(worker, f"{step}:{bench.rng.randint(2, 12)}")
            armed.append((worker, worker.deaths))
        await bench.run(f"messages lost, tickers crash at {step}", lose_messages_and_crash)


CELLS = (
    Cell("A1", "producer killed at its steps and at random", producer_dies, runs=4),
    Cell("A2", "worker killed at each step and at random", worker_dies, runs=10, weight=2.0),
    Cell("A3", "child of a prefork pool killed", pool_child_dies, runs=2, weight=0.5),
    Cell("A4", "SIGTERM, SIGQUIT, rolling restarts", told_to_stop, runs=4),
    Cell("A5", "worker sleeps for two leases", worker_sleeps, runs=2),
    Cell("A6", "more tickers, killed in the midst", tickers_die, runs=2),
)
