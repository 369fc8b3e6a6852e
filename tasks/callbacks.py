"""`axn.callbacks`: try callbacks that are due again."""

import logging

from tasks.process import this_process
from worker.app import app
from worker.messages import TASK_CALLBACKS, decode_ids

_log = logging.getLogger(__name__)


@app.task(name=TASK_CALLBACKS, Strategy="tasks.strategy:in_groups")
def callbacks(message: object = None, *_: object, **__: object) -> None:
    """Try the callbacks of one message."""
    try:
        told = decode_ids(message)
    except ValueError as unreadable:
        _log.error("message dropped: %s; the timetable publishes its callbacks again", unreadable)
        return
    process = this_process()
    process.runtime.run(process.deliver(told))
