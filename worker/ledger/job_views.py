"""A job's record as those see it who only read: whoever asks for a job, and whoever must know whether it has ended."""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from worker.domain.formats import JOB
from worker.domain.job import Job, JobKind, JobState, Lane, Orphan
from worker.ledger.records import BrokenRecordError, parameters_of
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import ORPHAN_PREFIX, opened_record

EnumT = TypeVar("EnumT", bound=StrEnum)


def job_from_record(job_id: str, record: Mapping[str, str], seal: Seal = NO_SEAL) -> Job:
    """Read a job's hash as its producer may see it.

    Raises:
        BrokenRecordError: it tells no state that this release knows.
        SealError: its numbers cannot be read.
    """
    record = opened_record(seal, job_id, record)
    state = _known_or_none(JobState, record.get("state")) or _newer_state(record)
    if state is None:
        raise BrokenRecordError(f"job {job_id}: its record tells no state that this release knows")
    try:
        parameters = parameters_of(record)
    except BrokenRecordError:  # what is known of its end can be read all the same
        parameters = {}
    return Job(
        job_id=job_id,
        state=state,
        lane=_known(Lane, record.get("lane"), Lane.CHECKOUT),
        kind=_known(JobKind, record.get("kind"), JobKind.BIND),
        phone_no_x=record.get("phone_no_x", ""),
        subs_id=record.get("subs_id", ""),
        request_id=record.get("request_id", ""),
        code=record.get("code", ""),
        message=record.get("message", ""),
        attempts=int(record.get("attempts", 0)),
        accepted_at=int(record.get("accepted_at", 0)),
        finished_at=int(record.get("finished_at", 0)),
        next_at=int(record.get("next_at", 0)) if state is JobState.WAITING else 0,
        deadline_at=int(record.get("deadline_at", 0)),
        expiration=parameters.get("Expiration", ""),
        out_id=parameters.get("OutId", ""),
        out_order_id=parameters.get("OutOrderId", ""),
        possible_orphans=int(record.get("possible_orphans", 0)),
        callback_state=record.get("callback_state", ""),
        callback_attempts=int(record.get("callback_attempts", 0)),
        orphans=tuple(
            Orphan(**json.loads(text)) for name, text in sorted(record.items()) if name.startswith(ORPHAN_PREFIX)
        ),
        resolved_by=record.get("resolved_by", ""),
        step=record.get("step", ""),
        old_phone_no_x=record.get("old_phone_no_x", ""),
        old_subs_id=record.get("old_subs_id", ""),
    )


def _newer_state(record: Mapping[str, str]) -> JobState | None:
    """What a state of a newer release's is to whoever waits for the job's end: as long as it has none, it waits."""
    version = record.get("v", "")
    is_newer = version.isdecimal() and int(version) > JOB.reads
    return JobState.WAITING if is_newer and record.get("state") and "finished_at" not in record else None


def has_ended(state: str | None, finished_at: str | None) -> bool:
    """Whether a record that tells this will not be moved by a worker any more; without a record, too.

    A state that this release does not know may be one of a newer release, which still works on the job.
    """
    if state is None:
        return True
    known = _known_or_none(JobState, state)
    return known.is_end if known else finished_at is not None


def is_bound_state(state: str) -> bool:
    """Whether a record that tells this state is a binding's record, too."""
    return any(known.is_bound for known in JobState if known == state)


def _known(kind: type[EnumT], value: str | None, default: EnumT) -> EnumT:
    """The member of this value; the default for one that this release does not know."""
    return _known_or_none(kind, value) or default


def _known_or_none(kind: type[EnumT], value: str | None) -> EnumT | None:
    return next((member for member in kind if member == value), None)
