"""Puts ids on Celery's queues, and tells how long a queue is."""

import logging
from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from worker.domain.job import Lane
from worker.messages import TASK_CALLBACKS, TASK_JOBS, encode_ids, in_messages

_log = logging.getLogger(__name__)


class Publisher:
    """Blocking: call it from a thread of its own, not from an event loop."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def publish(self, lane: Lane, ids: Sequence[str]) -> bool:
        """Tell the lane's workers of these ids.

        Returns:
            False if the broker did not take them all. Nothing is lost: the timetable publishes them again.
        """
        task = TASK_CALLBACKS if lane is Lane.CALLBACK else TASK_JOBS
        try:
            for message in in_messages(ids):
                self._app.send_task(task, args=[encode_ids(lane, message)], queue=lane.queue, ignore_result=True)
        except (OperationalError, OSError) as failure:
            _log.warning(
                "broker did not take %d ids for %s (%s); the timetable will publish them again",
                len(ids), lane.queue, type(failure).__name__,
            )  # fmt: skip
            return False
        return True

    def backlog(self, lane: Lane) -> int:
        """Messages that wait in the lane's queue; 0 where the broker does not tell."""
        connection: Any = self._app.connection_for_read()
        try:
            with connection, connection.channel() as channel:
                return int(channel.queue_declare(queue=lane.queue, passive=True).message_count)
        except (OperationalError, OSError, *connection.channel_errors, *connection.connection_errors):
            return 0
