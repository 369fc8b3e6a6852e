"""Judges what became of a batch. Pure: rows, report, counts and the provider's bindings in, broken promises out.

I1  a batch that was started comes to its end
I2  each row has one effect at the provider: nothing is bound twice silently, and no number is lost
I3  what the report says of a row is what the provider shows
I4  a batch's end is told once: all copies have one webhook-id and one body; that of a cancelled one is not told
I10 the report has every row once, in the file's order, and the counts are those of the report
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.checker import DOUBLED, LOST, WRONG, Violation
from tests.chaos.histories import SandboxBinding

FINISHED, CANCELLED = "finished", "cancelled"
NEW_X, SAME_X = "new-x", "same-x"
_TAKEN = range(200, 300)


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row as its file has it.

    Attributes:
        line: in the file.
        order: OutOrderId of the binding that it makes or names; no two rows of a run have the same.
        old: the binding that it names, as it was before; None for a bind.
        phone_no_a, expires: as they are to be after an update of them.
    """

    line: int
    op: str
    order: str
    old: SandboxBinding | None = None
    mode: str = ""
    phone_no_a: str = ""
    expires: str = ""
    on_doubt: str = "hold"
    given_order: str = ""


@dataclass(frozen=True, slots=True)
class RowEnd:
    """A line of the report."""

    line: int
    op: str
    outcome: str = ""
    phone_no_x: str = ""
    subs_id: str = ""
    old_phone_no_x: str = ""
    code: str = ""
    message: str = ""
    out_order_id: str = ""
    job_id: str = ""

    @classmethod
    def from_json(cls, text: str) -> "RowEnd":
        """Read what `axn batch report --format jsonl` writes."""
        told = json.loads(text)
        return cls(**{name: told[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Told:
    """One request at the receiver of the batch's end."""

    webhook_id: str
    body: bytes
    status: int


@dataclass(frozen=True, slots=True)
class BatchEvidence:
    """One batch.

    Attributes:
        rows: of its file, in its order.
        report: as `axn batch report` writes it.
        shown: as `axn batch show --json` tells it.
        told: what came to its receiver.
        must_be: the state that it must be in.
    """

    name: str
    rows: Sequence[PlannedRow]
    report: Sequence[RowEnd]
    shown: Mapping[str, object]
    told: Sequence[Told] = ()
    must_be: str = FINISHED


@dataclass(frozen=True, slots=True)
class EffectEvidence:
    """Rows, and what became of them in all batches that had them.

    Attributes:
        ends: by order, one of each report.
        bindings: all that the provider ever made.
        orphans: by job, how many possible orphans it reports.
    """

    rows: Sequence[PlannedRow]
    ends: Mapping[str, Sequence[RowEnd]]
    bindings: Sequence[SandboxBinding]
    orphans: Mapping[str, int] = field(default_factory=dict)


def check_batch(evidence: BatchEvidence) -> list[Violation]:
    """Judge its report, its counts and what its receiver was told."""
    return [*_check_state(evidence), *_check_report(evidence), *_check_counts(evidence), *_check_told(evidence)]


def _check_state(evidence: BatchEvidence) -> Iterable[Violation]:
    state = evidence.shown.get("state")
    if state != evidence.must_be:
        yield Violation("I1", LOST, "-", f"batch {evidence.name} is {state}, must be {evidence.must_be}")
    if alive := evidence.shown.get("alive"):
        yield Violation("I1", LOST, "-", f"batch {evidence.name} has {alive} rows that have not ended")


def _check_report(evidence: BatchEvidence) -> Iterable[Violation]:
    planned = [(row.line, row.op, row.given_order) for row in evidence.rows]
    reported = [(end.line, end.op, end.out_order_id) for end in evidence.report]
    if planned != reported:
        wrong = sum(one != other for one, other in zip(planned, reported, strict=False))
        text = f"{len(reported)} rows for {len(planned)}, {wrong} at another place than in the file"
        yield Violation("I10", WRONG, "-", f"report of batch {evidence.name}: {text}")
    if evidence.must_be == FINISHED and (open_ := sum(not end.outcome for end in evidence.report)):
        yield Violation("I10", LOST, "-", f"report of batch {evidence.name}: {open_} rows have no outcome")


def _check_counts(evidence: BatchEvidence) -> Iterable[Violation]:
    reported = _by_state(evidence.report)
    if evidence.shown.get("by_state") != reported:
        text = f"show counts {evidence.shown.get('by_state')}, its report {reported}"
        yield Violation("I10", WRONG, "-", f"batch {evidence.name}: {text}")
    if evidence.shown.get("rows") != len(evidence.rows):
        text = f"show counts {evidence.shown.get('rows')} rows, the file has {len(evidence.rows)}"
        yield Violation("I10", WRONG, "-", f"batch {evidence.name}: {text}")


def _check_told(evidence: BatchEvidence) -> Iterable[Violation]:
    name, told = evidence.name, evidence.told
    if evidence.must_be != FINISHED:
        if told:
            yield Violation("I4", WRONG, "-", f"the end of batch {name} was told, and it has none")
        return
    if not any(one.status in _TAKEN for one in told):
        yield Violation("I4", LOST, "-", f"the end of batch {name} was not told")
    if len({one.webhook_id for one in told}) > 1 or len({one.body for one in told}) > 1:
        yield Violation("I4", DOUBLED, "-", f"the end of batch {name} was told under two ids, or in two ways")
    for body in {one.body for one in told}:
        event = json.loads(body)
        said = {"rows": len(evidence.rows), "by_state": _by_state(evidence.report), "name": name}
        if event["type"] != "batch.finished" or any(event["data"].get(key) != value for key, value in said.items()):
            yield Violation("I4", WRONG, "-", f"the end of batch {name} was told otherwise than its report shows")


def _by_state(report: Iterable[RowEnd]) -> dict[str, int]:
    return dict(Counter(end.outcome for end in report if end.outcome))


# --- the effects of rows ---


@dataclass(frozen=True, slots=True)
class _Case:
    """A row, its end, and its order's bindings."""

    row: PlannedRow
    end: RowEnd
    made: Sequence[SandboxBinding]
    orphans: int

    @property
    def old(self) -> SandboxBinding | None:
        """What the row names, as it is now."""
        was = self.row.old
        return next((one for one in self.made if was and one.subs_id == was.subs_id), None)

    @property
    def new(self) -> list[SandboxBinding]:
        """What was bound since."""
        was = self.row.old
        return [one for one in self.made if was is None or one.subs_id != was.subs_id]

    @property
    def told_is_live(self) -> bool:
        """Whether the binding that the report names is there, a new one."""
        told = (self.end.phone_no_x, self.end.subs_id)
        return any(one.is_live and (one.phone_no_x, one.subs_id) == told for one in self.new)

    @property
    def allowed(self) -> int:
        """New bindings."""
        return 1 + (self.orphans if self.row.on_doubt == "rebind" else 0)

    def broken(self, invariant: str, kind: str, text: str) -> Violation:
        mode = f" {self.row.mode}" if self.row.mode else ""
        what = f"{self.row.op}{mode} of line {self.row.line} is {self.end.outcome or 'not begun'} {self.end.code}"
        return Violation(invariant, kind, self.end.job_id or "-", f"{what.strip()}, {text}")


def check_effects(evidence: EffectEvidence) -> list[Violation]:
    """Judge what each row did at the provider."""
    made: dict[str, list[SandboxBinding]] = defaultdict(list)
    for binding in evidence.bindings:
        made[binding.order].append(binding)
    violations = []
    for row in evidence.rows:
        ends = [end for end in evidence.ends.get(row.order, ()) if end.outcome]
        end = ends[-1] if ends else RowEnd(row.line, row.op)
        case = _Case(row, end, made[row.order], evidence.orphans.get(end.job_id, 0))
        if len({end.job_id for end in ends}) > 1:
            violations.append(case.broken("I2", DOUBLED, "two jobs have done it"))
        violations += _JUDGES[row.op](case)
    return violations


def _judge_bind(case: _Case) -> Iterable[Violation]:
    yield from _check_new(case)
    match case.end.outcome:
        case "bound":
            yield from _check_bound(case)
        case "in_doubt":
            yield from _check_doubt(case)
        case _:
            yield from _check_untouched(case)


def _judge_rebind(case: _Case) -> Iterable[Violation]:
    yield from _check_new(case)
    outcome, old = case.end.outcome, case.old
    is_old_live = old is not None and old.is_live
    if not any(one.is_live for one in case.made):
        yield case.broken("I2", LOST, "and neither number is bound")
    if is_old_live and any(one.is_live for one in case.new) and outcome not in ("old_left_bound", "in_doubt"):
        yield case.broken("I2", DOUBLED, "and both numbers are bound")
    match outcome:
        case "bound" | "old_left_bound":
            yield from _check_bound(case)
            if case.row.old and case.end.old_phone_no_x != case.row.old.phone_no_x:
                yield case.broken("I3", WRONG, "and its old X is another one than it was")
            if case.row.mode == SAME_X and case.row.old and case.end.phone_no_x != case.row.old.phone_no_x:
                yield case.broken("I3", WRONG, "and X is not the same")
            if is_old_live and outcome == "bound":
                yield case.broken("I3", WRONG, "and the old binding has not ended")
        case "in_doubt":
            yield from _check_doubt(case)
            if not is_old_live:
                yield case.broken("I2", LOST, "and the old binding has ended")
        case _:
            yield from _check_untouched(case)


def _judge_update(case: _Case) -> Iterable[Violation]:
    yield from _check_none_new(case)
    old, was = case.old, case.row.old
    if old is None or was is None or not old.is_live:
        yield case.broken("I2", LOST, "and the binding has ended")
        return
    if case.end.outcome == "updated":
        wanted = (case.row.phone_no_a or was.phone_no_a, case.row.expires or was.expires)
        if (old.phone_no_a, old.expires) != wanted:
            yield case.broken("I3", WRONG, "and the binding is not as the row wants it")
    else:
        yield from _check_untouched(case)


def _judge_unbind(case: _Case) -> Iterable[Violation]:
    yield from _check_none_new(case)
    if case.end.outcome != "unbound":
        yield from _check_untouched(case)
    elif case.old is None or case.old.is_live:
        yield case.broken("I3", WRONG, "and the binding is live")


_JUDGES: Mapping[str, Callable[[_Case], Iterable[Violation]]] = {
    "bind": _judge_bind,
    "rebind": _judge_rebind,
    "move-a": _judge_update,
    "set-expiration": _judge_update,
    "unbind": _judge_unbind,
}


def _check_new(case: _Case) -> Iterable[Violation]:
    if len(case.new) > case.allowed:
        text = f"bound {len(case.new)} times, {case.row.on_doubt}, {case.orphans} possible orphans reported"
        yield case.broken("I2", DOUBLED, text)


def _check_none_new(case: _Case) -> Iterable[Violation]:
    if case.new:
        yield case.broken("I2", DOUBLED, f"and bound {len(case.new)} times anew")


def _check_bound(case: _Case) -> Iterable[Violation]:
    if not case.told_is_live:
        yield case.broken("I3", WRONG, "and the provider has no such live binding of the order")


def _check_doubt(case: _Case) -> Iterable[Violation]:
    """A doubt that nobody can clear up: a number that was drawn, and a request that is to be held then."""
    is_held = case.row.on_doubt == "hold" or case.orphans > 0  # an orphan is risked once
    if not is_held or case.row.mode == SAME_X:
        yield case.broken("I1", WRONG, "where nothing is to be held")


def _check_untouched(case: _Case) -> Iterable[Violation]:
    """A row that did nothing, which is right only where it was not begun."""
    if case.end.outcome:
        yield case.broken("I1", WRONG, "which nothing justifies")
    old, was = case.old, case.row.old
    is_as_it_was = was is None or old == was
    if case.new or not is_as_it_was:
        yield case.broken("I3", WRONG, "and the provider shows an effect")
