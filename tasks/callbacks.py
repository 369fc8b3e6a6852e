"""`axn.callbacks`: try callbacks that are due again."""

from tasks.process import this_process
from worker.app import app
from worker.domain.formats import MESSAGE, NewerFormatError
from worker.logs import get_log
from worker.messages import TASK_CALLBACKS, decode_ids

_log = get_log(__name__)


@app.task(name=TASK_CALLBACKS, Strategy="tasks.strategy:in_groups")
def callbacks(message: object = None, *_: object, **__: object) -> None:
    """Try the callbacks of one message."""
    process = this_process()
    try:
        told = decode_ids(message)
    except NewerFormatError:  # the timetable publishes its callbacks again
        process.newer.left(MESSAGE)
        return
    except ValueError as unreadable:
        _log.error("message dropped; the timetable publishes its callbacks again", message=str(unreadable))
        return
    process.runtime.run(process.deliver(told))
