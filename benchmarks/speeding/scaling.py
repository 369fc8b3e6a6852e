"""What grows, and with what: the backlog, the number of workers, the timetable. And what a start takes."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pacing.processes import Children
from benchmarks.speeding import ours
from benchmarks.speeding.contestants import CONTESTANTS, Contestant
from benchmarks.speeding.runs import Reading, Stage, await_done, fill, jobs_between, start_producers
from benchmarks.speeding.workers import Workers
from benchmarks.timetable import fill as fill_timetable
from worker import producers
from worker.domain.job import Lane
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

_BATCH = CONTESTANTS["ours-batch"]
_ONE = [ours.worker_command("batch,callback")]
_WARM_UP_S, _MEASURE_S, _IDLE_S = 1.0, 3.0, 4.0
_SINGLES, _MANY = 500, 10_000
_READY = b"axn worker ready"
_PATIENCE_S = 120.0
_POLL_S = 0.01
_STARTS = 3
_A_DAY_MS = 86_400_000

Line = dict[str, Any]


def measure(server: EmbeddedRedis, folder: Path, *, is_quick: bool, latency_ms: int) -> Iterator[Line]:
    """All lines, one after the other."""
    yield from _submits(server, latency_ms)
    for waiting in (1_000, 10_000) if is_quick else (1_000, 10_000, 100_000):
        yield from _backlog(server, folder, waiting, latency_ms)
    for workers in (1, 2):
        yield from _workers(server, folder, workers, 2_000 if is_quick else 5_000, latency_ms)
    for entries in (0, 100_000) if is_quick else (0, 1_000_000):
        yield from _idle(server, folder, entries, latency_ms)
    yield from _starts(server, folder, latency_ms)


def _line(what: str, figure: float, unit: str) -> Line:
    return {"what": what, "figure": figure, "unit": unit, "load": os.getloadavg()[0]}


def _submits(server: EmbeddedRedis, latency_ms: int) -> Iterator[Line]:
    """From this process: what a caller waits, and the CPU it takes of him."""
    with Children() as children:
        stage = Stage(server, children, latency_ms)
        os.environ |= stage.env | ours.ENV
        try:
            producers.submit(ours.request(0, Lane.CHECKOUT, stage.receiver_url))
            took_ms, cpu_s = [], time.process_time()
            for number in range(1, _SINGLES + 1):
                request, began = ours.request(number, Lane.CHECKOUT, stage.receiver_url), time.perf_counter()
                producers.submit(request)
                took_ms.append((time.perf_counter() - began) * 1000)
            yield _line("submit, median", statistics.median(took_ms), "ms")
            yield _line("submit, CPU", (time.process_time() - cpu_s) * 1000 / _SINGLES, "ms")
            numbers = range(_SINGLES + 1, _SINGLES + 1 + _MANY)
            began, cpu_s = time.perf_counter(), time.process_time()
            requests = [ours.request(number, Lane.BATCH, stage.receiver_url) for number in numbers]
            yield _line("making a BindRequest", (time.perf_counter() - began) * 1e6 / _MANY, "µs")
            began, cpu_s = time.perf_counter(), time.process_time()
            producers.submit_many(requests)
            yield _line(f"submit_many of {_MANY:,}", _MANY / (time.perf_counter() - began), "jobs/s")
            yield _line(f"submit_many of {_MANY:,}, CPU", (time.process_time() - cpu_s) * 1e6 / _MANY, "µs/job")
        finally:
            producers.close()


def _backlog(server: EmbeddedRedis, folder: Path, waiting: int, latency_ms: int) -> Iterator[Line]:
    """What a job costs one worker while so many wait; and, of a small backlog worked off, what is kept of a job."""
    with Children() as children:
        stage, before_bytes = _filled(server, children, _BATCH, waiting, latency_ms)
        waiting_bytes = (stage.redis_memory() - before_bytes) / waiting
        with Workers(_ONE, {**stage.env, **ours.ENV}, folder) as workers:
            await_done(stage, workers, 1, within_s=_PATIENCE_S)
            time.sleep(min(_WARM_UP_S, waiting / 5_000))
            before = stage.reading(workers)
            until = before.at + _MEASURE_S
            while time.monotonic() < until and stage.done() < waiting:
                time.sleep(_POLL_S)
            after = stage.reading(workers)
            yield _line(f"{waiting:,} waiting: CPU per job, 1 process", _cpu_ms(before, after), "ms")
            yield _line(f"{waiting:,} waiting: jobs per second, 1 process", _per_second(before, after), "jobs/s")
            yield _line(f"{waiting:,} waiting: Redis, message included", waiting_bytes, "bytes/job")
            if waiting <= _MANY:
                await_done(stage, workers, waiting, within_s=_PATIENCE_S)
                time.sleep(1)  # for the last callbacks' records to go
                yield _line(
                    f"{waiting:,} finished: Redis", (stage.redis_memory() - before_bytes) / waiting, "bytes/job"
                )


def _workers(server: EmbeddedRedis, folder: Path, count: int, jobs: int, latency_ms: int) -> Iterator[Line]:
    with Children() as children:
        stage, _ = _filled(server, children, _BATCH, jobs, latency_ms)
        with Workers(_ONE * count, {**stage.env, **ours.ENV}, folder) as workers:
            await_done(stage, workers, jobs // 10, within_s=_PATIENCE_S)
            before = stage.reading(workers)
            await_done(stage, workers, jobs, within_s=_PATIENCE_S)
            after = stage.reading(workers)
        yield _line(f"batch, {count} worker process(es)", _per_second(before, after), "jobs/s")
        yield _line(f"batch, {count} worker process(es): CPU per job", _cpu_ms(before, after), "ms")


def _idle(server: EmbeddedRedis, folder: Path, entries: int, latency_ms: int) -> Iterator[Line]:
    """A worker with nothing to do, whose timetable holds so many entries of tomorrow."""
    with Children() as children:
        stage = Stage(server, children, latency_ms)
        if entries:
            asyncio.run(_fill_timetable(server, entries))
        with Workers(_ONE, {**stage.env, **ours.ENV}, folder) as workers:
            _await_ready(folder, workers)
            time.sleep(_WARM_UP_S)
            before = stage.reading(workers)
            time.sleep(_IDLE_S)
            after = stage.reading(workers)
        seconds = after.at - before.at
        what = f"idle worker, {entries:,} entries in the timetable"
        yield _line(what, (after.workers_cpu_s - before.workers_cpu_s) / seconds * 1000, "ms CPU/s")
        yield _line(f"{what}: Redis", (after.redis_cpu_s - before.redis_cpu_s) / seconds * 1000, "ms CPU/s")


async def _fill_timetable(server: EmbeddedRedis, entries: int) -> None:
    redis = connect(server.url(), timeout_ms=60_000)
    await fill_timetable(redis, entries, time.time_ns() // 1_000_000 + _A_DAY_MS)
    await redis.aclose()


def _starts(server: EmbeddedRedis, folder: Path, latency_ms: int) -> Iterator[Line]:
    with Children() as children:
        stage = Stage(server, children, latency_ms)
        took_s = []
        for _ in range(_STARTS):
            began = time.perf_counter()
            with Workers(_ONE, {**stage.env, **ours.ENV}, folder) as workers:
                _await_ready(folder, workers)
                took_s.append(time.perf_counter() - began)
        yield _line("start of a worker, until it is ready", statistics.median(took_s), "s")
    for arguments in (["--help"], ["jobs", "--help"]):
        took_s = [_command_s(arguments) for _ in range(_STARTS)]
        yield _line(f"axn {' '.join(arguments)}", statistics.median(took_s), "s")


def _command_s(arguments: Sequence[str]) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "worker.cli", *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - our own command
    return time.perf_counter() - began


def _await_ready(folder: Path, workers: Workers) -> None:
    give_up_at = time.monotonic() + _PATIENCE_S
    while _READY not in (folder / "worker-0.log").read_bytes() and time.monotonic() < give_up_at:
        workers.check()
        time.sleep(_POLL_S)


def _filled(
    server: EmbeddedRedis, children: Children, contestant: Contestant, jobs: int, latency_ms: int
) -> tuple[Stage, int]:
    """A stage with so many jobs that wait; and the bytes that Redis held before."""
    stage = Stage(server, children, latency_ms)
    before_bytes = stage.redis_memory()
    pipes = start_producers(children, contestant, {**stage.env, **ours.ENV}, stage, 2)
    fill(children, pipes, jobs, contestant.per_call)
    children.end(pipes)
    return stage, before_bytes


def _cpu_ms(before: Reading, after: Reading) -> float:
    return (after.workers_cpu_s - before.workers_cpu_s) / jobs_between(before, after) * 1000


def _per_second(before: Reading, after: Reading) -> float:
    return jobs_between(before, after) / (after.at - before.at)
