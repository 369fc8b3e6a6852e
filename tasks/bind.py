"""`axn.bind`: one bind request from any Celery client, in any language.

    send_task("axn.bind", args=[{"phone_no_a": …, "expiration": …}], queue="axn.checkout")

The task's id is the request's idempotency key, unless it brings its own. Nothing is returned through Celery: the
outcome stands in the ledger and goes to the callback URL.
"""

from typing import Any

from celery import Task

from tasks.filing import file_and_attempt
from worker.app import app
from worker.domain.job import JobKind
from worker.messages import TASK_BIND


@app.task(name=TASK_BIND, bind=True)
def bind(self: Task[Any, Any], /, *args: object, **kwargs: object) -> None:
    """File a bind request in the ledger, then work on it as on any other job."""
    file_and_attempt(JobKind.BIND, args, kwargs, self.request)
