"""Time that passes at once whenever nothing is under way.

The three clocks, Redis's, the provider's and the engine's, are this machine's clock and one offset. The loop asks, each
time it would otherwise sleep, how far that offset may move. What is really under way, a call of Redis, is waited for
in real time.
"""

import asyncio
import os
import selectors
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WIDTH = 24
_LEAP_S = 0.1
_NOTICED_S = 0.002
"""Valkey looks at its clock again when it has not for a millisecond: after a leap it gets the time to."""


class MovingTime:
    """This machine's time and an offset, which libfaketime reads from a file.

    Args:
        file: what FAKETIME_TIMESTAMP_FILE names.
        start_unix_s: what time it is now.
    """

    def __init__(self, file: Path, start_unix_s: float) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        self._offset_s = start_unix_s - time.time()
        self._monotonic_ahead_s = 0.0
        self._tell(_LEAP_S)

    def unix_s(self) -> float:
        """What Redis and the provider take for now."""
        return time.time() + self._offset_s

    def monotonic_s(self) -> float:
        """Goes forward by every move, and by no step."""
        return time.monotonic() + self._monotonic_ahead_s

    def move(self, seconds: float) -> None:
        """Time passes, everywhere."""
        self._offset_s += seconds
        self._monotonic_ahead_s += seconds
        self._tell(seconds)

    def step(self, seconds: float) -> None:
        """Somebody sets the clocks, as NTP does: no time passes. May be negative."""
        self._offset_s += seconds
        self._tell(seconds)

    def close(self) -> None:
        """Nobody asks any more."""
        os.close(self._file)

    def _tell(self, moved_s: float) -> None:
        """In one short write of one width, so that the server, which reads when it likes, never reads half of it."""
        os.pwrite(self._file, f"{self._offset_s:+0{_WIDTH}.6f}".encode(), 0)
        if abs(moved_s) >= _LEAP_S:
            time.sleep(_NOTICED_S)


class MovedClock:
    """The engine's clock: that time, and how far this machine's clock is off.

    Args:
        time_: everybody's.
        skew_s: ahead of everybody else's.
    """

    def __init__(self, time_: MovingTime, skew_s: float = 0.0) -> None:
        self.time = time_
        self.skew_s = skew_s

    def unix_ms(self) -> int:
        return round((self.time.unix_s() + self.skew_s) * 1000)

    def monotonic_ms(self) -> float:
        return self.time.monotonic_s() * 1000

    async def sleep_ms(self, delay_ms: float) -> None:
        await asyncio.sleep(max(delay_ms, 0) / 1000)


class _Selector(selectors.DefaultSelector):
    """Asks before it would block."""

    is_busy: Callable[[], bool]
    on_idle: Callable[[float | None], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        if self.is_busy():
            return super().select(timeout)
        self.on_idle(timeout)
        return super().select(0)


class MovingLoop(asyncio.SelectorEventLoop):
    """A loop on that time. All timers are on it, those of `asyncio.sleep` and `asyncio.timeout` too.

    Args:
        time_: whose time it is.
        is_busy: whether something real is under way; then that is waited for.
        on_idle: may move the time; gets the seconds until the next timer, None where there is none. Unless it moves the
            time that far, or makes something ready, it is asked again at once.
    """

    def __init__(self, time_: MovingTime, is_busy: Callable[[], bool], on_idle: Callable[[float | None], None]) -> None:
        self._moving_time = time_
        selector = _Selector()
        selector.is_busy, selector.on_idle = is_busy, on_idle
        super().__init__(selector)

    def time(self) -> float:
        return self._moving_time.monotonic_s()


def busy_connections(clients: "list[Any]") -> int:
    """How many connections of these Redis clients have a call under way."""
    return sum(len(client.connection_pool._in_use_connections) for client in clients)
