"""Follows every job of a soak while it runs, and judges what can be judged at once: a record does not stay for long.

Attempts and callbacks are judged a while after their job has ended, some hundreds of jobs at a time, so that a soak of
hours takes no more memory for them than one of minutes. Ends and effects are judged when all is over.
"""

import asyncio
import contextlib
import hashlib
import heapq
import time
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from redis.exceptions import RedisError

from tests.chaos.bench import Bench
from tests.chaos.callback_bench import DEFAULT_KEY, is_told, owed_by
from tests.chaos.callback_checker import DELIVERED, Arrival, CallbackEvidence, KeySpan, check_callbacks, delays_ms
from tests.chaos.checker import WRONG, Evidence, FenceCheck, Violation
from tests.chaos.histories import NS_PER_MS, Death, ProducerHistory, Record, Step, Submission, Tail, step_of
from tests.chaos.orders import Order
from tests.chaos.receivers import Sinks
from tests.chaos.soak.load import Load, PlanFile

_JUDGED_AFTER_S = 12.0
"""From a job's end: by then every process has written down what it did."""
_MISSING_S = 20.0
"""A record that is not found for so long is lost: Redis may just be reading its file again."""
_TWICE = 2
_DEATH_MS = 1_000
_WHOLE_RUN_MS = 10**9
"""Nothing is judged by how long it took."""
_ENDS = {"bind": frozenset({"bound", "in_doubt"}), "update": frozenset({"updated"}), "unbind": frozenset({"unbound"})}


@dataclass(slots=True)
class Followed:
    """An accepted order."""

    order: Order
    submission: Submission
    record: Record | None = None
    missing_since_s: float = 0.0

    @property
    def is_done(self) -> bool:
        """Whether its end is known and told."""
        has_ended = self.record is not None and self.record.has_ended
        return has_ended and (not self.submission.receiver or is_told(self.record))


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records stay: seconds.

    Attributes:
        result_s: of a job after its end.
        binding_s: of a binding after its own end.
        swept_s: until somebody looks for such bindings, at most.
        slack_s: for a Redis that is away.
    """

    result_s: int
    binding_s: int
    swept_s: int
    slack_s: int

    def until_s(self, finished_s: float, binding_ends_s: float = 0) -> float:
        """When the record of a job is gone at the latest, Unix s; a binding's goes with it."""
        return max(finished_s + self.result_s, binding_ends_s + self.binding_s + self.swept_s) + self.slack_s


