"""What a batch costs: rows fed and drained per second, memory of a row and of the worker, and checkout beside it.

    python -m benchmarks.batches --rows 100000
    python -m benchmarks.batches --rows 1000000 --checkout 50 --per-second 2000

On a Redis of its own. One process feeds the batch and works on its jobs, with everything real but Celery (what would be
published goes to the attempts at once) and the provider, which binds without delay. With --checkout another process
submits so many jobs a second of the checkout lane and works on them, by the same pace.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from benchmarks.batch_input import _binds, _moves
from worker.attempt.attempt import ACTIONS, AttemptRules, Attempts
from worker.attempt.binding_effects import BindingEffects
from worker.attempt.decisions import RetryRules
from worker.attempt.found_bindings import FoundBindingsDesk
from worker.attempt.leases import Leases
from worker.attempt.paced_provider import PacedProvider
from worker.attempt.replacements import RecordedReplacements
from worker.attempt.stopping import Stop
from worker.batches.assembly import build_batches, build_feeder
from worker.batches.operations import Operation
from worker.batches.raw_rows import RawRow
from worker.batches.row_codec import RowCodec
from worker.batches.row_rules import RowRules
from worker.callbacks.guard import ReceiverRules
from worker.clock import SystemClock
from worker.domain.batch import BatchOptions, batch_id_for_name
from worker.domain.bind_request import BindRequest
from worker.domain.job import DoubtProbe, Lane
from worker.domain.outcome import Outcome, Verdict
from worker.intake.acceptance import Acceptance, AcceptanceRules
from worker.intake.naming import NamedBindings
from worker.ledger.batch_records import CHUNK_ROWS
from worker.ledger.batch_rows import counts_key, outcomes_key
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.bindings import BindingLedger
from worker.ledger.callback_records import CallbackClaim
from worker.ledger.callback_secrets import CallbackSecrets
from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.ledger import Ledger
from worker.local.redis_server import EmbeddedRedis
from worker.pace.concurrency import InFlight
from worker.pace.keys import PaceKeys
from worker.pace.pace import Pace
from worker.pace.rules import PaceRules
from worker.progress import Progress
from worker.redis_scripts import connect

LEASE_MS = 20_000
SECOND_MS = 1_000
IN_FLIGHT = 64
LOOK_S = 0.25
ALONE_S = 15
SHARES = (0.1, 0.5, 0.9)
ID = batch_id_for_name("benchmark")
ACCEPTANCE = Acceptance(AcceptanceRules("FC1", timedelta(seconds=60), ReceiverRules()), SystemClock())


class NoDelay:
    """A provider that binds at once."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:  # noqa: ARG002
        number = next(self._numbers)
        bound = {"SubsId": str(1_000_000_000_000_000 + number), "SecretNo": str(17_000_000_000 + number)}
        return Outcome(Verdict.DONE, "OK", "OK", "request", 200, answer={"SecretBindDTO": bound})


class NoCourier:
    """No job here owes a callback."""

    def reserve(self, host: str, *, is_checkout: bool) -> str:
        raise AssertionError(host, is_checkout)

    def start(self, claim: CallbackClaim) -> None:
        raise AssertionError(claim)

    def release(self, host: str) -> None:
        raise AssertionError(host)


def attempts_on(redis: Redis, ledger: Ledger, per_second: float) -> Attempts:
    """One worker's attempts, without delay at the provider."""
    clock = SystemClock()
    rules = PaceRules(per_second, {Lane.CHECKOUT: 50_000, Lane.BATCH: 30_000})
    in_flight = InFlight(IN_FLIGHT * 2, clock)
    paces = {
        action: Pace(redis, keys=PaceKeys("a", action, "endpoint"), rules=rules, in_flight=in_flight, clock=clock)
        for action in ACTIONS.values()
    }
    retry = RetryRules(
        base_ms=100, cap_ms=1_000, slow_base_ms=1_000, slow_cap_ms=10_000, attempts=2, probe_after_ms=1_000,
        probe_window_ms=600_000, doubt_probe=DoubtProbe.NONCE, read_lag_ms=20_000,
    )  # fmt: skip
    return Attempts(
        ledger=ledger,
        provider=PacedProvider(NoDelay(), paces, 2_000, clock),
        bindings=BindingQueue(redis, ttl_ms=60_000),
        effects=BindingEffects(bindings_on(redis)),
        replacements=RecordedReplacements(bindings_on(redis)),
        courier=NoCourier(),
        found_bindings=FoundBindingsDesk(ledger, clock, LEASE_MS),
        rules=AttemptRules(LEASE_MS, 10_000, 7_000, timedelta(seconds=60), retry),
        clock=clock,
        slots=asyncio.Semaphore(IN_FLIGHT),
        leases=Leases(ledger, lease_ms=LEASE_MS, clock=clock),
        progress=Progress(),
        stop=Stop(),
    )


