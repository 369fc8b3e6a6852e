"""One run of one contestant.

A backlog is filled; what working it off takes is measured; then jobs come at half of that rate, and each is timed.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from redis import Redis

from benchmarks.pacing.figures import percentile
from benchmarks.pacing.processes import Children
from benchmarks.speeding import producing, servers
from benchmarks.speeding.contestants import Contestant
from benchmarks.speeding.figures import Figures
from benchmarks.speeding.workers import Workers, WorkersError
from worker.ledger.keys import job_keys
from worker.local.redis_server import EmbeddedRedis

_POLL_S = 0.02
_SETTLE_S = 0.3
_PATIENCE_S = 60.0
_FILL_WITHIN_S = 90.0
_LAST_S = 10.0
_FIRST_WITHIN_S = 30.0
_MOST_FOR_WARM_UP = 0.2
_FIRST_LOADED = 10**8
_LOADED_PER_PRODUCER = 10**6
_MS = 1_000


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of a run, in seconds.

    Attributes:
        warm_up_s: from the first call at the provider on.
        measure_s: from then until the backlog is bound and called back to the last job: about so long, by how many
            jobs wait at first. Who makes its own jobs is measured for so long.
        load_s: at half of the load that was measured; 0: not at all.
    """

    warm_up_s: float
    measure_s: float
    load_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What all contestants meet alike.

    Attributes:
        producers: processes that submit.
        jobs: that wait when the workers start; 0: as many as the contestant will need.
    """

    lengths: Lengths
    producers: int
    latency_ms: int
    seed: int
    jobs: int = 0

    def backlog(self, contestant: Contestant) -> int:
        """How many jobs wait when its workers start."""
        likely = contestant.jobs_per_second * (self.lengths.warm_up_s + self.lengths.measure_s)
        return self.jobs or round(likely / contestant.per_call + 1) * contestant.per_call


@dataclass(frozen=True, slots=True)
class Reading:
    """What stands on all counters at one instant."""

    at: float
    bound: int
    called_back: int
    workers_cpu_s: float
    provider_cpu_s: float
    receiver_cpu_s: float
    redis_cpu_s: float
    redis_bytes: int
    redis_commands: int


@dataclass(frozen=True, slots=True)
class Waits:
    """Of the jobs under load: from the beginning of `submit`, without the provider's latency; ms.

    Attributes:
        callback_ms: until the callback with X has arrived.
        x_ms: until X stands in Redis, up to the next whole millisecond; of builds that tell it.
    """

    callback_ms: Sequence[float] = ()
    x_ms: Sequence[float] = ()


class Stage:
    """Redis, provider and receiver, and how they are asked."""

    def __init__(self, server: EmbeddedRedis, children: Children, latency_ms: int) -> None:
        self._redis: Any = Redis.from_url(server.url())
        self._redis.flushall()
        self._redis.config_resetstat()
        self._children = children
        self.provider = children.start(servers.run_provider, latency_ms)
        self.receiver = children.start(servers.run_receiver)
        self.provider_url = f"http://127.0.0.1:{children.hear(self.provider)}/"
        self.receiver_url = f"http://127.0.0.1:{children.hear(self.receiver)}/axn"
        self.env = {
            "BENCH_REDIS": server.url(),
            "BENCH_BROKER": server.broker_url(0),
            "BENCH_RESULTS": server.broker_url(1),
            "BENCH_PROVIDER": self.provider_url,
            "BENCH_RECEIVER": self.receiver_url,
            "AXN_REDIS_URL": server.url(),
            "AXN_ENDPOINT": self.provider_url.rstrip("/"),
        }

    def asked(self, pipe: Connection, what: str) -> Any:
        """What a server tells."""
        pipe.send(what)
        return self._children.hear(pipe)

    def done(self) -> int:
        """Jobs whose callback has come."""
        count: int = self.asked(self.receiver, servers.COUNT)[0]
        return count

    def bound(self) -> int:
        """Jobs that came to the provider."""
        count: int = self.asked(self.provider, servers.COUNT)[0]
        return count

    def ended_at_ms(self, job_ids: Sequence[str]) -> list[int]:
        """When our jobs of these ids ended, Unix ms by Redis's clock."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hget(job_keys(job_id).job, "finished_at")
        return [int(at_ms) for at_ms in pipeline.execute()]

    def redis_memory(self) -> int:
        """Bytes in use, without what clients and the append-only file's buffer hold for a moment."""
        time.sleep(_SETTLE_S)
        told = self._redis.info("memory")
        buffers = told["mem_clients_normal"] + told["mem_aof_buffer"]
        used: int = told["used_memory"] - buffers
        return used

    def reading(self, workers: Workers) -> Reading:
        """All counters, now."""
        called_back, _, receiver_cpu_s = self.asked(self.receiver, servers.COUNT)
        bound, _, provider_cpu_s = self.asked(self.provider, servers.COUNT)
        at, workers_cpu_s = time.monotonic(), workers.cpu_s()
        told = self._redis.info()
        return Reading(
            at, bound, called_back, workers_cpu_s, provider_cpu_s, receiver_cpu_s,
            told["used_cpu_user"] + told["used_cpu_sys"],
            told["total_net_input_bytes"] + told["total_net_output_bytes"], told["total_commands_processed"],
        )  # fmt: skip


