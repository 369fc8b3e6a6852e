"""SIGTERM and Ctrl-C drain the worker; a second one, or SIGQUIT, hands everything back and ends it.

Celery's own handlers wait for all tasks that were taken from the queue. Ours begin with the jobs: nothing more is
claimed, so that its warm shutdown has little left to wait for.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

_DRAIN = (signal.SIGTERM, signal.SIGINT)
_AT_ONCE = (signal.SIGQUIT,)
EXIT_FORCED = 1


class StopSignals:
    """Stands before Celery's handlers.

    Args:
        drain: begins to let go of the jobs; must return at once.
        cut_short: hands back all that is under way; must return at once.
        force_after_s: how long after being cut short the process may take to end, before it is ended.
    """

    def __init__(self, drain: Callable[[], None], cut_short: Callable[[], None], *, force_after_s: float) -> None:
        self._drain = drain
        self._cut_short = cut_short
        self._force_after_s = force_after_s
        self._warm_shutdown: Any = None
        self._received = 0

    def install(self) -> None:
        """Take the signals over; call it from the main thread, after Celery has installed its own handlers."""
        self._warm_shutdown = signal.getsignal(signal.SIGTERM)
        for number in (*_DRAIN, *_AT_ONCE):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received += 1
        is_first = self._received == 1
        if is_first and number in _DRAIN:
            self._drain()
        else:
            self._cut_short()
            self._force_later()
        if is_first and callable(self._warm_shutdown):
            self._warm_shutdown(signal.SIGTERM, frame)

    def _force_later(self) -> None:
        timer = threading.Timer(self._force_after_s, os._exit, [EXIT_FORCED])
        timer.daemon = True
        timer.start()