def bindings_on(redis: Redis) -> BindingLedger:
    """What is known of the bindings: by orders, where rows name those."""
    return BindingLedger(redis, keep_ms=SECOND_MS, result_ttl_ms=SECOND_MS)


def ledger_on(redis: Redis, ttl_s: int) -> Ledger:
    """Records of jobs that bound stay, as their bindings'; others go after so long."""
    return Ledger(redis, result_ttl_ms=ttl_s * SECOND_MS, first_look_ms=10_000)


class AtOnce:
    """What would be published is worked on at once, in this process."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._under_way: set[asyncio.Task[Any]] = set()

    async def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        """Begin to work on them."""
        task = asyncio.create_task(self._attempts.work_on(lane, list(ids), published_at_ms=published_at_ms))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return True


def work_on_batch(url: str, per_second: float, ttl_s: int) -> None:
    """A process: feeds, and works on what it has fed."""

    async def run() -> None:
        redis = connect(url, timeout_ms=5_000)
        ledger = ledger_on(redis, ttl_s)
        attempts = attempts_on(redis, ledger, per_second)
        feeder = build_feeder(
            redis,
            ledger,
            ACCEPTANCE,
            bindings=NamedBindings(ledger, bindings_on(redis)),
            secrets=CallbackSecrets(redis),
            announcer=AtOnce(attempts),  # type: ignore[arg-type]
            clock=SystemClock(),
            give_up_ms=60_000,
        )
        feeder.feed([f"%{ID}"])
        await attempts.leases.run()

    import uvloop  # noqa: PLC0415

    uvloop.run(run())


def work_on_checkout(url: str, per_second: float, ttl_s: int, rate: float, told: str) -> None:
    """A process: submits and binds at a steady rate, until it is told to end; then writes its waits, ms."""
    waits: list[float] = []
    ended = asyncio.Event()

    async def one(ledger: Ledger, attempts: Attempts, number: int) -> None:
        began_s = time.perf_counter()
        request = BindRequest(phone_no_a=str(13_900_000_000 + number), expires_in="2h")
        job = ACCEPTANCE.job_of(request)
        await ledger.open(job)
        assert await attempts.attempt(Lane.CHECKOUT, job.job_id) == "bound"  # noqa: S101 - else the figure is none
        waits.append((time.perf_counter() - began_s) * 1000)

    async def run() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        redis = connect(url, timeout_ms=5_000)
        ledger = ledger_on(redis, ttl_s)
        attempts = attempts_on(redis, ledger, per_second)
        began_s = time.perf_counter()
        jobs = set()
        for number in itertools.count():
            await asyncio.sleep(max(began_s + number / rate - time.perf_counter(), 0))
            if ended.is_set():
                break
            jobs.add(asyncio.create_task(one(ledger, attempts, number)))
        await asyncio.gather(*jobs)
        await redis.aclose()

    import uvloop  # noqa: PLC0415

    uvloop.run(run())
    Path(told).write_text(json.dumps(waits), encoding="ascii")


def rss_mb(pid: int) -> float:
    """What a process holds in memory now."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def cpu_s(pid: int) -> float:
    """What a process has used of a processor."""
    used = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")


async def used_bytes(redis: Redis) -> int:
    """What the server's data take."""
    return int((await redis.info("memory"))["used_memory"])


async def upload(redis: Redis, kind: str, rows: int, options: BatchOptions) -> float:
    """Put the rows. Returns bytes per waiting row."""
    batches, rules = build_batches(redis), RowRules(ACCEPTANCE, None if kind == "moves" else Operation.BIND)
    before = await used_bytes(redis)
    await batches.create(ID, "benchmark", options, "benchmark")
    given = _moves(rows) if kind == "moves" else _binds(rows)
    names = next(given)
    texts = (
        RowCodec.text_of(rules.row_of(RawRow(line, dict(zip(names, cells, strict=True)), ())))
        for line, cells in enumerate(given, 2)
    )
    for number in itertools.count():
        chunk = list(itertools.islice(texts, CHUNK_ROWS))
        if not chunk:
            break
        await batches.put_chunk(ID, number, chunk)
    return (await used_bytes(redis) - before) / rows