def run(contestant: Contestant, plan: Plan, server: EmbeddedRedis, folder: Path) -> Figures:
    """Run it once.

    Raises:
        WorkersError, ChildError: something ended, or did nothing; with what it said last.
    """
    with Children() as children:
        stage = Stage(server, children, plan.latency_ms)
        env = {**stage.env, **contestant.env}
        count = plan.backlog(contestant) if contestant.submit else 0
        producers = start_producers(children, contestant, env, stage, plan.producers) if count else []
        fill(children, producers, count, contestant.per_call)
        with Workers(contestant.commands, env, folder) as workers:
            before, after = _measure(stage, workers, plan.lengths, count)
            rss_mib, pss_mib = workers.memory_mib()
            waits = Waits()
            if contestant.is_checkout and plan.lengths.load_s:
                per_second = jobs_between(before, after) / (after.at - before.at)
                waits = _load(stage, children, producers, plan, per_second / 2)
        return _figures(before, after, rss_mib, pss_mib, waits)


def start_producers(
    children: Children, contestant: Contestant, env: Mapping[str, str], stage: Stage, count: int
) -> list[Connection]:
    """Processes that submit what they are told to."""
    return [children.start(producing.run, contestant.name, env, stage.receiver_url) for _ in range(count)]


def fill(children: Children, producers: list[Connection], count: int, per_call: int = 1) -> None:
    """Have so many jobs submitted, by all producers together."""
    if not producers:
        return
    share = -(-count // len(producers) // per_call) * per_call
    asked = []
    for place, pipe in enumerate(producers):
        numbers = range(min(place * share, count), min((place + 1) * share, count))
        if numbers:
            pipe.send(producing.Fill(numbers))
            asked.append(pipe)
    for pipe in asked:
        children.hear(pipe, within_s=_FILL_WITHIN_S)


def await_done(stage: Stage, workers: Workers, count: int, *, within_s: float) -> int:
    """Wait until so many callbacks have come. Returns how many have."""
    give_up_at = time.monotonic() + within_s
    while (done := stage.done()) < count:
        workers.check()
        if time.monotonic() > give_up_at:
            raise WorkersError(f"{done} of {count} callbacks came in {within_s:.0f} s:\n{workers.log_tail()}")
        time.sleep(_POLL_S)
    return done


def _measure(stage: Stage, workers: Workers, lengths: Lengths, count: int) -> tuple[Reading, Reading]:
    _await_first(stage, workers)
    # A small backlog must not end during the warm-up.
    warm_until, most = time.monotonic() + lengths.warm_up_s, count * _MOST_FOR_WARM_UP if count else float("inf")
    while time.monotonic() < warm_until and stage.bound() < most:
        time.sleep(_POLL_S)
    before = stage.reading(workers)
    if count:
        await_done(stage, workers, count, within_s=_PATIENCE_S)
    else:
        time.sleep(lengths.measure_s)
        workers.check()
    return before, stage.reading(workers)


def _await_first(stage: Stage, workers: Workers) -> None:
    give_up_at = time.monotonic() + _FIRST_WITHIN_S
    while not stage.bound():
        workers.check()
        if time.monotonic() > give_up_at:
            raise WorkersError(f"nothing came within {_FIRST_WITHIN_S:g} s:\n{workers.log_tail()}")
        time.sleep(_POLL_S)


def jobs_between(before: Reading, after: Reading) -> float:
    """How many were done: the mean of binds and callbacks, for a job may have been bound before and called back now."""
    return max((after.bound - before.bound + after.called_back - before.called_back) / 2, 1)


def _load(stage: Stage, children: Children, producers: list[Connection], plan: Plan, jobs_per_second: float) -> Waits:
    begin = time.monotonic() + 0.1
    for place, pipe in enumerate(producers):
        first = _FIRST_LOADED + place * _LOADED_PER_PRODUCER
        seed = f"{plan.seed}/{place}"
        pipe.send(producing.Load(first, jobs_per_second / len(producers), begin, plan.lengths.load_s, seed))
    submitted: dict[int, producing.Begun] = {}
    for pipe in producers:
        submitted |= children.hear(pipe)
    give_up_at = time.monotonic() + _LAST_S
    while not submitted.keys() <= (arrived := stage.asked(stage.receiver, servers.TELL)).keys():
        if time.monotonic() > give_up_at:
            raise WorkersError(f"{len(submitted.keys() - arrived.keys())} jobs of the load had no callback")
        time.sleep(_POLL_S * 5)
    told = [begun for begun in submitted.values() if begun.job_id]
    ended_at_ms = stage.ended_at_ms([begun.job_id for begun in told])
    return Waits(
        [(arrived[number] - begun.at) * _MS - plan.latency_ms for number, begun in submitted.items()],
        [at_ms + 1 - begun.at_unix_ms - plan.latency_ms for begun, at_ms in zip(told, ended_at_ms, strict=True)],
    )


def _figures(before: Reading, after: Reading, rss_mib: float, pss_mib: float, waits: Waits) -> Figures:
    seconds, jobs = after.at - before.at, jobs_between(before, after)
    return Figures(
        jobs_per_second=jobs / seconds,
        cpu_ms=(after.workers_cpu_s - before.workers_cpu_s) / jobs * _MS,
        cores=(after.workers_cpu_s - before.workers_cpu_s) / seconds,
        rss_mib=rss_mib,
        pss_mib=pss_mib,
        p50_ms=_percentile(waits.callback_ms, 0.5),
        p99_ms=_percentile(waits.callback_ms, 0.99),
        x_p50_ms=_percentile(waits.x_ms, 0.5),
        x_p99_ms=_percentile(waits.x_ms, 0.99),
        loaded=len(waits.callback_ms),
        redis_bytes=(after.redis_bytes - before.redis_bytes) / jobs,
        redis_commands=(after.redis_commands - before.redis_commands) / jobs,
        redis_cpu_ms=(after.redis_cpu_s - before.redis_cpu_s) / jobs * _MS,
        provider_cores=(after.provider_cpu_s - before.provider_cpu_s) / seconds,
        receiver_cores=(after.receiver_cpu_s - before.receiver_cpu_s) / seconds,
        measured=jobs,
        load=os.getloadavg()[0],
    )


def _percentile(values: Sequence[float], share: float) -> float | None:
    return percentile(list(values), share) if values else None
