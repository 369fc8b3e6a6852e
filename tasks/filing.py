"""What the tasks of foreign clients do with the request that each brings."""

from collections.abc import Mapping, Sequence
from typing import Any

from celery.exceptions import Reject
from celery.worker import state

from tasks.process import WorkerProcess, this_process
from worker.domain.job import JobKind, Lane
from worker.errors import LedgerUnavailableError
from worker.logs import get_log
from worker.messages import IdsMessage
from worker.tracing import TRACEPARENT

_log = get_log(__name__)
_FILE_AGAIN_MS = 1_000


def trace_of(request: Any) -> str:
    """The traceparent that a message carries, among Celery's own headers or beside them; empty where it has none."""
    beside = getattr(request, "headers", None)
    found = getattr(request, TRACEPARENT, None) or (beside.get(TRACEPARENT) if isinstance(beside, Mapping) else None)
    return found if isinstance(found, str) else ""


def file_and_attempt(kind: JobKind, args: Sequence[object], kwargs: Mapping[str, object], request: Any) -> None:
    """File the request in the ledger, then work on it as on any other job.

    Args:
        kind: of the request.
        args: the task's: the request is the only one,
        kwargs: or they are its fields.
        request: the task's, as Celery has it. Its id is the idempotency key, unless the request brings its own.
    """
    task_id = str(request.id)
    given = args[0] if len(args) == 1 and not kwargs else kwargs or list(args)
    process = this_process()
    filed = process.runtime.run(_traced(process, given, task_id, kind, trace_of(request)))
    if filed is not None:
        lane, job_id = filed
        process.runtime.run(process.work_on(IdsMessage(lane, [job_id], published_at_ms=0)))


async def _traced(
    process: WorkerProcess, given: object, task_id: str, kind: JobKind, caller: str
) -> tuple[Lane, str] | None:
    with process.services.producer.traces.root("axn.file", caller=caller, kind=kind.value) as span:
        filed = await _file(process, given, task_id, kind)
        if filed is not None:
            span.tell(lane=filed[0].value, job_id=filed[1])
        return filed


async def _file(process: WorkerProcess, given: object, task_id: str, kind: JobKind) -> tuple[Lane, str] | None:
    """Filed, however long the ledger is away: until then the message is the only copy of its request."""
    producer = process.services.producer
    is_waiting = False
    while True:
        try:
            return await producer.intake.file_message(given, task_id=task_id, kind=kind)
        except LedgerUnavailableError as unavailable:
            if state.should_stop is not None:  # another worker may have it
                raise Reject(unavailable, requeue=True) from None
            if not is_waiting:
                _log.warning("message waits", task_id=task_id, kind=kind.value, message=str(unavailable))
            is_waiting = True
            await producer.clock.sleep_ms(_FILE_AGAIN_MS)
