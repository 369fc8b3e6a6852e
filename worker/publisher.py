"""Puts ids on Celery's queues, and tells how long the queues are.

`Publisher` does it in a thread, `Announcer` for coroutines.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from celery import Celery
from kombu.exceptions import ChannelError
from kombu.utils.uuid import uuid

from worker.clock import Clock
from worker.domain.job import Lane
from worker.logs import get_log
from worker.messages import TASK_CALLBACKS, TASK_JOBS, encode_ids, in_messages
from worker.tracing import TRACEPARENT, UNTRACED, Tracer

_log = get_log(__name__)

T = TypeVar("T")

LONGEST_PUBLISH_MS = 2_000
"""A publish takes a millisecond. A caller whose job is filed already gains nothing by waiting longer: the timetable
publishes it when the broker is back."""


_MOST_TRIES = 2
_MOST_PLAIN = 1_000
"""Characters. From 1,024 on Celery cuts."""
_MOST_IDS_IN_A_GROUP = 5_000
"""So that whoever comes next does not wait long for it: about 10 ms."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What a lane's workers are to be told.

    Attributes:
        ids: of jobs, or of callbacks.
        published_at_ms: now, Unix ms by Redis's clock.
        trace: the traceparent of who publishes; empty where that is not traced.
    """

    lane: Lane
    ids: Sequence[str]
    published_at_ms: int
    trace: str = ""


class BlockingPublisher(Protocol):
    """What an `Announcer` runs in its thread."""

    def publish(self, group: Sequence[Publication]) -> bool:
        """Publish all of these; False if the broker did not take them all."""

    def backlogs(self) -> dict[Lane, int]:
        """Messages that wait in each lane's queue; a lane is left out where the broker does not tell."""


class Publisher:
    """Blocking: call it from one thread, not from an event loop.

    Its messages are those of Celery's `send_task`, by the same two calls that `send_task` ends with. What that adds for
    each message is left out: the choice of a connection, and of routes, of which a lane has one.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._producer: Any = None
        self._declared: set[Lane] = set()

    def publish(self, group: Sequence[Publication]) -> bool:
        """Publish all of these, in one go where the broker's transport can do so.

        Returns:
            False if the broker did not take them all. Nothing is lost: the timetable publishes them again.
        """
        for tries_left in reversed(range(_MOST_TRIES)):
            try:
                self._send(group)
            except Exception as failure:  # noqa: BLE001 - kombu, cut off in mid-reply, raises whatever it stumbles over
                self._disconnect()
                if not tries_left:
                    _log.warning(
                        "broker did not take ids; the timetable will publish them again",
                        lane=", ".join(sorted({publication.lane.value for publication in group})),
                        ids=sum(len(publication.ids) for publication in group),
                        error=type(failure).__name__,
                    )
            else:
                return True
        return False

    def _send(self, group: Sequence[Publication]) -> None:
        if self._producer is None:
            self._producer = self._app.amqp.Producer(self._app.connection_for_write(), auto_declare=False)
        messages = [(one, ids) for one in group for ids in in_messages(one.ids)]
        with self._producer.batch() if len(messages) > 1 else nullcontext():
            for publication, ids in messages:
                self._send_one(publication, ids)
        self._declared |= {publication.lane for publication in group}

    def _send_one(self, publication: Publication, ids: Sequence[str]) -> None:
        amqp: Any = self._app.amqp
        lane = publication.lane
        task = TASK_CALLBACKS if lane is Lane.CALLBACK else TASK_JOBS
        arguments = [encode_ids(lane, ids, publication.published_at_ms)]
        message = amqp.create_task_message(
            uuid(), task, arguments, {}, argsrepr=_repr_of(lane, arguments), kwargsrepr="{}", ignore_result=True,
            reply_to=self._app.thread_oid,
        )  # fmt: skip
        if publication.trace:
            message.headers[TRACEPARENT] = publication.trace
        # A queue is declared once for each connection. Tried again is the group, not the message.
        declare: list[Any] | None = [] if lane in self._declared else None
        amqp.send_task_message(self._producer, task, message, queue=lane.queue, declare=declare, retry=False)

    def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        self._declared = set()
        if producer is not None:
            with suppress(Exception):
                producer.connection.close()

    def backlogs(self) -> dict[Lane, int]:
        """Messages that wait in each lane's queue; a lane is left out where the broker does not tell."""
        found: dict[Lane, int] = {}
        with self._app.connection_or_acquire() as connection:
            try:
                for lane in Lane:
                    found[lane] = _backlog(connection, lane)
            except Exception as failure:  # noqa: BLE001 - as above
                _log.warning("broker does not tell its backlogs", error=type(failure).__name__)
        return found


