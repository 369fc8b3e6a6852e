"""Judges a soak when all is over. Pure: what was followed, the provider's bindings and the samples in, findings out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.chaos.batch_checker import EffectEvidence, PlannedRow, RowEnd, check_effects
from tests.chaos.checker import LOST, WRONG, Evidence, Violation, check
from tests.chaos.histories import SandboxBinding
from tests.chaos.soak.flatness import Tolerance, Trend, trend_of
from tests.chaos.soak.load import KEPT_FOR_S, Load, unix_s
from tests.chaos.soak.samples import Sample, Samples
from tests.chaos.soak.watch import Followed

LEAST_JUDGED_S = 60.0
TOLERANCES: Mapping[str, Tolerance] = {
    "rss MiB": Tolerance(6.0, 0.04),
    "pss MiB": Tolerance(6.0, 0.04),
    "fds": Tolerance(16.0, 0.15),
    "threads": Tolerance(2.0),
}
"""Of a process's life. 10 MiB in 25 minutes at 200 jobs a second are 35 bytes a job. Connections come and go by the
dozen with the faults."""
CLIENTS = Tolerance(32.0, 0.25)
BYTES_PER_RECORD = Tolerance(0.0, 0.15)
_RECORDS_SHARE = 1.02
"""Of the records allowed: SCAN may show a key twice, and sees what was filed while it went on."""
_RECORDS_MORE = 200
_LEFT_PER_KIND = 16
"""Keys of a kind that may be left when all is over: one for each partition, none for each job."""
_OF_DOUBTS = {"keys job", "entries in_doubt"}
_MESSAGES_OF_ONE = 64
_LEFT_MIB = 8.0
_IN_DOUBT_MIB = 4 / 1024
_AOF_LEAST_MIB = 16.0
_AOF_GROWS = 2.0
_AOF_MORE_MIB = 64.0
"""What is written while the file is written anew, and while Redis is away."""
_RENEWED_WITHIN_S = 30.0
_WHOLE_RUN_MS = 10**9


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was judged, and what it came to."""

    name: str
    is_good: bool
    told: str


# --- lost, doubled, wrong ---


@dataclass(frozen=True, slots=True)
class Book:
    """All that was accepted, and all that the provider made.

    Attributes:
        shown: the bindings as the sandbox tells of them.
    """

    followed: Sequence[Followed]
    shown: Sequence[Mapping[str, Any]]
    load: Load


def judge_book(book: Book) -> tuple[list[Violation], Counter[str]]:
    """Every accepted job has its right end, and every binding is as the ends say; and how many ended in which state."""
    bindings = [
        SandboxBinding(
            one["OutOrderId"], one["PhoneNoX"], one["SubsId"],
            # One that has run out meanwhile was there all its time.
            one["ended"] != "unbound", one["PhoneNoA"], one["ExpireDate"],
        )
        for one in book.shown
    ]  # fmt: skip
    ended_by_us = {one.order.request["out_order_id"] for one in book.followed if one.order.kind == "unbind"}
    verdict = check(
        Evidence(
            submissions=[one.submission for one in book.followed],
            records={one.submission.job_id: one.record for one in book.followed},
            bindings=[replace(one, is_live=one.is_live or one.order in ended_by_us) for one in bindings],
            bound_ms=_WHOLE_RUN_MS,
        )
    )
    return [*verdict.violations, *_judge_changes(book, bindings), *_judge_kept(book)], verdict.states


def _judge_changes(book: Book, bindings: Sequence[SandboxBinding]) -> list[Violation]:
    """As of the rows of batches: one effect each."""
    binds = {one.order.order: one for one in book.followed if one.order.kind == "bind"}
    first_ends = book.load.first_expirations
    rows, ends = [], {}
    for one in book.followed:
        bind = binds.get(str(one.order.request.get("out_order_id")))
        if one.order.kind == "bind" or bind is None or bind.record is None or one.record is None:
            continue
        if book.load.is_late(one.order, one.record.finished_at / 1000):
            continue  # the binding may have run out before
        name = bind.order.order
        old = SandboxBinding(
            name, bind.record.phone_no_x, bind.record.subs_id, True, bind.order.request["phone_no_a"], first_ends[name]
        )
        wanted = {key: one.order.request.get(name, "") for key, name in _WANTED.items()}
        op = "unbind" if one.order.kind == "unbind" else "move-a"
        rows.append(PlannedRow(0, op, name, old, **wanted))
        ends[name] = [RowEnd(0, op, one.record.state, code=one.record.code, job_id=one.submission.job_id)]
    return check_effects(EffectEvidence(rows, ends, bindings))


_WANTED = {"phone_no_a": "phone_no_a", "expires": "expiration"}


def _judge_kept(book: Book) -> list[Violation]:
    """A binding that was to be renewed was there until the end of its policy, and not for longer."""
    shown = {one["SubsId"]: one for one in book.shown}
    violations = []
    for one in book.followed:
        if one.order.order not in book.load.kept or one.record is None or one.record.state != "bound":
            continue
        binding = shown.get(one.record.subs_id)
        if binding is None:
            continue  # I3's business
        early_s = one.record.finished_at / 1000 + KEPT_FOR_S - unix_s(binding["ExpireDate"])
        if early_s > _RENEWED_WITHIN_S:
            text = f"kept for {KEPT_FOR_S} s, and it ended {early_s:.0f} s before"
            violations.append(Violation("G3", LOST, one.submission.job_id, text))
        elif early_s < -_RENEWED_WITHIN_S:
            text = f"kept for {KEPT_FOR_S} s, and renewed for {-early_s:.0f} s more"
            violations.append(Violation("G3", WRONG, one.submission.job_id, text))
    return violations


