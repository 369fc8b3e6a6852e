"""`axn.jobs`: work on jobs that stand in the ledger."""

import logging

from tasks.process import this_process
from worker.app import app
from worker.messages import RENEWAL_MARK, TASK_JOBS, decode_ids

_log = logging.getLogger(__name__)


@app.task(name=TASK_JOBS)
def jobs(message: object = None, *_: object, **__: object) -> None:
    """Work on the jobs of one message; what is not claimable is dropped quietly."""
    try:
        told = decode_ids(message)
    except ValueError as unreadable:
        _log.error("message dropped: %s; the timetable publishes its jobs again", unreadable)
        return
    process = this_process()
    renewals = [id_ for id_ in told.ids if id_.startswith(RENEWAL_MARK)]
    if renewals:
        process.renew(renewals, published_at_ms=told.published_at_ms)
    jobs_ = [id_ for id_ in told.ids if not id_.startswith(RENEWAL_MARK)]
    if jobs_:
        process.work_on(told.lane, jobs_, published_at_ms=told.published_at_ms)
