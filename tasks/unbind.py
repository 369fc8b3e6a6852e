"""`axn.unbind`: one unbind request from any Celery client, in any language.

    send_task("axn.unbind", args=[{"bind_job_id": …}], queue="axn.checkout")

The task's id is the request's idempotency key, unless it brings its own. Nothing is returned through Celery: the
outcome stands in the ledger and goes to the callback URL.
"""

from typing import Any

from celery import Task

from tasks.filing import file_and_attempt
from worker.app import app
from worker.domain.job import JobKind
from worker.messages import TASK_UNBIND


@app.task(name=TASK_UNBIND, bind=True)
def unbind(self: Task[Any, Any], /, *args: object, **kwargs: object) -> None:
    """File an unbind request in the ledger, then work on it as on any other job."""
    file_and_attempt(JobKind.UNBIND, args, kwargs, self.request)
