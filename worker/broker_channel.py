"""Kombu's channel for Redis, sturdier and cheaper: what is no message is set aside, and messages go in groups.

kombu's own channel ends the whole worker on a single `LPUSH axn.checkout x`; it takes messages one by one, and makes
three calls to Redis for each: to get it, to write down who has it, and to acknowledge it.

What is set aside stands in the list POISON_KEY of the broker's database, newest first, for an operator to look at.
"""

import json
import time
from collections.abc import Mapping, Sequence
from queue import Empty
from typing import Any

from kombu.exceptions import SerializationError, SerializerNotInstalled
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis.exceptions import DataError, RedisError, ResponseError

from worker.logs import get_log

_log = get_log(__name__)

POISON_KEY = "axn1:poison_messages"
MOST_POISON_MESSAGES = 1000
MOST_POISON_CHARACTERS = 16_384
"""Of one entry's content: a thousand of them must not fill the broker."""
_POISON_KEPT_S = 7 * 86_400

_BACKLOG_WITHIN_S = 0.005
"""A message that came so soon after it was asked for had been waiting: others may wait behind it."""

UNREADABLE = (
    TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError,
    SerializationError, SerializerNotInstalled, DataError,
)  # fmt: skip
"""What taking in a message raises where its form is wrong. Broken connections are none of these."""


class _QoS(kombu_redis.QoS):
    """Whose records of messages under way are written and taken away in groups."""

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        self._on_record: set[str] = set()

    def record(self, items: Mapping[str, bytes]) -> None:
        """Write down who has these messages, as kombu does it for one: by delivery tag, each with where it came from.

        They are popped already, and a Redis that is full or away takes neither the records nor the messages back.
        Worked on without a record a message is at risk only if this process dies; dropped it would be lost.
        """
        self._on_record |= items.keys()
        now_s = time.time()
        try:
            with self.pipe_or_acquire() as pipeline:
                pipeline.zadd(self.unacked_index_key, dict.fromkeys(items, now_s))
                pipeline.hset(self.unacked_key, mapping=items)
                pipeline.execute()
        except (RedisError, OSError) as refused:
            _log.warning(
                "broker keeps no record of messages under way", messages=len(items), error=type(refused).__name__
            )

    def append(self, message: Any, delivery_tag: str) -> None:
        """Count it as under way; its record stands."""
        if delivery_tag in self._on_record:
            self._on_record.discard(delivery_tag)
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def acknowledge_all(self, tags: Sequence[str]) -> None:
        """Take the records of these messages away in one go."""
        with self.pipe_or_acquire() as pipeline:
            pipeline.zrem(self.unacked_index_key, *tags).hdel(self.unacked_key, *tags).execute()
        for tag in tags:
            virtual.QoS.ack(self, tag)

    def forget(self: Any, tag: str) -> None:
        """Acknowledge what had been taken in, as far as it had been."""
        if tag in self._delivered:
            self.ack(tag)
        elif tag in self._on_record:
            self._on_record.discard(tag)
            try:
                self._remove_from_indices(tag).execute()
            except (RedisError, OSError) as refused:
                _log.warning("broker keeps the record of an unreadable message", error=type(refused).__name__)

    @property
    def under_way(self: Any) -> int:
        """Messages taken and not acknowledged."""
        return len(self._delivered) - len(self._dirty)


class _SturdyChannel:
    """Mixed into kombu's channels for Redis: an entry that is no message is set aside and the next one is read.

    Its client is made once for each pool of connections, not for each acknowledgement, which kombu does and which takes
    more CPU than the acknowledgement. It holds no connection of its own, and so may be used by several threads.
    """

    _blocking_client: Any = None
    _had_more = False
    """The last message had others behind it. A process that gets little of the machine cannot tell it by the clock."""

    def _create_client(self: Any, asynchronous: bool = False) -> Any:
        if asynchronous:  # it keeps its connection
            return super()._create_client(asynchronous=True)  # type: ignore[misc] # of the channel it is mixed into
        client = self._blocking_client
        if client is None or client.connection_pool is not self.pool:
            client = self._blocking_client = super()._create_client()  # type: ignore[misc] # as above
        return client

    def _brpop_read(self: Any, **options: Any) -> bool:
        """As kombu's, but for what reading and delivering raises, and for messages that wait behind this one."""
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
            self._deliver_all(queue, [item, *self._more_of(key)])
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _more_of(self: Any, key: bytes) -> list[bytes]:
        """What waits behind a message that was there at once, or as with the one before, while others were under way.

        At most its queue's share of the room in the prefetch. Asked for on the same bare connection, where nothing is
        sent again.
        """
        was_there = self._had_more or time.monotonic() - self._brpop_sent_at < _BACKLOG_WITHIN_S
        self._had_more = False
        room = (self.qos.can_consume_max_estimate() or 0) - 1
        count = room // max(len(self.active_queues), 1)
        if not was_there or not self.qos.under_way or count < 1 or self._closing or self.global_keyprefix:
            return []
        connection = self.client.connection
        try:
            connection.send_command("RPOP", key, count)
            items: list[bytes] = connection.read_response() or []
        except ResponseError:  # older than Redis 6.2
            return []
        except (RedisError, OSError):
            connection.disconnect()  # the next poll connects again, or finds that it cannot
            return []
        self._had_more = bool(items)
        return items

    def _deliver_all(self: Any, queue: str, items: Sequence[bytes]) -> None:
        """Deliver what can be read, after its records are written; set the rest aside. One's trouble is its own."""
        messages: list[tuple[bytes, Any]] = []
        for item in items:
            try:
                messages.append((item, json.loads(item)))
            except UNREADABLE as unreadable:
                self.set_aside(queue, item.decode(errors="backslashreplace"), unreadable)
        if records := dict(filter(None, (_record_of(item, message) for item, message in messages))):
            self.qos.record(records)
        failure = None
        for item, message in messages:
            try:
                self.connection._deliver(message, queue)  # noqa: SLF001 - as kombu does
            except UNREADABLE as unreadable:
                self.set_aside(queue, item.decode(errors="backslashreplace"), unreadable)
                self._forget(message)
            except Exception as other:  # noqa: BLE001 - raised below, when no other message depends on it
                failure = failure or other
        if failure is not None:
            raise failure

    def acknowledge_all(self: Any, messages: Sequence[Any]) -> None:
        """Messages of this channel, in one go. Raises what redis-py raises; then none counts as acknowledged."""
        self.qos.acknowledge_all([message.delivery_tag for message in messages])

    def _forget(self: Any, message: Any) -> None:
        """Acknowledge what had been taken in before it proved unreadable."""
        properties = message.get("properties") if isinstance(message, dict) else None
        tag = properties.get("delivery_tag") if isinstance(properties, dict) else None
        if isinstance(tag, str):
            self.qos.forget(tag)

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


def _record_of(item: bytes, message: Any) -> tuple[str, bytes] | None:
    """A message's delivery tag, and what kombu keeps while it is under way; None where it lacks what that takes."""
    try:
        properties = message["properties"]
        tag, come_from = properties["delivery_tag"], properties["delivery_info"]
        way = json.dumps([come_from["exchange"], come_from["routing_key"]])
    except UNREADABLE:
        return None
    return (tag, b"[%b, %b" % (item, way.removeprefix("[").encode())) if isinstance(tag, str) else None


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