@dataclass
class Watch:
    """All jobs of a soak.

    Attributes:
        open: by job id, those that have not ended, or whose callback is owed.
        done: those whose end is known and told.
        counts: accepted and ended jobs, judged ones, repeated callbacks …
        delays_ms: of callbacks to healthy receivers.
    """

    bench: Bench
    sinks: Sinks
    load: Load
    changes: PlanFile
    histories: Sequence[Tail]
    schedule_ms: Sequence[int]
    skews_ms: Sequence[int]
    retention: Retention
    open: dict[str, Followed] = field(default_factory=dict)
    done: dict[str, Followed] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    delays_ms: list[int] = field(default_factory=list)
    is_changing: bool = True
    _steps: defaultdict[str, list[Step]] = field(default_factory=lambda: defaultdict(list))
    _tails: dict[str, Tail] = field(default_factory=dict)
    _arrivals: defaultdict[str, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    _told: dict[str, bytes] = field(default_factory=dict)
    _to_judge: deque[tuple[float, Followed]] = field(default_factory=deque)
    _on_record: list[tuple[float, str]] = field(default_factory=list)

    async def look(self) -> None:
        """Take in what is new. What Redis does not tell just now is asked for at the next look."""
        await asyncio.to_thread(self._read_histories)
        self._take_arrivals()
        with contextlib.suppress(RedisError, OSError):
            await self._read_records()

    async def judge_some(self, *, all_of_it: bool = False) -> None:
        """Judge attempts and callbacks of what has ended long enough ago; at the end all, what has not ended, too."""
        if all_of_it:
            self._to_judge += [(time.monotonic(), one) for one in self.open.values()]
        until_s = time.monotonic() - (0 if all_of_it else _JUDGED_AFTER_S)
        cohort = []
        while self._to_judge and self._to_judge[0][0] <= until_s:
            cohort.append(self._to_judge.popleft()[1])
        if cohort:
            self.bench.violations += await asyncio.to_thread(self._judge, cohort)

    def judge_leftovers(self) -> None:
        """At the end: what was heard or done for jobs that nobody was told are accepted, or that had ended."""
        for job_id, arrivals in self._arrivals.items():
            if job_id not in self.done and job_id not in self.open:
                self.bench.blame("I4", WRONG, f"{len(arrivals)} callbacks of a job that nobody knows", job_id)
            elif any(self._told.get(one.webhook_id, _digest(one)) != _digest(one) for one in arrivals):
                self.bench.blame("I4", WRONG, "a late callback is another than the first", job_id)
        for job_id, steps in self._steps.items():
            if job_id in self.done and any(step.step == "attempt.sending" for step in steps):
                self.bench.blame("I6", WRONG, "a request was sent for it after its end", job_id)

    def records_allowed(self) -> int:
        """How many records of jobs may be there now: those not ended, and those that ended not long enough ago."""
        now_s = time.time()
        while self._on_record and self._on_record[0][0] < now_s:
            _, job_id = heapq.heappop(self._on_record)
            if (until_s := self._kept_until_s(self.done[job_id])) >= now_s:
                heapq.heappush(self._on_record, (until_s, job_id))
        return len(self.load.planned) + len(self.open) + len(self._on_record) + self.in_doubt

    @property
    def in_doubt(self) -> int:
        """Jobs that wait for a person, and stay until then."""
        return self.counts["in_doubt"]

    @property
    def outstanding(self) -> int:
        """Orders that are planned, filed or at work."""
        return len(self.load.planned) + len(self.open)

    @property
    def at_work(self) -> int:
        """The same without changes that are planned for later."""
        return len(self.open) + sum(order.kind == "bind" for order in list(self.load.planned.values()))

    def oldest_s(self) -> float:
        """Age of the oldest job that has not ended."""
        waiting = [one.submission.accepted_ms for one in list(self.open.values()) if one.record is None]
        return max(0.0, time.time() - min(waiting, default=time.time() * 1000) / 1000)

    # --- taking in ---

    def _read_histories(self) -> None:
        for tail in self.histories:
            history = ProducerHistory()
            for event in tail.new_events():
                history.note(event)
            for order, error in history.refused.items():
                refused = self.load.planned.pop(order, None)
                if refused is not None and self.load.is_late(refused, time.time()):
                    self.counts["too late"] += 1
                    continue
                self.bench.blame("I1", WRONG, f"order {order} was refused: {error}")
            for error in history.unforeseen:
                self.bench.blame("X2", WRONG, f"submitting raised {error}, which no caller is told to expect")
            for order, (job_id, accepted_ms) in history.accepted.items():
                self._accept(order, job_id, accepted_ms)
        for path in self.bench.system.steps_folder.glob("*.jsonl"):
            for event in self._tails.setdefault(path.name, Tail(path)).new_events():
                if step := step_of(event):
                    self._steps[step.job_id].append(step)

    def _accept(self, order: str, job_id: str, accepted_ms: int) -> None:
        planned = self.load.planned.pop(order, None)
        if planned is None:
            return  # told again, after a producer's death
        submission = Submission(
            order=order, job_id=job_id, accepted_ms=accepted_ms, on_doubt=planned.on_doubt,
            may_end=_ENDS[planned.kind], receiver=planned.receiver,
        )  # fmt: skip
        self.open[job_id] = Followed(planned, submission)
        self.counts["accepted"] += 1

    def _take_arrivals(self) -> None:
        arrivals, self.sinks.arrivals[:] = list(self.sinks.arrivals), []
        for arrival in arrivals:
            self.counts["tries"] += 1
            if (known := self._told.get(arrival.webhook_id)) is None:
                self._arrivals[arrival.job_id].append(arrival)
            elif known != _digest(arrival):
                self.bench.blame("I4", WRONG, "a late callback has another body than the first", arrival.job_id)

    async def _read_records(self) -> None:
        found = await self.bench.system.records(list(self.open))
        for job_id, record in found.items():
            one = self.open[job_id]
            if record is None:
                self._note_missing(one)
                continue
            one.missing_since_s = 0.0
            if not record.has_ended:
                continue
            if one.record is None:
                self._note_end(one, record)
            one.record = record
            if one.is_done:
                self._close(job_id)

    def _note_missing(self, one: Followed) -> None:
        """No record. Right where it ended long ago and its callback waits for a receiver that was not there."""
        job_id = one.submission.job_id
        if one.record is not None:
            webhook_id = owed_by(one.submission, one.record).webhook_id
            if any(arrival.is_taken and arrival.webhook_id == webhook_id for arrival in self._arrivals.get(job_id, ())):
                one.record = replace(one.record, callback_state=DELIVERED)
                self._close(job_id)
            return
        now_s = time.monotonic()
        one.missing_since_s = one.missing_since_s or now_s
        if now_s - one.missing_since_s > _MISSING_S:
            self._close(job_id)  # the checker tells that it is lost

    def _note_end(self, one: Followed, record: Record) -> None:
        self.counts["ended"] += 1
        self.counts[record.state] += 1
        if record.state == "failed" and self.load.is_late(one.order, record.finished_at / 1000):
            self.counts["too late"] += 1
            one.submission = replace(one.submission, may_end=one.submission.may_end | {"failed"})
        if record.state != "bound" or record.possible_orphans or not self.is_changing:
            return
        if change := self.load.change(one.order):
            at_s, order = change
            if expiration := order.request.get("expiration"):
                self.load.expirations[one.order.order] = expiration
            self.changes.submit(at_s, [order])

    def _close(self, job_id: str) -> None:
        one = self.open.pop(job_id)
        self.done[job_id] = one
        self._to_judge.append((time.monotonic(), one))
        if one.record and one.record.state != "in_doubt":
            heapq.heappush(self._on_record, (self._kept_until_s(one), job_id))

    def _kept_until_s(self, one: Followed) -> float:
        assert one.record is not None
        is_bound, finished_s = one.record.state == "bound", one.record.finished_at / 1000
        return self.retention.until_s(finished_s, self.load.ends_s(one.order, finished_s) if is_bound else 0)

    # --- judging ---

    def _judge(self, cohort: Sequence[Followed]) -> list[Violation]:
        lives = [life for kept in self.bench.system.processes for life in kept.lives if life.ended_ns]
        steps = [step for one in cohort for step in self._steps.pop(one.submission.job_id, ())]
        fences = FenceCheck(
            Evidence(
                (), {}, (), sorted(steps, key=lambda step: step.at_ns), list(self.bench.pauses),
                [Death(life.pid, life.ended_ns) for life in lives],
            )
        )  # fmt: skip
        violations = fences.run()
        self.counts["judged"] += len(cohort)
        self.counts["attempts"] += sum(step.step == "attempt.sending" for step in steps)
        self.counts["unwitnessed"] += fences.unwitnessed
        evidence = self._callbacks_of(cohort)
        self.delays_ms += delays_ms(evidence)
        return violations + check_callbacks(evidence)

    def _callbacks_of(self, cohort: Sequence[Followed]) -> CallbackEvidence:
        of_job = {one.submission.job_id: self._arrivals.pop(one.submission.job_id, []) for one in cohort}
        owed = [
            replace(
                owed_by(one.submission, one.record), may_begin_anew=self._met_a_death(of_job[one.submission.job_id])
            )
            for one in cohort
            if one.record is not None and one.submission.receiver
        ]
        arrivals = [arrival for of_one in of_job.values() for arrival in of_one]
        self._told |= {arrival.webhook_id: _digest(arrival) for arrival in arrivals}
        self.counts["callbacks"] += len(owed)
        taken = Counter(arrival.webhook_id for arrival in arrivals if arrival.is_taken)
        self.counts["delivered"] += len(taken)
        self.counts["taken again"] += taken.total() - len(taken)
        return CallbackEvidence(
            owed=owed,
            receivers={host: sink.receiver for host, sink in self.sinks.by_host.items()},
            arrivals=arrivals,
            default_keys=[KeySpan(DEFAULT_KEY)],
            schedule_ms=self.schedule_ms,
            bystanders_within_ms=_WHOLE_RUN_MS,
            skews_ms=self.skews_ms,
        )

    def _met_a_death(self, arrivals: Sequence[Arrival]) -> bool:
        """Whether a worker ended between its tries, or nearly so: what that one had in hand is tried at once."""
        if len(arrivals) < _TWICE:
            return False
        # The monotonic clock's moments, as wall clock.
        offset_ms = time.time() * 1000 - time.monotonic() * 1000
        from_ms = min(one.at_ms for one in arrivals) - _DEATH_MS - offset_ms
        to_ms = max(one.at_ms for one in arrivals) + _DEATH_MS - offset_ms
        return any(
            from_ms <= life.ended_ns / NS_PER_MS <= to_ms
            for kept in self.bench.system.workers.values()
            for life in kept.lives
            if life.ended_ns
        )


def _digest(arrival: Arrival) -> bytes:
    return hashlib.blake2s(arrival.body, digest_size=8).digest()
