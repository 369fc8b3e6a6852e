"""What delivering callbacks costs, what a dead receiver does to the others, and what hostile answers cost.

    python -m benchmarks.callbacks                     about two minutes
    python -m benchmarks.callbacks --quick             under 40 s
    python -m benchmarks.callbacks --dead 20000 --json

One worker process with the project's own wiring (ledger, delivery, guard, signatures), a Redis of its own, and
receivers in a process of theirs, each host an address of 127.0.0.0/8.

  throughput   so many callbacks to ten receivers are due at once. CPU is that of the delivering process, as the system
               counts it; filing and settling the jobs is done before
  beside dead  jobs end at a steady rate; their callbacks go to ten healthy receivers. Delay: from the start of the
               settlement to the arrival. First alone, then while a receiver that answers nothing has so many waiting
  hostile      so many callbacks, each answered by an endless body, bomb, head or chunk. Memory: what the process's
               peak grew by
"""

import argparse
import asyncio
import json
import logging
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.calling.deliveries import file_jobs, owe, pumping, settings_for, webhook_id, worker
from worker.domain.job import Lane
from worker.local.redis_server import EmbeddedRedis, RedisServerError
from worker.redis_scripts import connect
from worker.settings import Settings

_HOSTS = 10
_HOSTILE_HOSTS = 100
_IN_FLIGHT = 64
_PATIENCE_S = 120.0
_STRAGGLERS_S = 20.0
_POLL_S = 0.02
_CODE_FAILED, _CODE_INTERRUPTED = 1, 130


class BenchmarkError(Exception):
    """Nothing was measured, and why."""


@dataclass(frozen=True)
class Figures:
    """All that was measured. Delays in ms; `late` counts callbacks that had not come when the wait was over."""

    callbacks: int
    per_second: float
    cpu_ms: float
    samples: int
    alone_p50_ms: float
    alone_p99_ms: float
    dead_waiting: int
    beside_p50_ms: float
    beside_p99_ms: float
    late: int
    hostile: int
    hostile_s: float
    hostile_cpu_ms: float
    hostile_peak_growth_kib: int


