"""Judges what happened. Pure: histories in, a report out.

    I1  every accepted job has ended, in a state that is right for it
    I2  nothing is bound twice silently, and nothing is left bound by a job that says it is not
    I3  the ledger's X is the provider's
    I6  a job has one owner at a time, and an attempt of unknown effect is never followed by another one
    I8  it ended soon after the last fault

A step is written down a little after it has happened, and long after where its process or the network slept. So two
steps are said to be in the wrong order only where no such lateness explains it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.histories import (
    BIND_ACTION,
    NS_PER_MS,
    Death,
    Pause,
    Record,
    SandboxBinding,
    Step,
    Submission,
)

RECORDING_LAG_MS = 2_000
_DIES_WITHIN_MS = 5_000
_BEFORE_SETTLING = ("attempt.claimed", "attempt.answered")
_KNOWN_NOT_DONE = ("closed", "unsent")
LOST, DOUBLED, WRONG, SLOW = "lost", "doubled", "wrong", "slow"
DIED, FAULT = "died", "fault"
"""Seen by the harness: a process ended by itself; a fault that was to happen did not."""
KINDS = (LOST, DOUBLED, WRONG, SLOW, DIED, FAULT)


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise; `kind` is its column in the table. Never holds a number."""

    invariant: str
    kind: str
    job_id: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.kind} {self.job_id}: {self.text}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a cell."""

    submissions: Sequence[Submission]
    records: Mapping[str, Record | None]
    bindings: Sequence[SandboxBinding]
    steps: Sequence[Step] = ()
    pauses: Sequence[Pause] = ()
    deaths: Sequence[Death] = ()
    bound_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker found.

    Attributes:
        recovery_ms: per ended job, from its acceptance or the end of its run's faults, whichever came later.
        unwitnessed: attempts whose settlement a killed process may have made without writing it down.
    """

    violations: list[Violation]
    states: Counter[str]
    recovery_ms: list[int]
    unwitnessed: int = 0

    def count(self, kind: str) -> int:
        """How many jobs broke a promise of this kind."""
        return len({violation.job_id for violation in self.violations if violation.kind == kind})


def check(evidence: Evidence) -> Verdict:
    """Judge a cell."""
    violations: list[Violation] = []
    made: dict[str, list[SandboxBinding]] = defaultdict(list)
    for binding in evidence.bindings:
        made[binding.order].append(binding)
    for submission in evidence.submissions:
        record = evidence.records.get(submission.job_id)
        bindings = made.get(submission.order, [])
        violations += _check_end(submission, record)
        violations += _check_bindings(submission, record, bindings)
        violations += _check_answer(submission, record, bindings)
    violations += _check_strangers(made, evidence.submissions)
    fences = FenceCheck(evidence)
    violations += fences.run()
    recovery_ms = [
        max(0, record.finished_at - max(submission.accepted_ms, submission.fault_ended_ms))
        for submission in evidence.submissions
        if (record := evidence.records.get(submission.job_id)) is not None and record.finished_at
    ]
    violations += _check_time(evidence)
    ids = {submission.job_id for submission in evidence.submissions}
    states = Counter(record.state if record else "missing" for record in (evidence.records.get(id_) for id_ in ids))
    return Verdict(violations, states, recovery_ms, fences.unwitnessed)


