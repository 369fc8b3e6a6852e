"""One run: a provider with a true limit, a contestant's processes, and what became of their calls."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, get_args

from redis import Redis

from benchmarks.pacing import contestants, plain_celery, provider
from benchmarks.pacing.contestants import LoopContestant
from benchmarks.pacing.demand import Demand, Timing, Told
from benchmarks.pacing.figures import Figures, figures
from benchmarks.pacing.processes import Children
from benchmarks.pacing.provider import Arrivals, Plan
from benchmarks.pacing.wire import Address
from worker.local.redis_server import EmbeddedRedis

Contestant = Literal[LoopContestant, "celery-share", "celery-single", "celery-whole"]
CONTESTANTS: tuple[Contestant, ...] = (
    "pace", "pace-unknown", "pyrate", "celery-share", "celery-single", "celery-whole", "timers",
)  # fmt: skip

_MOST_FOR_SANDBOX = 500
"""Per second: more, and sandbox and callers together would want more than two cores."""
_HEAD_START_S = 0.2
_LAST_ANSWERS_S = 0.2


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table."""

    contestant: Contestant
    processes: int
    per_second: int

    @property
    def provider(self) -> provider.Kind:
        """Who plays the provider."""
        return "sandbox" if self.per_second <= _MOST_FOR_SANDBOX else "counter"


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of a run, in seconds; how long who does not know the limit may look for it, and how long is measured."""

    warm_up_s: float
    search_s: float
    measure_s: float

    def of(self, cell: Cell) -> tuple[float, float]:
        """Until the measuring begins, and its length."""
        return (self.search_s if cell.contestant == "pace-unknown" else self.warm_up_s), self.measure_s


@dataclass(frozen=True, slots=True)
class Ran:
    """What was noted in one run; unix_ahead_s leads from the processes' clock to the provider's."""

    timing: Timing
    unix_ahead_s: float
    arrivals: Arrivals
    told: Sequence[Told]
    redis_cpu_s: float


def run_cell(cell: Cell, server: EmbeddedRedis, lengths: Lengths, *, latency_ms: int, seed: int) -> Figures:
    """Run it once."""
    demand = Demand(cell.per_second, cell.processes, seed)
    plan = Plan(cell.provider, cell.per_second, latency_ms)
    warm_up_s, measure_s = lengths.of(cell)
    ran = run(cell.contestant, plan, demand, server, warm_up_s=warm_up_s, measure_s=measure_s)
    return figures(
        limit=cell.per_second,
        wanted=demand.wanted_per_second,
        timing=ran.timing,
        unix_ahead_s=ran.unix_ahead_s,
        arrivals=ran.arrivals,
        told=ran.told,
        redis_cpu_s=ran.redis_cpu_s,
        load=os.getloadavg()[0],
    )


def run(
    contestant: Contestant,
    plan: Plan,
    demand: Demand,
    server: EmbeddedRedis,
    *,
    warm_up_s: float,
    measure_s: float,
    changes: Sequence[tuple[float, int]] = (),
) -> Ran:
    """Run a contestant; changes are seconds after the measuring begins, and the provider's limit from then on."""
    with Redis.from_url(server.url()) as redis, Children() as children:
        redis.flushall()
        at_provider = children.start(provider.run, plan)
        address = Address(children.hear(at_provider), is_signed=plan.kind == "sandbox")
        processes, feeder = _start(children, contestant, server, address, demand)
        everybody = [*processes, *([feeder] if feeder else [])]
        for pipe in everybody:
            children.hear(pipe)
        timing, unix_ahead_s = _timing(warm_up_s, measure_s, from_full_second=bool(changes))
        for pipe in everybody:
            pipe.send(timing)
        redis_cpu_s = _watch(redis, at_provider, timing, changes)
        told: list[Told] = [children.hear(pipe) for pipe in processes]
        if feeder:
            served = {due for each in told for due, _ in each.waits}
            told[0].unserved = [due for due in children.hear(feeder) if due not in served]
        children.end(everybody)
        # Its answers take their time, and only then are the calls counted as done.
        time.sleep(_LAST_ANSWERS_S)
        at_provider.send(None)
        return Ran(timing, unix_ahead_s, children.hear(at_provider), told, redis_cpu_s)


def _start(
    children: Children, contestant: Contestant, server: EmbeddedRedis, address: Address, demand: Demand
) -> tuple[list[Connection], Connection | None]:
    if contestant in get_args(LoopContestant):
        jobs = [
            contestants.Job(contestant, index, server.url(), address, demand)  # type: ignore[arg-type] # just seen
            for index in range(demand.processes)
        ]
        return [children.start(contestants.run, job) for job in jobs], None
    per_worker = demand.per_second / (1 if contestant == "celery-whole" else demand.processes)
    threads = 1 if contestant == "celery-single" else plain_celery.enough_threads(per_worker)
    broker_url = server.broker_url()
    feeder = children.start(plain_celery.run_feeder, broker_url, server.url(), demand)
    parts = [
        plain_celery.Job(index, per_worker, threads, broker_url, address, demand) for index in range(demand.processes)
    ]
    return [children.start(plain_celery.run_worker, part) for part in parts], feeder


def _timing(warm_up_s: float, measure_s: float, *, from_full_second: bool) -> tuple[Timing, float]:
    """From soon on, or from a full second of the provider's clock: then its calendar seconds are whole."""
    unix_ahead_s = time.time() - time.monotonic()
    begins_at = time.time() + _HEAD_START_S
    begin = (math.ceil(begins_at) if from_full_second else begins_at) - unix_ahead_s
    return Timing(begin, begin + warm_up_s, begin + warm_up_s + measure_s), unix_ahead_s


def _watch(redis: Any, at_provider: Connection, timing: Timing, changes: Sequence[tuple[float, int]]) -> float:
    _sleep_until(timing.measure_from)
    before_s = _redis_cpu_s(redis)
    at_provider.send(provider.MARK)
    for after_s, per_second in changes:
        _sleep_until(timing.measure_from + after_s)
        at_provider.send(per_second)
    _sleep_until(timing.measure_until)
    at_provider.send(provider.MARK)
    return _redis_cpu_s(redis) - before_s


def _redis_cpu_s(redis: Any) -> float:
    used: dict[str, float] = redis.info("cpu")
    return used["used_cpu_user"] + used["used_cpu_sys"]


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))
