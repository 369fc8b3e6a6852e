"""How workers stay on a broker that misbehaves: reconnecting, and what they cannot read.

Two things of Celery's own are replaced, both through its public settings (`amqp=` and `worker_consumer`):

- The connection. kombu waits up to 30 s between tries to reconnect; ours at most 3 s, jittered. On Redis it also has
  a channel of our own (`worker.broker_channel`).
- The consumer. Celery logs the content of what it cannot handle; ours names it and sets it aside. At its end it waits
  for the messages that are worked on without the pool.

Ids in a message that is set aside come again by the timetable.
"""

import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import kombu
from celery.app.amqp import AMQP
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.transport import redis as kombu_redis

from worker.broker_channel import UNREADABLE, SentinelTransport, Transport
from worker.domain.masking import mask_value
from worker.held_messages import HeldMessages
from worker.logs import get_log
from worker.messages import TASK_PREFIX

_log = get_log(__name__)

LONGEST_TASK_ID = 255
"""As in AMQP. Every log line of a task repeats its id."""

_HAND_BACK_S = 2.0
_SHARE_HANDED_BACK = 4
LONGEST_RECONNECT_PAUSE_S = 3.0
_SETTLED_AFTER_S = 5.0
"""A connection that broke sooner was refused rather than lost (a read-only Redis, a full one): the next one waits."""


def reconnect_pause_s(random_share: Callable[[], float] = random.random) -> float:
    """A third to all of the longest pause, so that workers who lost one broker do not come back together."""
    return LONGEST_RECONNECT_PAUSE_S * (1 + 2 * random_share()) / 3


def hand_back_after_s(random_share: Callable[[], float] = random.random) -> float:
    """Half to one and a half of the usual time.

    Redis gives a message to whoever has waited longest, and each waits a second at a time: after a fixed time it would
    be this process again, for ever.
    """
    return _HAND_BACK_S * (0.5 + random_share())


class Connection(kombu.Connection):
    """Tries again soon; on Redis its channels survive what is no message."""

    def _ensure_connection(  # type: ignore[override, unused-ignore]
        self,
        errback: Any = None,
        max_retries: int | None = None,
        interval_start: float | None = None,
        interval_step: float = 0.5,
        interval_max: float | None = None,
        **more: Any,
    ) -> Any:
        longest = reconnect_pause_s() if interval_max is None else interval_max
        start = longest / 6 if interval_start is None else interval_start
        connect: Any = super()._ensure_connection  # typed with whole seconds, while it takes parts of them
        return connect(errback, max_retries, start, interval_step, longest, **more)

    def get_transport_cls(self) -> Any:
        """Ours for Redis; that of kombu for every other broker."""
        theirs: Any = super().get_transport_cls()
        return {kombu_redis.Transport: Transport, kombu_redis.SentinelTransport: SentinelTransport}.get(theirs, theirs)


class Amqp(AMQP):
    """Gives the application our connections."""

    Connection = Connection


class Consumer(CeleryConsumer):
    """Celery's consumer: paces its reconnecting, and logs no content of what it cannot handle. For any broker."""

    connection_errors: tuple[type[BaseException], ...]
    held: HeldMessages | None = None
    """Set by the strategy of tasks whose messages are worked on without the pool."""
    qos: Any
    _handing_back = 0
    _connected_at_s = float("-inf")

    def connect(self) -> Any:
        if time.monotonic() - self._connected_at_s < _SETTLED_AFTER_S:
            time.sleep(reconnect_pause_s())
        try:
            return super().connect()
        finally:
            self._connected_at_s = time.monotonic()

    def stop(self) -> None:
        """No message is taken in any more, then those that are held end: the pool's tasks are waited for after that."""
        super().stop()
        if self.held is not None:
            self.held.finish()

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:
        handle: Callable[[Any], None] = super().create_task_handler(*arguments, **options)

        def handle_if_well_formed(message: Any) -> None:
            try:
                fault = _fault_of(message)
            except UNREADABLE as unreadable:
                fault = type(unreadable).__name__
            if fault:
                self._refuse(message, fault)
            else:
                handle(message)

        return handle_if_well_formed

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        self._refuse(message, type(exc).__name__)

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - Celery's signature
        self._refuse(message, "no task is named")

    def on_unknown_task(self, body: Any, message: Any, exc: BaseException) -> None:  # noqa: ARG002 - Celery's signature
        name = str(exc.args[0]) if exc.args else ""
        if not name.startswith(TASK_PREFIX) or not self._is_handed_back(message, name):
            self._refuse(message, f"unknown task {mask_value(name)}")

    def _is_handed_back(self, message: Any, name: str) -> bool:
        """A task of ours that this release does not know is a newer one's request, and perhaps its only copy.

        It goes back to the queue after a while, for a newer worker to take. Only few wait here at a time, so that they
        leave the prefetch to others.
        """
        if self._handing_back >= max(1, self.qos.value // _SHARE_HANDED_BACK):
            return False
        after_s = hand_back_after_s()
        _log.warning("request of a newer release: handed back", task=mask_value(name), in_ms=round(after_s * 1000))
        self._handing_back += 1
        self.timer.call_after(after_s, self._hand_back, (message,))
        return True

    def _hand_back(self, message: Any) -> None:
        self._handing_back -= 1
        if message.channel.connection is not None:  # else its broker has it back already, or will have
            message.reject_log_error(logging.getLogger(__name__), self.connection_errors, requeue=True)

    def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:  # noqa: ARG002 - Celery's signature
        self._refuse(message, type(exc).__name__)

    def _refuse(self, message: Any, why: str) -> None:
        queue = str(message.delivery_info.get("routing_key", "")) if isinstance(message.delivery_info, dict) else ""
        set_aside = getattr(message.channel, "set_aside", None)
        if set_aside is None:  # another broker than Redis
            _log.error("message cannot be handled: dropped", queue=mask_value(queue), code=why)
        else:
            set_aside(mask_value(queue), json.dumps(message._raw), why)  # noqa: SLF001 - as it came
        message.reject_log_error(logging.getLogger(__name__), self.connection_errors)


def _fault_of(message: Any) -> str:
    """What Celery would find only in the pool, where it leaves the message neither run nor acknowledged for good."""
    payload, headers = message.payload, message.headers
    if "task" in headers:
        args, kwargs, embedded = payload
        task_id = headers["id"]
    elif isinstance(payload, dict) and "task" in payload:  # Celery's protocol 1
        args, kwargs, embedded = payload.get("args", []), payload.get("kwargs", {}), None
        task_id = payload["id"]
    else:
        return ""  # no task is named: Celery's own check, on_unknown_message
    if not isinstance(task_id, str) or len(task_id) > LONGEST_TASK_ID:
        return f"its id is no text of at most {LONGEST_TASK_ID} characters"
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        return "its arguments are no list and mapping"
    return "" if _is_well_linked(embedded) else "its callbacks are no signatures"


def _is_well_linked(embedded: Any) -> bool:
    if embedded is None:
        return True
    lists = [embedded.get(name) or [] for name in ("callbacks", "errbacks", "chain")]
    items = [item for given in lists for item in given if isinstance(given, list)]
    return (
        all(isinstance(given, list) for given in lists)
        and all(isinstance(item, dict) for item in items)
        and isinstance(embedded.get("chord") or {}, dict)
    )
