"""Puts ids on Celery's queues, and tells how long the queues are."""

import logging
from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError

from worker.domain.job import Lane
from worker.messages import TASK_CALLBACKS, TASK_JOBS, encode_ids, in_messages

_log = logging.getLogger(__name__)


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
        except (OperationalError, OSError) as failure:
            _log.warning(
                "broker did not take %d ids for %s (%s); the timetable will publish them again",
                len(ids), lane.queue, type(failure).__name__,
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
            except (OperationalError, OSError, *connection.connection_errors) as failure:
                _log.warning("broker does not tell its backlogs (%s)", type(failure).__name__)
        return found


def _waiting(connection: Any, lane: Lane) -> int:
    try:
        return int(connection.default_channel.queue_declare(queue=lane.queue, passive=True).message_count)
    except ChannelError:  # no such queue: nobody has published to it
        return 0
