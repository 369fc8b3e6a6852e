"""The producers' face and the Celery tasks.

    from tasks import BindRequest, RebindRequest, UnbindRequest, UpdateRequest, submit, submit_many, wait
    from tasks import batch_report, read_batch, start_batch

Tasks, each in a module of its name: `axn.jobs` and `axn.callbacks` take ids that stand in the ledger; `axn.bind`,
`axn.update`, `axn.unbind` and `axn.rebind` take one request from any Celery client.
"""

from worker.batch_producers import (
    batch_report,
    batch_report_async,
    read_batch,
    read_batch_async,
    start_batch,
    start_batch_async,
)
from worker.batches.report import ReportLine
from worker.domain.batch import Batch, BatchState
from worker.domain.bind_request import BindRequest
from worker.domain.durability import Durability
from worker.domain.job import Job, JobKind, JobState, Lane, OnDoubt
from worker.domain.job_ids import job_id_for_key
from worker.domain.rebind_request import RebindRequest
from worker.domain.rebinding import RebindMode
from worker.domain.unbind_request import UnbindRequest
from worker.domain.update_request import UpdateRequest
from worker.errors import (
    AxnError,
    BadRowsError,
    BatchConflictError,
    BatchInputError,
    BatchNotFoundError,
    DurabilityUnavailableError,
    DurabilityUnconfirmedError,
    IdempotencyConflictError,
    InvalidRequestError,
    JobNotFoundError,
    LedgerUnavailableError,
    WaitTimeoutError,
)
from worker.intake.intake import Submitted
from worker.order_producers import close_order, close_order_async
from worker.producers import (
    close,
    read,
    read_async,
    submit,
    submit_async,
    submit_many,
    submit_many_async,
    wait,
    wait_async,
)
from worker.renewals.closing import ClosedOrder

__all__ = [
    "AxnError",
    "BadRowsError",
    "Batch",
    "BatchConflictError",
    "BatchInputError",
    "BatchNotFoundError",
    "BatchState",
    "BindRequest",
    "ClosedOrder",
    "Durability",
    "DurabilityUnavailableError",
    "DurabilityUnconfirmedError",
    "IdempotencyConflictError",
    "InvalidRequestError",
    "Job",
    "JobKind",
    "JobNotFoundError",
    "JobState",
    "Lane",
    "LedgerUnavailableError",
    "OnDoubt",
    "RebindMode",
    "RebindRequest",
    "ReportLine",
    "Submitted",
    "UnbindRequest",
    "UpdateRequest",
    "WaitTimeoutError",
    "batch_report",
    "batch_report_async",
    "close",
    "close_order",
    "close_order_async",
    "job_id_for_key",
    "read",
    "read_async",
    "read_batch",
    "read_batch_async",
    "start_batch",
    "start_batch_async",
    "submit",
    "submit_async",
    "submit_many",
    "submit_many_async",
    "wait",
    "wait_async",
]
