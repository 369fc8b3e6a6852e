"""How messages of ids are taken in: in groups, straight to the process's loop, past Celery's pool.

Celery calls this its strategy. Its own makes a request of each message and gives it to a thread, which would do nothing
but wait for the loop. What only that can do stays with it: messages with a time to wait for, or with callbacks; workers
that send events; pools of processes, whose children work on messages by themselves.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from celery.concurrency.thread import TaskPool
from celery.worker.strategy import default

from tasks.process import WorkerProcess, this_process
from worker.domain.formats import NewerFormatError
from worker.held_messages import HeldMessages
from worker.messages import TASK_CALLBACKS, TASK_JOBS, IdsMessage, decode_ids

Strategy = Callable[[Any, Any, Any, Any, Any], Any]
_NO_LIMITS = (None, [None, None])
_LINKS = ("callbacks", "errbacks", "chain", "chord")

WORK: dict[str, Callable[[WorkerProcess, IdsMessage], Coroutine[Any, Any, None]]] = {
    TASK_JOBS: WorkerProcess.work_on,
    TASK_CALLBACKS: WorkerProcess.deliver,
}


def in_groups(task: Any, app: Any, consumer: Any, **options: Any) -> Strategy:
    """The strategy of a task of ids. Celery asks for it at each connection."""
    one_by_one: Strategy = default(task, app, consumer, **options)
    if not _can_hold(consumer):
        return one_by_one
    if consumer.held is None:
        consumer.held = HeldMessages(consumer, _call_on_loop)
    held: HeldMessages = consumer.held
    held.resume()
    work = WORK[task.name]

    def take(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> Any:
        told = _told(message) if body is None else None
        if told is None:
            return one_by_one(message, body, ack, reject, callbacks)
        held.take(message, lambda: work(this_process(), told))
        return None

    return take


def _call_on_loop(function: Callable[..., object], *arguments: object) -> None:
    this_process().runtime.call_soon(function, *arguments)


def _can_hold(consumer: Any) -> bool:
    events = consumer.event_dispatcher
    is_watched = bool(events and events.enabled)
    return hasattr(consumer, "held") and isinstance(consumer.pool, TaskPool) and bool(consumer.hub) and not is_watched


def _told(message: Any) -> IdsMessage | None:
    """What a plain message says; None where it is Celery's or the task's business."""
    headers = message.headers
    if headers.get("eta") or headers.get("expires") or headers.get("timelimit") not in _NO_LIMITS:
        return None
    arguments, named, linked = message.payload
    if len(arguments) != 1 or named or any((linked or {}).get(name) for name in _LINKS):
        return None
    try:
        return decode_ids(arguments[0])
    except (ValueError, NewerFormatError):
        return None
