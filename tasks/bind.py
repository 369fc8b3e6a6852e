"""`axn.bind`: one bind request from any Celery client, in any language.

    send_task("axn.bind", args=[{"phone_no_a": …, "expiration": …}], queue="axn.checkout")

The task's id is the request's idempotency key, unless it brings its own. Nothing is returned through Celery: the
outcome stands in the ledger and goes to the callback URL.
"""

import logging
from typing import Any

from celery import Task
from celery.exceptions import Reject
from celery.worker import state

from tasks.process import WorkerProcess, this_process
from worker.app import app
from worker.domain.job import Lane
from worker.errors import LedgerUnavailableError
from worker.messages import TASK_BIND

_log = logging.getLogger(__name__)
_FILE_AGAIN_MS = 1_000


@app.task(name=TASK_BIND, bind=True)
def bind(self: Task[Any, Any], /, *args: object, **kwargs: object) -> None:
    """File the request in the ledger, then work on it as on any other job."""
    given = args[0] if len(args) == 1 and not kwargs else kwargs or list(args)
    process = this_process()
    filed = process.runtime.run(_file(process, given, str(self.request.id)))
    if filed is not None:
        lane, job_id = filed
        process.work_on(lane, [job_id])


async def _file(process: WorkerProcess, given: object, task_id: str) -> tuple[Lane, str] | None:
    """Filed, however long the ledger is away: until then the message is the only copy of its request."""
    producer = process.services.producer
    is_waiting = False
    while True:
        try:
            return await producer.intake.file_message(given, task_id=task_id)
        except LedgerUnavailableError as unavailable:
            if state.should_stop is not None:  # another worker may have it
                raise Reject(unavailable, requeue=True) from None
            if not is_waiting:
                _log.warning("message %s waits: %s", task_id, unavailable)
            is_waiting = True
            await producer.clock.sleep_ms(_FILE_AGAIN_MS)
