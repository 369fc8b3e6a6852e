"""`axn.update`: one update request from any Celery client, in any language.

    send_task("axn.update", args=[{"bind_job_id": …, "phone_no_a": …}], queue="axn.checkout")

The task's id is the request's idempotency key, unless it brings its own. Nothing is returned through Celery: the
outcome stands in the ledger and goes to the callback URL.
"""

from typing import Any

from celery import Task

from tasks.filing import file_and_attempt
from worker.app import app
from worker.domain.job import JobKind
from worker.messages import TASK_UPDATE


@app.task(name=TASK_UPDATE, bind=True)
def update(self: Task[Any, Any], /, *args: object, **kwargs: object) -> None:
    """File an update request in the ledger, then work on it as on any other job."""
    file_and_attempt(JobKind.UPDATE, args, kwargs, self.request)
