"""`axn.jobs`: work on jobs that stand in the ledger."""

import logging

from tasks.process import this_process
from worker.app import app
from worker.messages import TASK_JOBS, decode_ids

_log = logging.getLogger(__name__)


@app.task(name=TASK_JOBS)
def jobs(message: object = None, *_: object, **__: object) -> None:
    """Work on the jobs of one message; what is not claimable is dropped quietly."""
    try:
        lane, job_ids = decode_ids(message)
    except ValueError as unreadable:
        _log.error("message dropped: %s; the timetable publishes its jobs again", unreadable)
        return
    process = this_process()
    process.runtime.run(process.services.attempts.work_on(lane, job_ids))
