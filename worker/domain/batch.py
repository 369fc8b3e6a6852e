"""A batch: a file's rows in the ledger, fed to the workers a window at a time.

A row waits in a compressed chunk, becomes a job when its turn comes, and leaves an outcome behind. Its job's id follows
from the batch's id, the row's key and the round (`row_job_id`), so that no row is ever two jobs of one round.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from worker.domain.job_ids import job_id_for_key, partition_of

DEFAULT_WINDOW = 2_000


class BatchState(StrEnum):
    """Where a batch stands: uploading -> running <-> paused, then finished or cancelled."""

    UPLOADING = "uploading"
    """Rows are still coming; none is begun."""
    RUNNING = "running"
    """Rows are fed, within its hours and its rate."""
    PAUSED = "paused"
    """No row is fed; `reason` says why."""
    CANCELLED = "cancelled"
    """Rows not begun stay so. Those that were begun come to their ends."""
    FINISHED = "finished"
    """Every row has its outcome."""

    @property
    def is_end(self) -> bool:
        """Whether nothing more is fed."""
        return self in (BatchState.CANCELLED, BatchState.FINISHED)


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a batch is run.

    Attributes:
        per_second: rows fed at most; 0: as many as the pace lets through.
        window: jobs alive at most.
        not_before, not_after: hours in which rows are fed, `HH:MM` of Asia/Shanghai, both or none; a span over midnight
            has the later one first.
        callback_url, callback_secret_name: for `batch.finished`.
    """

    per_second: int = 0
    window: int = DEFAULT_WINDOW
    not_before: str = ""
    not_after: str = ""
    callback_url: str = ""
    callback_secret_name: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it can be seen. Times are Unix ms by Redis's clock, 0 where the thing has not happened.

    Attributes:
        rows: of all chunks so far; final unless it is uploading.
        begun: rows that became jobs, or were refused when their turn came.
        alive: rows whose jobs have not ended.
        by_state: rows by the state of their outcome.
        by_code: rows that did not succeed, by the code of their outcome.
        reason: why it is paused; by whom, where a person did it.
        began_at: of the first row; finished_at: of the last.
    """

    batch_id: str
    name: str
    state: BatchState
    options: BatchOptions
    rows: int
    begun: int = 0
    alive: int = 0
    by_state: Mapping[str, int] = field(default_factory=dict)
    by_code: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    created_at: int = 0
    began_at: int = 0
    finished_at: int = 0

    @property
    def ended(self) -> int:
        """Rows that have an outcome."""
        return sum(self.by_state.values())


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What became of a row.

    Attributes:
        state: of its job; `refused` where it could not become one; empty where it has none yet.
        old_phone_no_x: of a rebind.
        tries: attempts of its job.
        job_id: as long as the job's record stays, it tells more.
    """

    state: str = ""
    phone_no_x: str = ""
    subs_id: str = ""
    old_phone_no_x: str = ""
    code: str = ""
    message: str = ""
    tries: int = 0
    job_id: str = ""


def batch_id_for_name(name: str) -> str:
    """The batch of this name, for ever."""
    return job_id_for_key(f"batch\x1f{name}")


def row_job_id(batch_id: str, row_key: str, round_: int) -> str:
    """The job of this row.

    Jobs of all rounds stand in one partition, so that a later one's end can take back what the earlier one's counts.

    Args:
        batch_id: of its batch.
        row_key: see `worker.batches.rows`.
        round_: 0, and one more each time that the row is tried anew.
    """
    first = job_id_for_key(f"row\x1f{batch_id}\x1f{row_key}\x1f0")
    if not round_:
        return first
    candidates = (job_id_for_key(f"row\x1f{batch_id}\x1f{row_key}\x1f{round_}\x1f{salt}") for salt in itertools.count())
    return next(job_id for job_id in candidates if partition_of(job_id) == partition_of(first))
