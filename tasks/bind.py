"""`axn.bind`: one bind request from any Celery client, in any language.

    send_task("axn.bind", args=[{"phone_no_a": …, "expiration": …}], queue="axn.checkout")

The task's id is the request's idempotency key, unless it brings its own. Nothing is returned through Celery: the
outcome stands in the ledger and goes to the callback URL.
"""

from typing import Any

from celery import Task

from tasks.process import this_process
from worker.app import app
from worker.messages import TASK_BIND


@app.task(name=TASK_BIND, bind=True)
def bind(self: Task[Any, Any], /, *args: object, **kwargs: object) -> None:
    """File the request in the ledger, then work on it as on any other job."""
    given = args[0] if len(args) == 1 and not kwargs else kwargs or list(args)
    process = this_process()
    filed = process.runtime.run(process.services.producer.intake.file_message(given, task_id=str(self.request.id)))
    if filed is not None:
        lane, job_id = filed
        process.work_on(lane, [job_id])