# --- flat ---


def trends(samples: Samples, *, warm_up_s: float, records_from_s: float, until_s: float) -> list[Trend]:
    """Of each process's life, of Redis's clients, and of what a record takes of its memory.

    Args:
        samples: of the load, and what came after.
        warm_up_s: of each life; of the run for Redis's figures.
        records_from_s: when so many records had gone as had come.
        until_s: when the load ended.
    """
    found = []
    for name in samples.names():
        _, _, what = name.partition(" ")
        tolerance = CLIENTS if name == "redis clients" else TOLERANCES.get(what) if "#" in name else None
        points = samples.points(name, to_s=until_s)
        if tolerance is not None and points:
            found.append(trend_of(name, points, tolerance, warm_up_s=warm_up_s, least_s=LEAST_JUDGED_S))
    points = samples.points("redis bytes per record", from_s=records_from_s, to_s=until_s)
    if points:
        found.append(trend_of("redis bytes per record", points, BYTES_PER_RECORD, warm_up_s=0, least_s=LEAST_JUDGED_S))
    return found


def trend_findings(found: Sequence[Trend]) -> list[Finding]:
    """One for each kind of figure, which names the worst of them; and one that tells what was too short."""
    by_kind: dict[str, list[Trend]] = {}
    for trend in found:
        kind = trend.name.partition(" ")[2] if "#" in trend.name else trend.name
        by_kind.setdefault(kind, []).append(trend)
    findings = []
    for kind, of_kind in by_kind.items():
        judged = [trend for trend in of_kind if trend.is_judged]
        if not judged:
            findings.append(Finding(kind, is_good=True, told="too short to judge"))
            continue
        worst = max(judged, key=lambda trend: trend.growth - trend.allowed)
        told = (
            f"{len(judged)} judged; {worst.name.partition(' ')[0]}: {worst.growth:+.2f} in {worst.span_s:.0f} s, "
            f"{worst.allowed:.2f} allowed, median {worst.median:.1f}"
        )
        findings.append(Finding(kind, is_good=all(trend.is_flat for trend in judged), told=told))
    return findings


def redis_findings(samples: Samples) -> list[Finding]:
    """Records never more than those that have to be there; the append-only file bounded by its rewriting."""
    excess, at = max(
        (
            (one.figures["keys job"] - one.figures["records allowed"] * _RECORDS_SHARE - _RECORDS_MORE, one)
            for one in samples.taken
            if "keys job" in one.figures
        ),
        key=lambda pair: pair[0],
        default=(0.0, Sample(0, {})),
    )
    told = (
        f"at most {samples.most('keys job'):.0f}; closest at {at.at_s:.0f} s: {at.figures.get('keys job', 0):.0f}, "
        f"{at.figures.get('records allowed', 0):.0f} allowed"
    )
    aof = [
        (one.figures["aof MiB"], max(_AOF_LEAST_MIB, one.figures["aof base MiB"]) * _AOF_GROWS + _AOF_MORE_MIB)
        for one in samples.taken
        if "aof MiB" in one.figures
    ]
    size, allowed = max(aof, key=lambda pair: pair[0] - pair[1], default=(0.0, 0.0))
    return [
        Finding("records of jobs", excess <= 0, told),
        Finding("append-only file", size <= allowed, f"{size:.0f} MiB, {allowed:.0f} allowed"),
    ]


def residue_findings(
    before: Mapping[str, float], after: Mapping[str, float], *, in_doubt: int, failed: int = 0, deaths: int = 0
) -> list[Finding]:
    """What is left when all has ended and its time has passed: nothing of any job but those in doubt.

    Args:
        before: a sample with its census, from before the first job.
        after: the same from the end.
        in_doubt: jobs that stay until a person resolves them.
        failed: jobs that stand in the index of failures until the next failure of their partition.
        deaths: of workers, whose messages the broker gives back only when its visibility timeout is over.
    """
    findings, staying = [], []
    for name, count in sorted(after.items()):
        if not count or not name.startswith(("keys ", "entries ", "queue", "unacked")):
            continue
        allowed = _LEFT_PER_KIND + (in_doubt if name in _OF_DOUBTS else 0)
        allowed += {"unacked": _MESSAGES_OF_ONE * deaths, "entries failed": failed}.get(name, 0)
        if count > allowed:
            findings.append(Finding(f"left: {name}", is_good=False, told=f"{count:.0f}, {allowed} allowed"))
        else:
            staying.append(f"{name.removeprefix('keys ')} {count:.0f}")
    findings.append(Finding("what stays", is_good=True, told=", ".join(staying)))
    if (held := after.get("keys job", 0.0)) != in_doubt:
        findings.append(Finding("records left", is_good=False, told=f"{held:.0f}, and {in_doubt} jobs are in doubt"))
    grown = after["redis used MiB"] - before["redis used MiB"]
    allowed_mib = _LEFT_MIB + in_doubt * _IN_DOUBT_MIB
    findings.append(Finding("redis memory left", grown <= allowed_mib, f"{grown:+.1f} MiB, {allowed_mib:.1f} allowed"))
    return findings
