"""From what was noted to the figures of the table."""

import bisect
import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from benchmarks.pacing.demand import Timing, Told
from benchmarks.pacing.provider import Arrivals


@dataclass(frozen=True, slots=True)
class Figures:
    """One cell. Rates are per second; what has "of_limit" is a share of the true limit.

    Attributes:
        wanted: by batch and checkout together.
        sent: what arrived at the provider, throttled or not.
        throttled: share of what was sent.
        used: what was not throttled, of the limit.
        worst_second: most that arrived in any one second, of the limit, by the provider's clock.
        worst_calendar_second: the same in a second of the clock.
        checkout_p50_ms: from the wish to the sending of the call that was not throttled.
        checkouts_unserved: share that still waited at the end; their wait until then is among the waits.
        cpu_us: of the worker processes, per call sent (the call itself included).
        redis_cpu_us: of Redis, the same.
        provider_cpu: of the provider, in cores: what is close to 1 tells of the provider, not of the contestant.
        fairness: calls of the process that sent least, to those of the one that sent most.
        load: the machine's load average of a minute when it ended.
    """

    wanted: float
    sent: float
    throttled: float
    used_of_limit: float
    worst_second_of_limit: float
    worst_calendar_second_of_limit: float
    checkouts: int
    checkout_p50_ms: float
    checkout_p99_ms: float
    checkouts_unserved: float
    cpu_us: float
    redis_cpu_us: float
    provider_cpu: float
    fairness: float
    load: float


def worst_second(at: Sequence[float]) -> int:
    """Most instants in any window of one second; the instants are in order."""
    return max((place + 1 - bisect.bisect_right(at, then - 1) for place, then in enumerate(at)), default=0)


def worst_calendar_second(at: Iterable[float]) -> int:
    """Most instants in a second of the clock."""
    return max(Counter(map(int, at)).values(), default=0)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def figures(
    *,
    limit: int,
    wanted: float,
    timing: Timing,
    unix_ahead_s: float,
    arrivals: Arrivals,
    told: Sequence[Told],
    redis_cpu_s: float,
    load: float,
) -> Figures:
    """Of one run; unix_ahead_s leads from the monotonic clock to the provider's."""
    seconds = timing.measure_until - timing.measure_from
    begin, end = timing.measure_from + unix_ahead_s, timing.measure_until + unix_ahead_s
    seen = [(at, is_done) for at, is_done in zip(arrivals.at, arrivals.is_done, strict=True) if begin <= at < end]
    at = [instant for instant, _ in seen]
    done = sum(is_done for _, is_done in seen)
    unserved = [due for each in told for due in each.unserved]
    waits_ms = [waited_s * 1000 for each in told for _, waited_s in each.waits]
    waits_ms += [(timing.measure_until - due) * 1000 for due in unserved]
    sent = [each.sent for each in told]
    calls = max(sum(sent), 1)
    return Figures(
        wanted=wanted,
        sent=len(at) / seconds,
        throttled=1 - done / max(len(at), 1),
        used_of_limit=done / seconds / limit,
        worst_second_of_limit=worst_second(at) / limit,
        worst_calendar_second_of_limit=worst_calendar_second(at) / limit,
        checkouts=len(waits_ms),
        checkout_p50_ms=percentile(waits_ms, 0.5),
        checkout_p99_ms=percentile(waits_ms, 0.99),
        checkouts_unserved=len(unserved) / max(len(waits_ms), 1),
        cpu_us=sum(each.cpu_s for each in told) / calls * 1e6,
        redis_cpu_us=redis_cpu_s / calls * 1e6,
        provider_cpu=(arrivals.cpu_s[1] - arrivals.cpu_s[0]) / seconds,
        fairness=min(sent) / max(*sent, 1),
        load=load,
    )


def median(runs: Sequence[Figures]) -> Figures:
    """Figure by figure, of several runs of one cell."""
    columns = [asdict(run) for run in runs]
    middle = {name: statistics.median(column[name] for column in columns) for name in columns[0]}
    return Figures(**{**middle, "checkouts": int(middle["checkouts"])})


def each_second(at: Iterable[float], *, begin: float, seconds: int) -> list[int]:
    """How many instants lie in each of the seconds from begin on."""
    counts = Counter(int(instant - begin) for instant in at if instant >= begin)
    return [counts[second] for second in range(seconds)]


def worst_of_each_second(waits: Iterable[tuple[float, float]], *, begin: float, seconds: int) -> list[float]:
    """The 99th percentile of the waits that were wanted in each of the seconds from begin on, in ms; nan of none."""
    ordered = sorted((int(due - begin), waited_s * 1000) for due, waited_s in waits)
    groups = {second: [ms for _, ms in group] for second, group in itertools.groupby(ordered, key=lambda one: one[0])}
    return [percentile(groups[second], 0.99) if second in groups else float("nan") for second in range(seconds)]