def percentile(values: Sequence[int], share: float) -> int:
    """0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0


def _check_end(submission: Submission, record: Record | None) -> Iterable[Violation]:
    if record is None:
        if not submission.may_vanish:
            yield Violation("I1", LOST, submission.job_id, "accepted, and there is no record of it")
    elif not record.has_ended:
        yield Violation("I1", LOST, submission.job_id, f"still {record.state} {record.code}".rstrip())
    elif record.state not in submission.may_end:
        wanted = " or ".join(sorted(submission.may_end))
        yield Violation("I1", WRONG, submission.job_id, f"ended {record.state} {record.code}, must be {wanted}")


def _check_bindings(
    submission: Submission, record: Record | None, bindings: Sequence[SandboxBinding]
) -> Iterable[Violation]:
    reported = record.possible_orphans if record else 0
    allowed = 1 + (reported if submission.on_doubt == "rebind" else 0)
    if len(bindings) > allowed:
        text = f"bound {len(bindings)} times, {submission.on_doubt}, {reported} possible orphans reported"
        yield Violation("I2", DOUBLED, submission.job_id, text)
    live = sum(binding.is_live for binding in bindings)
    if record and record.state in ("failed", "expired") and record.code != "poison" and live > reported:
        text = f"{record.state} {record.code}, and {live} bindings are live, {reported} possible orphans reported"
        yield Violation("I2", WRONG, submission.job_id, text)


def _check_answer(
    submission: Submission, record: Record | None, bindings: Sequence[SandboxBinding]
) -> Iterable[Violation]:
    if record is None or record.state != "bound":
        return
    live = {(binding.phone_no_x, binding.subs_id) for binding in bindings if binding.is_live}
    if (record.phone_no_x, record.subs_id) not in live:
        yield Violation("I3", WRONG, submission.job_id, "bound, but the provider has no such live binding of the order")


def _check_strangers(
    made: Mapping[str, Sequence[SandboxBinding]], submissions: Sequence[Submission]
) -> Iterable[Violation]:
    known = {submission.order for submission in submissions}
    for order in sorted(set(made) - known):
        yield Violation("I2", WRONG, "-", f"bound for order {order}, which no producer was told is accepted")


def _check_time(evidence: Evidence) -> Iterable[Violation]:
    for submission in evidence.submissions:
        record = evidence.records.get(submission.job_id)
        if record is None or not record.finished_at:
            continue
        took_ms = record.finished_at - max(submission.accepted_ms, submission.fault_ended_ms)
        if took_ms > evidence.bound_ms:
            yield Violation(
                "I8", SLOW, submission.job_id, f"ended {took_ms} ms after the fault, at most {evidence.bound_ms}"
            )


@dataclass
class _Sending:
    attempt: int
    claim: Step
    sent: Step


@dataclass
class FenceCheck:
    """I6, job by job."""

    evidence: Evidence
    unwitnessed: int = 0
    _death_ns: dict[int, int] = field(default_factory=dict)

    def run(self) -> list[Violation]:
        """All violations."""
        self._death_ns = {death.pid: death.at_ns for death in self.evidence.deaths}
        by_job: dict[str, list[Step]] = defaultdict(list)
        for step in self.evidence.steps:
            if step.action == BIND_ACTION:
                by_job[step.job_id].append(step)
        return [violation for job_id, steps in by_job.items() for violation in self._check_job(job_id, steps)]

    def _check_job(self, job_id: str, steps: list[Step]) -> Iterable[Violation]:
        claims = sorted((step for step in steps if step.step == "attempt.claimed"), key=lambda step: step.fence)
        settled = [step for step in steps if step.step == "attempt.settled" and step.is_settled]
        yield from self._check_fences(job_id, claims)
        yield from self._check_settlements(job_id, claims, settled)
        yield from self._check_attempts(job_id, claims, steps, settled)

    def _check_fences(self, job_id: str, claims: list[Step]) -> Iterable[Violation]:
        for earlier, later in pairwise(claims):
            if earlier.fence == later.fence and earlier.token != later.token:
                yield Violation("I6", WRONG, job_id, f"two owners hold fence {later.fence}")
            elif earlier.fence < later.fence and self._surely_before(later, earlier):
                yield Violation("I6", WRONG, job_id, f"fence {earlier.fence} was given after fence {later.fence}")

    def _check_settlements(self, job_id: str, claims: list[Step], settled: list[Step]) -> Iterable[Violation]:
        for step in settled:
            newer = [claim for claim in claims if claim.fence > step.fence and self._surely_before(claim, step)]
            if newer:
                text = f"fence {step.fence} settled it although fence {newer[-1].fence} had claimed it"
                yield Violation("I6", WRONG, job_id, text)

    def _check_attempts(
        self, job_id: str, claims: list[Step], steps: list[Step], settled: list[Step]
    ) -> Iterable[Violation]:
        claim_of = {claim.fence: claim for claim in claims}
        sent = [step for step in steps if step.step == "attempt.sending" and step.fence in claim_of]
        sendings = sorted((_Sending(step.attempt, claim_of[step.fence], step) for step in sent), key=_by_fence)
        for earlier, later in pairwise(sendings):
            if earlier.attempt == later.attempt or self._is_known_before(earlier, later, settled):
                continue
            if self._may_be_unwitnessed(earlier, later, steps):
                self.unwitnessed += 1
                continue
            text = f"attempt {later.attempt} was sent while attempt {earlier.attempt} was of unknown effect"
            yield Violation("I6", DOUBLED, job_id, text)

    def _is_known_before(self, earlier: _Sending, later: _Sending, settled: list[Step]) -> bool:
        return any(
            earlier.claim.fence <= step.fence < later.claim.fence
            and step.knowledge in _KNOWN_NOT_DONE
            and not self._surely_before(later.claim, step)
            for step in settled
        )

    def _may_be_unwitnessed(self, earlier: _Sending, later: _Sending, steps: list[Step]) -> bool:
        """Whether an owner in between was killed when it may have settled without writing it down.

        Not one whose last step was to send: it had no answer to settle.
        """
        last_of: dict[int, Step] = {}
        for step in sorted(steps, key=lambda step: step.at_ns):
            if earlier.claim.fence <= step.fence < later.claim.fence:
                last_of[step.fence] = step
        return any(
            last.step in _BEFORE_SETTLING
            and 0 <= self._death_ns.get(last.pid, 0) - last.at_ns <= _DIES_WITHIN_MS * NS_PER_MS
            for last in last_of.values()
        )

    def _surely_before(self, one: Step, other: Step) -> bool:
        """Whether `one` happened before `other` even if `other` was written down as late as it can have been."""
        return one.at_ns < self._earliest_ns(other)

    def _earliest_ns(self, step: Step) -> int:
        earliest = step.at_ns - RECORDING_LAG_MS * NS_PER_MS
        for pause in self.evidence.pauses:
            is_its_own = pause.pid in (0, step.pid)
            if is_its_own and pause.from_ns <= step.at_ns <= pause.to_ns + RECORDING_LAG_MS * NS_PER_MS:
                earliest = min(earliest, pause.from_ns - RECORDING_LAG_MS * NS_PER_MS)
        return earliest


def _by_fence(sending: _Sending) -> int:
    return sending.claim.fence
