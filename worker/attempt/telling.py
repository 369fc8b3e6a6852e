"""What the log tells of attempts: one line for each change of a job's state."""

from typing import Any

from worker.domain.job import JobState, Lane
from worker.ledger.records import Claim, Settlement
from worker.logs import get_log

_log = get_log(__name__)
_BUGS = ("poison",)


def job_fields(claim: Claim) -> dict[str, Any]:
    """Which job, and which attempt at it."""
    fields = {"job_id": claim.job_id, "lane": claim.lane.value, "kind": claim.kind.value, "attempt": claim.attempt}
    return fields | {"batch_id": claim.batch.partition("/")[0]} if claim.batch else fields


def settled_fields(claim: Claim, settlement: Settlement) -> dict[str, Any]:
    """And what became of it."""
    fields = job_fields(claim)
    fields["state"] = settlement.state.value
    for name in ("code", "request_id"):
        if told := settlement.fields.get(name):
            fields[name] = str(told)
    if settlement.state is JobState.WAITING:
        fields["in_ms"] = settlement.delay_ms
    return fields


def log_claimed(claim: Claim) -> None:
    """A worker has it."""
    _log.debug("job claimed", state=JobState.SUBMITTING.value, **job_fields(claim))


def log_settled(claim: Claim, settlement: Settlement) -> None:
    """An expected end or a wait is information; a doubt waits for a person; poison is a bug somewhere."""
    fields = settled_fields(claim, settlement)
    if fields.get("code") in _BUGS:
        _log.error("job settled", **fields)
    elif settlement.state is JobState.IN_DOUBT:
        _log.warning("job settled", **fields)
    else:
        _log.info("job settled", **fields)


def log_broken_off(lane: Lane, job_id: str, failure: Exception) -> None:
    """A bug: the attempt has no end. The timetable brings the job back."""
    _log.error(
        "attempt broke off; the timetable brings its job back",
        job_id=job_id, lane=lane.value, error=type(failure).__name__, exc_info=failure,
    )  # fmt: skip