@dataclass(frozen=True)
class Receivers:
    """The receivers' process."""

    ports: dict[str, int]
    http: aiohttp.ClientSession

    def url(self, kind: str, number: int) -> str:
        """Of the receiver of this number: each has an address of its own."""
        block = {"healthy": 1, "dead": 2, "hostile": 3}[kind]
        return f"http://127.0.{block}.{number + 1}:{self.ports[kind]}/axn"

    async def counts(self) -> dict[str, int]:
        """Requests that came so far, by kind of receiver."""
        return await self._get("counts")

    async def arrivals(self) -> dict[str, int]:
        """When each webhook-id came first, Unix ns."""
        return await self._get("arrivals")

    async def _get(self, what: str) -> dict[str, int]:
        async with self.http.get(f"http://127.0.0.1:{self.ports['healthy']}/{what}") as answer:
            found: dict[str, int] = await answer.json()
            return found

    async def until(self, kind: str, count: int) -> None:
        """Wait until so many requests more have come than none."""
        give_up_at = time.monotonic() + _PATIENCE_S
        while (await self.counts())[kind] < count:
            if time.monotonic() > give_up_at:
                raise BenchmarkError(f"only {await self.counts()} came within {_PATIENCE_S:g} s, not {count} {kind}")
            await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def receivers() -> AsyncIterator[Receivers]:
    """In a process that ends with the block, and with this process."""
    command = [sys.executable, "-m", "benchmarks.calling.receivers"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdin is not None  # noqa: S101 - both were asked for
    assert process.stdout is not None  # noqa: S101
    try:
        line = await process.stdout.readline()
        if not line:
            raise BenchmarkError("the receivers' process ended at its start")
        async with aiohttp.ClientSession() as http:
            yield Receivers(json.loads(line), http)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


async def throughput(settings: Settings, to: Receivers, count: int) -> tuple[float, float]:
    """Deliveries per second, and ms of CPU each."""
    await owe(settings, count, lambda number: to.url("healthy", number % _HOSTS))
    before = (await to.counts())["healthy"]
    async with worker(settings) as services:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        async with pumping(services):
            await to.until("healthy", before + count)
            took_s, took_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    return count / took_s, took_cpu_s * 1000 / count


async def delays_ms(settings: Settings, to: Receivers, *, rate: float, seconds: float) -> tuple[list[float], int]:
    """How long each callback took from its job's settlement to its arrival, and how many never came."""
    count = max(round(rate * seconds), 1)
    began_ns: dict[str, int] = {}
    async with worker(settings) as services:
        job_ids = await file_jobs(services, count, lambda number: to.url("healthy", number % _HOSTS))
        async with pumping(services), asyncio.TaskGroup() as attempts:
            # What waits for the dead receiver is taken up first.
            await asyncio.sleep(min(1.0, seconds))
            begin_s = time.perf_counter()
            for number, job_id in enumerate(job_ids):
                await asyncio.sleep(begin_s + number / rate - time.perf_counter())
                began_ns[webhook_id(job_id)] = time.time_ns()
                attempts.create_task(services.attempts.attempt(Lane.BATCH, job_id))
            arrivals = await _arrivals_of(to, set(began_ns))
    return [(arrivals[id_] - began) / 1e6 for id_, began in began_ns.items() if id_ in arrivals], len(
        set(began_ns) - set(arrivals)
    )


async def _arrivals_of(to: Receivers, wanted: set[str]) -> dict[str, int]:
    give_up_at = time.monotonic() + _STRAGGLERS_S
    while True:
        arrivals = await to.arrivals()
        if wanted <= arrivals.keys() or time.monotonic() > give_up_at:
            return arrivals
        await asyncio.sleep(0.1)


async def hostile(settings: Settings, to: Receivers, count: int) -> tuple[float, float, int]:
    """Seconds, ms of CPU per answer, and KiB by which the peak memory grew."""
    await owe(settings, count, lambda number: to.url("hostile", number % _HOSTILE_HOSTS))
    async with worker(settings) as services:
        peak = _PeakMemory()
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        async with pumping(services):
            await to.until("hostile", count)
            await asyncio.sleep(settings.callback_timeout.total_seconds())
            took_s, took_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    return took_s, took_cpu_s * 1000 / count, peak.growth_kib()


class _PeakMemory:
    """The peak of this process's memory from now on, as Linux counts it; 0 elsewhere."""

    def __init__(self) -> None:
        with suppress(OSError):  # not Linux, or not allowed: the peak counts from the process's start
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before_kib = self._field("VmRSS")

    def growth_kib(self) -> int:
        return max(self._field("VmHWM") - self._before_kib, 0)

    @staticmethod
    def _field(name: str) -> int:
        try:
            status = Path("/proc/self/status").read_text(encoding="ascii")
        except OSError:
            return 0
        return int(status.split(f"{name}:")[1].split()[0])


async def measure(redis_url: str, asked: argparse.Namespace) -> Figures:
    """All three, each on an empty Redis."""
    redis = connect(redis_url, timeout_ms=60_000)
    patient = settings_for(redis_url, timeout_s=15, in_flight=_IN_FLIGHT)
    hasty = settings_for(redis_url, timeout_s=asked.hostile_timeout_s, in_flight=_IN_FLIGHT)
    async with receivers() as to:
        await redis.flushall()
        per_second, cpu_ms = await throughput(patient, to, asked.callbacks)
        await redis.flushall()
        alone, late = await delays_ms(patient, to, rate=asked.rate, seconds=asked.seconds)
        await redis.flushall()
        await owe(patient, asked.dead, lambda _: to.url("dead", 0))
        beside, late_beside = await delays_ms(patient, to, rate=asked.rate, seconds=asked.seconds)
        await redis.flushall()
        hostile_s, hostile_cpu_ms, growth_kib = await hostile(hasty, to, asked.hostile)
    await redis.aclose()
    return Figures(
        callbacks=asked.callbacks,
        per_second=round(per_second, 1),
        cpu_ms=round(cpu_ms, 3),
        samples=len(beside),
        alone_p50_ms=_share(alone, 0.5),
        alone_p99_ms=_share(alone, 0.99),
        dead_waiting=asked.dead,
        beside_p50_ms=_share(beside, 0.5),
        beside_p99_ms=_share(beside, 0.99),
        late=late + late_beside,
        hostile=asked.hostile,
        hostile_s=round(hostile_s, 1),
        hostile_cpu_ms=round(hostile_cpu_ms, 3),
        hostile_peak_growth_kib=growth_kib,
    )


def _share(delays: list[float], share: float) -> float:
    if len(delays) < 2:  # noqa: PLR2004 - no quantile of fewer
        return round(delays[0], 1) if delays else 0.0
    return round(statistics.quantiles(delays, n=1000, method="inclusive")[round(share * 1000) - 1], 1)


def _text(got: Figures) -> str:
    late = f", {got.late} NEVER CAME" if got.late else ""
    lines = (
        ("throughput", f"{got.per_second:,.0f} callbacks/s, {got.cpu_ms:.2f} ms of CPU each ({got.callbacks:,})"),
        ("alone", f"p50 {got.alone_p50_ms:.1f} ms, p99 {got.alone_p99_ms:.1f} ms ({got.samples:,} samples)"),
        ("beside dead", f"p50 {got.beside_p50_ms:.1f} ms, p99 {got.beside_p99_ms:.1f} ms{late}"),
        ("", f"while {got.dead_waiting:,} wait for a receiver that answers nothing"),
        ("hostile", f"{got.hostile:,} answers in {got.hostile_s:.1f} s, {got.hostile_cpu_ms:.2f} ms of CPU each"),
        ("", f"peak memory +{got.hostile_peak_growth_kib / 1024:.1f} MiB"),
    )
    return "\n".join(f"{name:<12} {text}" for name, text in lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.callbacks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer of everything, where not said otherwise")
    parser.add_argument("--callbacks", type=_count, help="for the throughput; default 20000, quick 2000")
    parser.add_argument("--rate", type=_count, default=100, help="jobs that end per second; default 100")
    parser.add_argument("--seconds", type=_positive, help="for how long, twice; default 20, quick 4")
    parser.add_argument("--dead", type=_count, help="waiting for the dead receiver; default 10000, quick 1000")
    parser.add_argument("--hostile", type=_count, help="hostile answers; default 1000, quick 400")
    parser.add_argument("--hostile-timeout-s", type=_positive, default=2.0, help="of each hostile try; default 2")
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object")
    asked = parser.parse_args()
    defaults = (2_000, 4.0, 1_000, 400) if asked.quick else (20_000, 20.0, 10_000, 1_000)
    for name, default in zip(("callbacks", "seconds", "dead", "hostile"), defaults, strict=True):
        if getattr(asked, name) is None:
            setattr(asked, name, default)
    return asked


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"write a whole number above 0, not {text!r}")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"write a number above 0, not {text!r}")
    return number


def main() -> None:
    """The command."""
    asked = _arguments()
    logging.disable(logging.CRITICAL)  # each failed try would be a line
    try:
        # Nothing depends on its file: it is gone at the end.
        with EmbeddedRedis(appendfsync="no", options={"appendonly": "no"}) as server:
            got = uvloop.run(measure(server.url(), asked))
    except (BenchmarkError, RedisServerError) as failed:
        sys.stderr.write(f"{failed}\n")
        sys.exit(_CODE_FAILED)
    except KeyboardInterrupt:
        sys.exit(_CODE_INTERRUPTED)
    print(json.dumps(asdict(got)) if asked.as_json else _text(got))  # noqa: T201


if __name__ == "__main__":
    main()
