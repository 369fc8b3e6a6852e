"""Runs the parts of a local system, restarts those that may restart, and ends all of them in reverse order."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.local.part import Part, PartFailedError, RunningPart

RESTART_WINDOW_S = 60.0


@dataclass(frozen=True, kw_only=True)
class RestartLimits:
    """How often a part is restarted, and how long that is put off.

    Attributes:
        per_minute: one more unasked end within a minute, and the part has failed.
        first_delay_s: the wait before a part's first restart; it doubles with each further one within a minute.
        max_delay_s: the longest wait.
    """

    per_minute: int = 5
    first_delay_s: float = 0.2
    max_delay_s: float = 10.0


DEFAULT_LIMITS = RestartLimits()


def _ignore(_part_name: str, _text: str) -> None:
    pass


class Supervisor:
    """Keeps parts running until `stop`, or until its `async with` block ends.

    Args:
        log_folder: gets one log file per part; made when missing.
        on_event: told of a part's unasked end and of its restart, as (part name, text).
        limits: how often and how fast to restart.
    """

    def __init__(
        self,
        log_folder: Path,
        *,
        on_event: Callable[[str, str], None] = _ignore,
        limits: RestartLimits = DEFAULT_LIMITS,
    ) -> None:
        log_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log_folder = log_folder
        self._on_event = on_event
        self._limits = limits
        self._parts: list[RunningPart] = []
        self._watches: list[asyncio.Task[None]] = []
        self._failure: PartFailedError | None = None
        self._has_failed = asyncio.Event()

    async def start(self, part: Part) -> RunningPart:
        """Start a part and wait until it is ready. To give up waiting, cancel this call.

        Raises:
            PartFailedError: it cannot be started, ended, or was not ready in time. It is not tried again.
        """
        running = RunningPart(part, self._log_folder)
        await running.launch()
        self._parts.append(running)
        self._watches.append(asyncio.create_task(self._watch(running)))
        return running

    async def failed(self) -> PartFailedError:
        """Wait until a part has ended for good; return the first one's failure."""
        while self._failure is None:
            await self._has_failed.wait()
        return self._failure

    async def stop(self) -> None:
        """End all parts, the last started first, each within its grace time; cancelled, kill them at once."""
        watches, self._watches = self._watches, []
        parts, self._parts = self._parts, []
        for watch in watches:
            watch.cancel()
        try:
            await asyncio.gather(*watches, return_exceptions=True)
            for running in reversed(parts):
                await running.end()
        finally:
            for running in parts:
                running.kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _watch(self, running: RunningPart) -> None:
        try:
            failure = await self._keep_running(running)
        except Exception as error:  # noqa: BLE001 (such as on_event's; an unwatched part must not pass for a running one)
            failure = running.failure(f"is no longer watched ({error!r})")
        if self._failure is None:
            self._failure = failure
            self._has_failed.set()

    async def _keep_running(self, running: RunningPart) -> PartFailedError:
        restarts: deque[float] = deque()
        while True:
            how = await running.ended()
            if not running.part.restart:
                return running.failure(how)
            delay_s = self._restart_delay_s(restarts)
            if delay_s is None:
                return running.failure(f"{how}, after {len(restarts)} restarts within a minute")
            self._on_event(running.part.name, f"{how}, starts again in {delay_s:.1f} s")
            await asyncio.sleep(delay_s)
            await self._relaunch(running)

    def _restart_delay_s(self, restarts: deque[float]) -> float | None:
        """Note a restart and return how long to wait before it, or None when there were too many."""
        now_s = asyncio.get_running_loop().time()
        while restarts and restarts[0] <= now_s - RESTART_WINDOW_S:
            restarts.popleft()
        if len(restarts) >= self._limits.per_minute:
            return None
        restarts.append(now_s)
        return float(min(self._limits.max_delay_s, self._limits.first_delay_s * 2 ** (len(restarts) - 1)))

    async def _relaunch(self, running: RunningPart) -> None:
        try:
            await running.launch()
        except PartFailedError as error:
            # Its end is met again in the next round, and counts there.
            self._on_event(running.part.name, str(error))
        else:
            self._on_event(running.part.name, f"runs again as process {running.pid}")
