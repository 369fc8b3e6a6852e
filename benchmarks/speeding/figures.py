"""What is told of a contestant."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figures:
    """One run, or the medians of several.

    Attributes:
        jobs_per_second: bound and called back, from the end of the warm-up until the backlog is done to the last job.
        cpu_ms: of the worker processes, user and system time per job, as the operating system counts it.
        cores: the same per second.
        rss_mib, pss_mib: sums over the worker processes; pss counts a page that several share only once.
        p50_ms, p99_ms: at half of that load, from the beginning of `submit` to the arrival of the callback with X,
            less the provider's latency; None where nothing is submitted one by one.
        x_p50_ms, x_p99_ms: the same until X stands in Redis; None of builds that do not tell it.
        loaded: how many jobs those are of.
        redis_bytes, redis_commands, redis_cpu_ms: per job; bytes both ways, commands within scripts count.
        provider_cores, receiver_cores: of the two servers: what is close to 1 would tell of them, not of the workers.
        measured: jobs that the figures are of.
        load: the machine's load average of a minute at the end.
    """

    jobs_per_second: float
    cpu_ms: float
    cores: float
    rss_mib: float
    pss_mib: float
    p50_ms: float | None
    p99_ms: float | None
    x_p50_ms: float | None
    x_p99_ms: float | None
    loaded: float
    redis_bytes: float
    redis_commands: float
    redis_cpu_ms: float
    provider_cores: float
    receiver_cores: float
    measured: float
    load: float


def median(runs: Sequence[Figures]) -> Figures:
    """Figure by figure."""
    columns = [asdict(run) for run in runs]
    middle: dict[str, Any] = {
        name: None if columns[0][name] is None else statistics.median(column[name] for column in columns)
        for name in columns[0]
    }
    return Figures(**middle)
