"""How workers stay on a broker that misbehaves: reconnecting, and what they cannot read.

Two things of Celery's own are replaced, both through its public settings (`amqp=` and `worker_consumer`):

- The connection. kombu waits up to 30 s between tries to reconnect; ours at most 3 s, jittered. On Redis it also has
  a channel that survives what is no message: kombu's ends the whole worker on a single `LPUSH axn.checkout x`.
- The consumer. Celery logs the content of what it cannot handle; ours names it and sets it aside.

What is set aside stands in the list POISON_KEY of the broker's database, newest first, for an operator to look at.
Ids in such a message come again by the timetable.
"""

import json
import logging
import random
import time
from collections.abc import Callable
from queue import Empty
from typing import Any

import kombu
from celery.app.amqp import AMQP
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.exceptions import SerializationError, SerializerNotInstalled
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis.exceptions import DataError, RedisError, ResponseError

from worker.domain.masking import mask_value
from worker.logs import get_log

_log = get_log(__name__)

POISON_KEY = "axn1:poison_messages"
MOST_POISON_MESSAGES = 1000
MOST_POISON_CHARACTERS = 16_384
"""Of one entry's content: a thousand of them must not fill the broker."""
_POISON_KEPT_S = 7 * 86_400
LONGEST_TASK_ID = 255
"""As in AMQP. Every log line of a task repeats its id."""

LONGEST_RECONNECT_PAUSE_S = 3.0
_SETTLED_AFTER_S = 5.0
"""A connection that broke sooner was refused rather than lost (a read-only Redis, a full one): the next one waits."""

_UNREADABLE = (
    TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
    SerializationError, SerializerNotInstalled, DataError,
)  # fmt: skip
"""What taking in a message raises where its form is wrong. Broken connections are none of these."""


def reconnect_pause_s(random_share: Callable[[], float] = random.random) -> float:
    """A third to all of the longest pause, so that workers who lost one broker do not come back together."""
    return LONGEST_RECONNECT_PAUSE_S * (1 + 2 * random_share()) / 3


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


class _QoS(kombu_redis.QoS):
    def append(self, message: Any, delivery_tag: str) -> None:
        try:
            super().append(message, delivery_tag)
        except ResponseError as refused:
            # The message is popped already, and a full Redis takes neither the record of who has it nor the message
            # back. Worked on without that record it is at risk only if this process dies; dropped it would be lost.
            _log.warning("broker keeps no record of a message under way", error=type(refused).__name__)
            virtual.QoS.append(self, message, delivery_tag)


class _SturdyChannel:
    """Mixed into kombu's channels for Redis: an entry that is no message is set aside and the next one is read.

    Its client is made once for each pool of connections, not for each acknowledgement, which kombu does and which takes
    more CPU than the acknowledgement. It holds no connection of its own, and so may be used by several threads.
    """

    _blocking_client: Any = None

    def _create_client(self: Any, asynchronous: bool = False) -> Any:
        if asynchronous:  # it keeps its connection
            return super()._create_client(asynchronous=True)  # type: ignore[misc] # of the channel it is mixed into
        client = self._blocking_client
        if client is None or client.connection_pool is not self.pool:
            client = self._blocking_client = super()._create_client()  # type: ignore[misc] # as above
        return client

    def _brpop_read(self: Any, **options: Any) -> bool:
        """As kombu's, but for what reading and delivering the entry raises."""
        try:
            try:
                popped = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not popped:
                raise Empty
            key, item = popped
            queue = key.decode().rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            message = None
            try:
                message = json.loads(item)
                self.connection._deliver(message, queue)  # noqa: SLF001 - as kombu does
            except _UNREADABLE as unreadable:
                self.set_aside(queue, item.decode(errors="backslashreplace"), unreadable)
                self._forget(message)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _forget(self: Any, message: Any) -> None:
        """Acknowledge what had been taken in before it proved unreadable."""
        properties = message.get("properties") if isinstance(message, dict) else None
        tag = properties.get("delivery_tag") if isinstance(properties, dict) else None
        if isinstance(tag, str) and tag in self.qos._delivered:  # noqa: SLF001 - there is no public way to ask
            self.qos.ack(tag)

    def set_aside(self: Any, queue: str, content: str, why: BaseException | str) -> None:
        """Keep what cannot be read, for an operator; say so in the log without any of its content."""
        reason = why if isinstance(why, str) else type(why).__name__
        _log.error("message cannot be read: set aside", queue=queue, code=reason, key=POISON_KEY)
        entry = {"unix_s": int(time.time()), "queue": queue, "why": reason, "content": content[:MOST_POISON_CHARACTERS]}
        try:
            with self.conn_or_acquire() as client, client.pipeline() as pipeline:
                pipeline.lpush(POISON_KEY, json.dumps(entry))
                pipeline.ltrim(POISON_KEY, 0, MOST_POISON_MESSAGES - 1)
                pipeline.expire(POISON_KEY, _POISON_KEPT_S)
                pipeline.execute()
        except RedisError as refused:
            _log.warning("message dropped: it could not be set aside", key=POISON_KEY, error=type(refused).__name__)


class Channel(_SturdyChannel, kombu_redis.Channel):
    """For redis:// and rediss://."""

    QoS = _QoS


class SentinelChannel(_SturdyChannel, kombu_redis.SentinelChannel):
    """For sentinel://."""

    QoS = _QoS


class Transport(kombu_redis.Transport):
    """For redis:// and rediss://."""

    Channel = Channel


class SentinelTransport(kombu_redis.SentinelTransport):
    """For sentinel://."""

    Channel = SentinelChannel


class Consumer(CeleryConsumer):
    """Celery's consumer: paces its reconnecting, and logs no content of what it cannot handle. For any broker."""

    connection_errors: tuple[type[BaseException], ...]
    _connected_at_s = float("-inf")

    def connect(self) -> Any:
        if time.monotonic() - self._connected_at_s < _SETTLED_AFTER_S:
            time.sleep(reconnect_pause_s())
        try:
            return super().connect()
        finally:
            self._connected_at_s = time.monotonic()

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[Any], None]:
        handle: Callable[[Any], None] = super().create_task_handler(*arguments, **options)

        def handle_if_well_formed(message: Any) -> None:
            try:
                fault = _fault_of(message)
            except _UNREADABLE as unreadable:
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
        self._refuse(message, f"unknown task {mask_value(exc.args[0] if exc.args else '')}")

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
