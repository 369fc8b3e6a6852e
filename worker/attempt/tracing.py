"""What a trace tells of attempts: each is a span of its job's trace, with its claim, calls and settling in it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from worker.attempt.telling import job_fields
from worker.domain.job import JobState
from worker.ledger.records import Claim, Settlement
from worker.tracing import UNTRACED, Span, Tracer

_BAD = frozenset({JobState.FAILED, JobState.IN_DOUBT, JobState.EXPIRED})


def spanning_attempt(traces: Tracer, claim: Claim, claimed_in_ms: float) -> AbstractContextManager[Span]:
    """An attempt that began with its claim. Of a job that is not traced nothing is told."""
    return _spanning(traces, claim, claimed_in_ms) if claim.trace else UNTRACED


@contextmanager
def _spanning(traces: Tracer, claim: Claim, claimed_in_ms: float) -> Iterator[Span]:
    fields = {**job_fields(claim), "fence": claim.fence, "rescues": claim.rescues}
    with traces.begin("axn.attempt", claim.trace, ago_ms=claimed_in_ms, **fields) as span:
        with traces.step("axn.claim", ago_ms=claimed_in_ms):
            pass
        yield span


def spanning_settling(traces: Tracer, claim: Claim, settlement: Settlement) -> AbstractContextManager[Span]:
    """What an attempt came to is being written."""
    return _settling(traces, settlement) if claim.trace else UNTRACED


@contextmanager
def _settling(traces: Tracer, settlement: Settlement) -> Iterator[Span]:
    code = settlement.fields.get("code")
    with traces.step("axn.settle", state=settlement.state.value, code=code) as span:
        if settlement.state in _BAD:
            span.fail(str(code))
        yield span
