"""`axn.jobs`: work on jobs that stand in the ledger, and feed batches."""

from tasks.process import this_process
from worker.app import app
from worker.domain.formats import MESSAGE, NewerFormatError
from worker.logs import get_log
from worker.messages import TASK_JOBS, decode_ids

_log = get_log(__name__)


@app.task(name=TASK_JOBS, Strategy="tasks.strategy:in_groups")
def jobs(message: object = None, *_: object, **__: object) -> None:
    """Work on the jobs of one message; what is not claimable is dropped quietly."""
    process = this_process()
    try:
        told = decode_ids(message)
    except NewerFormatError:  # the timetable publishes its jobs again
        process.newer.left(MESSAGE)
        return
    except ValueError as unreadable:
        _log.error("message dropped; the timetable publishes its jobs again", message=str(unreadable))
        return
    process.runtime.run(process.work_on(told))