def _repr_of(lane: Lane, arguments: list[Any]) -> str | None:
    """What Celery tells of a message's arguments; None where Celery itself must say it.

    It walks through them step by step, to cut and to quote them. Few job ids need neither.
    """
    if lane is Lane.CALLBACK:
        return None
    plain = repr(arguments)
    return plain if len(plain) <= _MOST_PLAIN else None


def _backlog(connection: Any, lane: Lane) -> int:
    try:
        return int(connection.default_channel.queue_declare(queue=lane.queue, passive=True).message_count)
    except ChannelError:  # no such queue: nobody has published to it
        return 0


_Waiting = tuple[Publication, "asyncio.Future[bool]"]


class Announcer:
    """The publisher for coroutines: a broker that hangs costs its callers a bounded time, and later ones none.

    Args:
        executor: of one thread. kombu's producers are blocking, and the order of publication is then that of asking.
        longest_ms: how long one caller waits.
    """

    def __init__(
        self,
        publisher: BlockingPublisher,
        executor: Executor,
        *,
        clock: Clock,
        longest_ms: int = LONGEST_PUBLISH_MS,
        traces: Tracer = UNTRACED,
    ) -> None:
        self._publisher = publisher
        self._executor = executor
        self._clock = clock
        self._longest_ms = longest_ms
        self._traces = traces
        self._waiting: list[_Waiting] = []
        self._is_under_way = False
        self._began_ms: float | None = None  # when the call began that the thread is at

    async def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        """Tell the lane's workers of these ids: at once, or with others as soon as the thread is back.

        Returns:
            False if the broker did not take them all in time. Nothing is lost: the timetable publishes them again.
        """
        if self._hangs():
            return False
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((Publication(lane, ids, published_at_ms, self._traces.here()), answer))
        if not self._is_under_way:
            self._go()
        return await self._in_time(answer, False)

    def _go(self) -> None:
        """Take what waits to the thread. What was given up meanwhile is left out: nothing piles up."""
        group = self._next_group()
        self._is_under_way = bool(group)
        if group:
            publications = [publication for publication, _ in group]
            call = self._in_thread(self._publisher.publish, publications)
            call.add_done_callback(lambda done: self._come_back(group, done))

    def _next_group(self) -> list[_Waiting]:
        waiting = [one for one in self._waiting if not one[1].done()]
        size = ids = 0
        for publication, _ in waiting:
            ids += len(publication.ids)
            if size and ids > _MOST_IDS_IN_A_GROUP:
                break
            size += 1
        self._waiting = waiting[size:]
        return waiting[:size]

    def _come_back(self, group: list[_Waiting], call: "asyncio.Future[bool]") -> None:
        is_taken = not call.cancelled() and call.exception() is None and call.result()
        for _, answer in group:
            if not answer.done():
                answer.set_result(is_taken)
        self._go()

    async def backlogs(self) -> dict[Lane, int]:
        """Messages that wait in each lane's queue; a lane is left out where the broker does not tell in time."""
        if self._hangs():
            return {}
        return await self._in_time(self._in_thread(self._publisher.backlogs), {})

    def _in_thread(self, function: Callable[..., T], *arguments: object) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._executor, self._timed, function, arguments)

    async def _in_time(self, answer: "asyncio.Future[T]", otherwise: T) -> T:
        # Cancelled by the timeout, a call that has not begun is taken out of the queue.
        try:
            async with asyncio.timeout(self._longest_ms / 1000):
                return await answer
        except TimeoutError:
            _log.warning("broker gave no answer; the timetable will publish again", after_ms=self._longest_ms)
            return otherwise

    def _hangs(self) -> bool:
        began_ms = self._began_ms
        return began_ms is not None and self._clock.monotonic_ms() - began_ms >= self._longest_ms

    def _timed(self, function: Callable[..., T], arguments: tuple[object, ...]) -> T:
        self._began_ms = self._clock.monotonic_ms()
        try:
            return function(*arguments)
        finally:
            self._began_ms = None
