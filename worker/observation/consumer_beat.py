"""Tells, once a second, that Celery's consumer is connected and its loop turns: answering a ping proves neither."""

from collections.abc import Callable, Sequence
from typing import Any

from celery import bootsteps

_EVERY_S = 1.0


def consumer_beat(tell: Callable[[Sequence[str]], None]) -> type[bootsteps.StartStopStep]:
    """A step of Celery's consumer, for `app.steps["consumer"]`.

    Args:
        tell: called with the names of the queues, in the consumer's thread; must return at once.
    """

    class ConsumerBeat(bootsteps.StartStopStep):
        """Begins when the queues are being consumed, and ends when the connection is lost."""

        requires = ("celery.worker.consumer.tasks:Tasks",)
        _entry: Any = None

        def start(self, parent: Any) -> None:
            def beat() -> None:
                if parent.connection is not None and parent.connection.connected:
                    tell([queue.name for queue in parent.task_consumer.queues])

            beat()
            self._entry = parent.timer.call_repeatedly(_EVERY_S, beat)

        def stop(self, parent: Any) -> None:  # noqa: ARG002 - Celery's signature
            if self._entry is not None:
                self._entry.cancel()
                self._entry = None

        terminate = shutdown = stop

    return ConsumerBeat
