"""What the tasks of foreign clients do with the request that each brings."""

from collections.abc import Mapping, Sequence

from tasks.process import this_process
from worker.domain.job import JobKind


def file_and_attempt(kind: JobKind, args: Sequence[object], kwargs: Mapping[str, object], task_id: str) -> None:
    """File the request in the ledger, then work on it as on any other job.

    Args:
        kind: of the request.
        args: the task's: the request is the only one,
        kwargs: or they are its fields.
        task_id: the request's idempotency key, unless it brings its own.
    """
    given = args[0] if len(args) == 1 and not kwargs else kwargs or list(args)
    process = this_process()
    intake = process.services.producer.intake
    filed = process.runtime.run(intake.file_message(given, task_id=task_id, kind=kind))
    if filed is not None:
        lane, job_id = filed
        process.work_on(lane, [job_id])
