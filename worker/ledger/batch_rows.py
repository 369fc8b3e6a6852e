"""Where a batch's rows stand in the ledger: their places, their keys, and how an outcome is written.

A row is told by its chunk and its index in it; its job, and what is counted of it, stand in the job's own partition, so
that an end and its count are one step. One batch thus has sixteen hashes of counts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from worker.domain.batch import RowOutcome
from worker.domain.job import JobState, Lane
from worker.domain.job_ids import partition_of
from worker.ledger.keys import VERSION, job_keys, member_of, partition_tag, timetable_key
from worker.ledger.records import Claim, Settlement
from worker.ledger.seal import NO_SEAL, Seal
from worker.messages import BATCH_MARK

_TEXTS = 5
REFUSED = "refused"
"""The state of a row that could not become a job."""
RETRIABLE = frozenset({REFUSED, JobState.FAILED.value, JobState.EXPIRED.value, JobState.CANCELLED.value})
"""States of outcomes whose rows may be tried anew. One in doubt may be bound."""
MAY_BE_DONE = "poison"
"""A code whose rows are tried anew only where it is named: nobody knows what their workers did before they died."""
TROUBLES: Mapping[str, str] = {
    "isv.NO_AVAILABLE_NUMBER": "the pool has no free number for these rows; add numbers to it, or end bindings",
    "account.stopped": "the provider refuses the account; `axn pace show` tells why, mend that",
}
"""Codes of waits that pause a batch, with what to do: row after row would only meet the same."""


def _prefix(partition: int, batch_id: str) -> str:
    return f"{VERSION}:{partition_tag(partition)}:batch:{batch_id}"


def counts_key(partition: int, batch_id: str) -> str:
    """Hash: opened, closed, state:<state> and code:<code> of this partition's rows, and the last trouble."""
    return f"{_prefix(partition, batch_id)}:counts"


def outcomes_key(partition: int, batch_id: str, chunk: int) -> str:
    """Hash: index in the chunk -> outcome, of the rows whose jobs stand in this partition."""
    return f"{_prefix(partition, batch_id)}:rows:{chunk}"


def chunk_key(batch_id: str, chunk: int) -> str:
    """Text: the rows' digest, and the rows, packed."""
    return f"{_prefix(partition_of(batch_id), batch_id)}:chunk:{chunk}"


def batches_key(partition: int) -> str:
    """Set: ids of the batches of this partition."""
    return f"{VERSION}:{partition_tag(partition)}:batches"


@dataclass(frozen=True, slots=True)
class BatchKeys:
    """The keys of one batch's own record.

    Attributes:
        member: what stands for it in the timetable, and brings it to a worker that feeds it.
    """

    batch: str
    timetable: str
    batches: str
    member: str


def batch_keys(batch_id: str) -> BatchKeys:
    """Keys of this batch."""
    partition = partition_of(batch_id)
    return BatchKeys(
        batch=_prefix(partition, batch_id),
        timetable=timetable_key(partition),
        batches=batches_key(partition),
        member=member_of(Lane.BATCH, f"{BATCH_MARK}{batch_id}"),
    )


@dataclass(frozen=True, slots=True)
class RowPlace:
    """Which row of which batch, and the how manieth time that it is tried: field `batch` of its job's record."""

    batch_id: str
    chunk: int
    index: int
    round_: int

    def __str__(self) -> str:
        return f"{self.batch_id}/{self.chunk}/{self.index}/{self.round_}"

    @classmethod
    def parse(cls, text: str) -> "RowPlace":
        """The place that a job's record names."""
        batch_id, chunk, index, round_ = text.split("/")
        return cls(batch_id, int(chunk), int(index), int(round_))

    def counts_key(self, job_id: str) -> str:
        """Where the row's job is counted."""
        return counts_key(partition_of(job_id), self.batch_id)

    def row_keys(self, job_id: str) -> list[str]:
        """Its job, where that is counted, and where its outcome goes."""
        outcomes = outcomes_key(partition_of(job_id), self.batch_id, self.chunk)
        return [job_keys(job_id).job, self.counts_key(job_id), outcomes]


def keys_of_row(claim: Claim, settlement: Settlement) -> list[str]:
    """KEYS[11] and KEYS[12] of settle.lua: none but for rows that end, or wait because of trouble."""
    if not claim.batch or not (settlement.state.is_end or _is_trouble(settlement)):
        return []
    _, counts, outcomes = RowPlace.parse(claim.batch).row_keys(claim.job_id)
    return [counts, outcomes]


def _is_trouble(settlement: Settlement) -> bool:
    return settlement.state is JobState.WAITING and settlement.fields.get("code") in TROUBLES


@dataclass(frozen=True, slots=True)
class WrittenOutcome:
    """An outcome as the scripts write it: a JSON array, the empty ones at its end left out."""

    state: str
    round_: int
    tries: int = 0
    code: str = ""
    phone_no_x: str = ""
    subs_id: str = ""
    old_phone_no_x: str = ""
    message: str = ""

    @classmethod
    def parse(cls, text: str) -> "WrittenOutcome":
        """As it stands in Redis."""
        state, round_, tries, *rest = json.loads(text)
        return cls(str(state), int(round_), int(tries), *map(str, rest[:_TEXTS]))  # a newer release may say more

    def __str__(self) -> str:
        rest = [self.code, self.phone_no_x, self.subs_id, self.old_phone_no_x, self.message]
        while rest and not rest[-1]:
            rest.pop()
        return json.dumps([self.state, self.round_, self.tries, *rest], ensure_ascii=False, separators=(",", ":"))

    def is_retriable(self, codes: frozenset[str] | None) -> bool:
        """Whether the row may be tried anew, for one of these codes or, with None, for any but MAY_BE_DONE."""
        return self.state in RETRIABLE and (self.code != MAY_BE_DONE if codes is None else self.code in codes)

    def told(self, job_id: str, seal: Seal = NO_SEAL) -> RowOutcome:
        """As a report tells it.

        Args:
            job_id: of its job; none where it was refused.
            seal: opens the numbers, which the scripts take from the job's record as they are.
        """
        return RowOutcome(
            state=self.state,
            phone_no_x=seal.opened(job_id, "phone_no_x", self.phone_no_x),
            subs_id=self.subs_id,
            old_phone_no_x=seal.opened(job_id, "old_phone_no_x", self.old_phone_no_x),
            code=self.code,
            message=self.message,
            tries=self.tries,
            job_id="" if self.state == REFUSED else job_id,
        )
