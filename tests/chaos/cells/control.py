"""The negative control: plain Celery under the same kills, judged by the same checker."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from tests.chaos.bench import ALL_END_WITHIN_S, CellResult
from tests.chaos.checker import Evidence, check
from tests.chaos.histories import Record, Submission
from tests.chaos.processes import Kept
from tests.chaos.system import ChaosSystem, SystemOptions

ID, TITLE = "control", "plain Celery: acks_late, no ledger"
_KILLS = 4
_REDIS_LATENCY_S = 0.002
_PER_SECOND = 60.0
_PROVIDER_LATENCY_MS = 100
_KILLED_WITHIN_S = 120.0
_KILL_LOOK_S = 0.01
_QUIET_S = 6.0
_LOOK_S = 0.3


async def play_control(
    *, jobs: int, kills: int = _KILLS, tell: Callable[[str], None], keeps_folder: bool = False
) -> CellResult:
    """Send orders to plain Celery, kill its worker again and again, wait until nothing moves, judge."""
    began = time.monotonic()
    async with ChaosSystem(SystemOptions(numbers=4 * jobs + 100), keeps_folder=keeps_folder) as system:
        system.redis_way.slow_down(_REDIS_LATENCY_S)
        worker = await _start_worker(system)
        tell(f"{ID}: {jobs} jobs, {kills} kills")
        orders = [f"{ID}-{number}" for number in range(jobs)]
        await system.ask_sandbox("POST", "faults", {"kind": "latency", "latency_ms": _PROVIDER_LATENCY_MS})
        async with asyncio.timeout(_KILLED_WITHIN_S):
            submissions, _ = await asyncio.gather(_send(system, orders), _kill(system, worker, kills))
        records = await _until_quiet(system, orders)
        evidence = Evidence(submissions, records, await system.bindings(), bound_ms=round(ALL_END_WITHIN_S * 1000))
        verdict = check(evidence)
        return CellResult(
            ID, TITLE, 1, len(submissions), verdict, verdict.violations, round(time.monotonic() - began, 1),
            folder=str(system.folder) if keeps_folder else "", control=True,
        )  # fmt: skip


async def _start_worker(system: ChaosSystem) -> Kept:
    redis = f"redis://127.0.0.1:{system.redis_way.port}"
    command = [
        sys.executable, "-m", "celery", "-A", "tests.chaos.plain_celery", "worker", "-P", "processes", "-c", "4",
        "--without-gossip", "--without-mingle", "-l", "warning",
    ]  # fmt: skip
    return await system.start_worker(
        "plain", "", command=command, CHAOS_BROKER=f"{redis}/1", CHAOS_RESULTS=f"{redis}/0",
        CHAOS_ENDPOINT=f"http://127.0.0.1:{system.provider_way.port}",
    )  # fmt: skip


async def _send(system: ChaosSystem, orders: Sequence[str]) -> list[Submission]:
    """Accepted means here: Celery's send has returned."""
    os.environ.setdefault("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    from celery import Celery  # noqa: PLC0415 - a client of its own: the worker's module reads the environment at import

    client = Celery("shop", broker=f"redis://127.0.0.1:{system.redis_way.port}/1", set_as_current=False)
    submissions = []
    for number, order in enumerate(orders):
        arguments = [order, f"138{number:08d}"]
        await asyncio.to_thread(client.send_task, "plain.bind", args=arguments, queue="plain", ignore_result=True)
        submissions.append(Submission(order, order, time.time_ns() // 1_000_000))
        await asyncio.sleep(1 / _PER_SECOND)
    client.close()
    return submissions


async def _kill(system: ChaosSystem, worker: Kept, kills: int) -> None:
    """SIGKILL of the worker and its children, each time while a call has had its effect and its task has not ended."""
    for _ in range(kills):
        before = len(await system.bindings())
        while not await _is_call_under_way(system, before):  # noqa: ASYNC110 - the sandbox gives no event
            await asyncio.sleep(_KILL_LOOK_S)
        deaths = worker.deaths
        # The harness sweeps the whole group, as when a machine or a container is gone.
        worker.send(signal.SIGKILL)
        while worker.deaths == deaths:  # noqa: ASYNC110 - another process gives no event
            await asyncio.sleep(_KILL_LOOK_S)
        await worker.wait_ready()


async def _is_call_under_way(system: ChaosSystem, before: int) -> bool:
    bindings = {binding.order for binding in await system.bindings()}
    recorded = {key.removeprefix("plain:") async for key in system.ledger.scan_iter("plain:*")}
    return len(bindings) > before and bool(bindings - recorded)


async def _until_quiet(system: ChaosSystem, orders: Sequence[str]) -> dict[str, Record | None]:
    """The records, once all are there or nothing has changed for a while that is longer than any redelivery takes."""
    deadline = time.monotonic() + ALL_END_WITHIN_S
    seen, changed = -1, time.monotonic()
    while True:
        records = await _records(system.ledger, orders)
        bindings = len(await system.bindings())
        count = sum(record is not None for record in records.values()) + bindings
        if count != seen:
            seen, changed = count, time.monotonic()
        if time.monotonic() - changed > _QUIET_S or time.monotonic() > deadline:
            return records
        await asyncio.sleep(_LOOK_S)


async def _records(redis: Redis, orders: Sequence[str]) -> dict[str, Record | None]:
    async with redis.pipeline(transaction=False) as pipeline:
        for order in orders:
            pipeline.hgetall(f"plain:{order}")
        return {order: Record.from_hash(found) for order, found in zip(orders, await pipeline.execute(), strict=True)}
