"""Puts ids on Celery's queues, and tells how long the queues are.

`Publisher` does it in a thread, `Announcer` for coroutines.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol, TypeVar

from celery import Celery
from kombu.exceptions import ChannelError

from worker.clock import Clock
from worker.domain.job import Lane
from worker.logs import get_log
from worker.messages import TASK_CALLBACKS, TASK_JOBS, encode_ids, in_messages

_log = get_log(__name__)

T = TypeVar("T")

LONGEST_PUBLISH_MS = 2_000
"""A publish takes a millisecond. A caller whose job is filed already gains nothing by waiting longer: the timetable
publishes it when the broker is back."""


class BlockingPublisher(Protocol):
    """What an `Announcer` runs in its thread."""

    def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        """Tell the lane's workers of these ids; False if the broker did not take them all."""

    def backlogs(self) -> dict[Lane, int]:
        """Messages that wait in each lane's queue; a lane is left out where the broker does not tell."""


class Publisher:
    """Blocking: call it from a thread of its own, not from an event loop."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        """Tell the lane's workers of these ids.

        Args:
            lane: on whose queue.
            ids: of jobs, or of callbacks.
            published_at_ms: now, Unix ms by Redis's clock.

        Returns:
            False if the broker did not take them all. Nothing is lost: the timetable publishes them again.
        """
        task = TASK_CALLBACKS if lane is Lane.CALLBACK else TASK_JOBS
        try:
            for message in in_messages(ids):
                arguments = [encode_ids(lane, message, published_at_ms)]
                self._app.send_task(task, args=arguments, queue=lane.queue, ignore_result=True)
        except Exception as failure:  # noqa: BLE001 - kombu, cut off in mid-reply, raises whatever it stumbles over
            _log.warning(
                "broker did not take ids; the timetable will publish them again",
                lane=lane.value, ids=len(ids), error=type(failure).__name__,
            )  # fmt: skip
            return False
        return True

    def backlogs(self) -> dict[Lane, int]:
        """Messages that wait in each lane's queue; a lane is left out where the broker does not tell."""
        found: dict[Lane, int] = {}
        with self._app.connection_or_acquire() as connection:
            try:
                for lane in Lane:
                    found[lane] = _waiting(connection, lane)
            except Exception as failure:  # noqa: BLE001 - as above
                _log.warning("broker does not tell its backlogs", error=type(failure).__name__)
        return found


def _waiting(connection: Any, lane: Lane) -> int:
    try:
        return int(connection.default_channel.queue_declare(queue=lane.queue, passive=True).message_count)
    except ChannelError:  # no such queue: nobody has published to it
        return 0


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
    ) -> None:
        self._publisher = publisher
        self._executor = executor
        self._clock = clock
        self._longest_ms = longest_ms
        self._began_ms: float | None = None  # when the call began that the thread is at

    async def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        """Tell the lane's workers of these ids: see `Publisher.publish`.

        Returns:
            False if the broker did not take them all in time. Nothing is lost: the timetable publishes them again.
        """
        return await self._bounded(False, self._publisher.publish, lane, ids, published_at_ms)

    async def backlogs(self) -> dict[Lane, int]:
        """Messages that wait in each lane's queue; a lane is left out where the broker does not tell in time."""
        return await self._bounded({}, self._publisher.backlogs)

    async def _bounded(self, otherwise: T, function: Callable[..., T], *arguments: object) -> T:
        if self._hangs():
            return otherwise
        # Cancelled by the timeout, a call that has not begun is taken out of the executor's queue: nothing piles up.
        call = asyncio.get_running_loop().run_in_executor(self._executor, self._timed, function, arguments)
        try:
            async with asyncio.timeout(self._longest_ms / 1000):
                return await call
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