async def bytes_per_outcome(redis: Redis, rows: int) -> float:
    """Of a finished row, by some of the chunks and the counts."""
    client: Any = redis
    chunks = -(-rows // CHUNK_ROWS)
    some = range(0, chunks, max(chunks // 20, 1))
    counts = sum([await client.memory_usage(counts_key(one, ID), samples=0) or 0 for one in ALL_PARTITIONS])
    total = 0
    for chunk in some:
        for partition in ALL_PARTITIONS:
            total += await client.memory_usage(outcomes_key(partition, ID, chunk), samples=0) or 0
    of_some = sum(min(CHUNK_ROWS, rows - chunk * CHUNK_ROWS) for chunk in some)
    return float(total / of_some + counts / rows)


async def watch(redis: Redis, pid: int, rows: int) -> tuple[float, dict[float, float]]:
    """Until all rows have ended. Returns how long it took, and the worker's memory on the way, MB by share of rows."""
    batches, began_s, at = build_batches(redis), time.perf_counter(), dict[float, float]()
    while True:
        batch = await batches.read(ID)
        for share in SHARES:
            if share not in at and batch.ended >= share * rows:
                at[share] = rss_mb(pid)
        if batch.state.is_end or batch.reason:
            break
        if sys.stderr.isatty():
            print(f"\r{batch.ended:,} of {rows:,}", end="", file=sys.stderr, flush=True)  # noqa: T201
        await asyncio.sleep(LOOK_S)
    if batch.by_state not in ({"bound": rows}, {"updated": rows}):
        raise SystemExit(f"not all rows were done: {batch}")
    return time.perf_counter() - began_s, at


def checkout_ms(told: str) -> dict[str, Any]:
    """From a job's submission to its end."""
    waits = json.loads(Path(told).read_text(encoding="ascii"))
    cuts = statistics.quantiles(waits, n=100)
    return {"jobs": len(waits), "p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


@contextlib.contextmanager
def checkout(asked: argparse.Namespace, url: str) -> Iterator[str]:
    """A process of checkout, if one is wanted, while the block lasts; the file of its waits."""
    told = f"{asked.folder}/waits.json"
    process = multiprocessing.get_context("spawn").Process(
        target=work_on_checkout, args=(url, asked.per_second, asked.result_ttl, asked.checkout, told)
    )
    if asked.checkout:
        process.start()
    try:
        yield told
    finally:
        if asked.checkout:
            process.terminate()
            process.join()


async def measure(asked: argparse.Namespace, url: str) -> dict[str, Any]:
    """All figures."""
    redis = connect(url, timeout_ms=5_000)
    figures: dict[str, Any] = {"rows": asked.rows}
    with checkout(asked, url) as told:
        await asyncio.sleep(ALONE_S if asked.checkout else 0)
    if asked.checkout:
        figures["checkout_alone_ms"] = checkout_ms(told)
    began_s = time.perf_counter()
    waiting = await upload(redis, asked.kind, asked.rows, BatchOptions(window=asked.window))
    figures["upload_s"] = round(time.perf_counter() - began_s, 1)
    await build_batches(redis).seal(ID, asked.rows)
    worker = multiprocessing.get_context("spawn").Process(
        target=work_on_batch, args=(url, asked.per_second, asked.result_ttl)
    )
    worker.start()
    assert worker.pid is not None  # noqa: S101 - it was started
    try:
        with checkout(asked, url) as told:
            took_s, at = await watch(redis, worker.pid, asked.rows)
        figures |= {
            "bytes_per_waiting_row": round(waiting, 1),
            "bytes_per_finished_row": round(await bytes_per_outcome(redis, asked.rows), 1),
            "drain_s": round(took_s, 1),
            "rows_per_s": round(asked.rows / took_s),
            "worker_cpu_ms_per_row": round(cpu_s(worker.pid) * 1000 / asked.rows, 3),
            "worker_rss_mb": {f"{share:.0%}": round(mb) for share, mb in at.items()},
        }
    finally:
        worker.terminate()
        worker.join()
        await redis.aclose()
    return figures | ({"checkout_beside_ms": checkout_ms(told)} if asked.checkout else {})


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument(
        "--kind",
        choices=("binds", "moves"),
        default="binds",
        help="what the rows ask for; records of binds stay in Redis, a million of them takes a gigabyte",
    )
    parser.add_argument("--window", type=int, default=BatchOptions().window)
    parser.add_argument("--per-second", type=float, default=100_000, help="the pace's rate, all lanes together")
    parser.add_argument("--checkout", type=float, default=0, help="jobs per second of the checkout lane beside it")
    parser.add_argument("--result-ttl", type=int, default=60, help="seconds that finished jobs' records stay")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    asked = parser.parse_args()
    with EmbeddedRedis() as server:
        asked.folder = os.fspath(Path(server.url(0).removeprefix("unix://").partition("?")[0]).parent)
        figures = asyncio.run(measure(asked, server.url(0)))
    if asked.json:
        print(json.dumps(figures))  # noqa: T201
        return
    for name, value in figures.items():
        print(f"{name:24} {value}")  # noqa: T201


if __name__ == "__main__":
    main()
