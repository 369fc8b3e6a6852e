"""One part of a local system: a child process, its log file, and when it counts as ready."""

import asyncio
import contextlib
import inspect
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from worker.local.child import child_command, has_ended, kill_group

POLL_INTERVAL_S = 0.02
LOG_TAIL_LINES = 20
#: Enough for twenty long lines; a log may have grown for weeks.
LOG_TAIL_BYTES = 64 * 1024


class PartFailedError(Exception):
    """A part did not become ready, or ended for good; the message has the end of its output and the log's path."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A command to keep running.

    Attributes:
        name: short and unique; names the log file.
        command: the program and its arguments.
        env: set on top of this process's own environment.
        ready: a check that is asked until it answers True; it should not block for long, and not raise.
        ready_line: how the line starts that the part prints (and flushes) when it is ready. With `ready` too, both
            must hold; with neither, the part is ready once started.
        ready_within_s: how long it may take to become ready.
        restart: whether to start it again when it ends unasked. Otherwise its end is the system's failure.
        stop_grace_s: how long it may take to end after SIGTERM, before SIGKILL.
    """

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool | Awaitable[bool]] | None = None
    ready_line: str | None = None
    ready_within_s: float = 30.0
    restart: bool = False
    stop_grace_s: float = 10.0


class RunningPart:
    """A part and its present process.

    Attributes:
        log_path: stdout and stderr, of all restarts.
        ready_value: what followed `ready_line`, without surrounding blanks; a restart may bring another.
    """

    def __init__(self, part: Part, log_folder: Path) -> None:
        self.part = part
        self.log_path = log_folder / f"{part.name}.log"
        self.ready_value: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._log_start = 0
        self._swept = False

    @property
    def pid(self) -> int:
        """The present process's id, which is also its group's."""
        return self._started().pid

    async def launch(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            PartFailedError: it cannot be started, ended, or was not ready in time; nothing of it runs any more.
        """
        try:
            await self._spawn()
            await self._become_ready()
        except BaseException:
            await self.end(grace_s=0)
            raise

    async def ended(self) -> str:
        """Wait for the process to end, kill what it left behind in its group, and return how it ended."""
        if self._process is None:
            return "could not be started"
        code = await self._process.wait()
        self.kill()
        return f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"

    async def end(self, grace_s: float | None = None) -> None:
        """End the process and its group: SIGTERM to the process, after the grace time SIGKILL to all.

        Without a grace time the part's own holds.
        """
        if self._process is None:
            return
        try:
            await _terminate(self._process, self.part.stop_grace_s if grace_s is None else grace_s)
        finally:
            self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """Send SIGKILL to the process and its group, without waiting."""
        if self._process is None or self._swept:
            return
        kill_group(self._process.pid)
        # Once the process is gone, its number may come to mean a stranger's group.
        self._swept = self._process.returncode is not None

    def failure(self, what: str) -> PartFailedError:
        """Return an error that says what happened and shows the end of the part's output."""
        lines = self._output(at_most=LOG_TAIL_BYTES).splitlines()[-LOG_TAIL_LINES:]
        output = "\n".join(f"  {line}" for line in lines) or "  (none)"
        return PartFailedError(f"{self.part.name} {what}. Its last output, from {self.log_path}:\n{output}")

    async def _spawn(self) -> None:
        self.ready_value = None
        self._process = None
        self._swept = False
        try:
            # A file and no pipe: a busy parent never makes its children wait, and a killed one leaves the log whole.
            with self._open_log() as log:
                self._process = await self._start_process(log)
        except OSError as error:
            raise PartFailedError(f"{self.part.name} could not be started: {error}") from error

    async def _start_process(self, log: BinaryIO) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *child_command(self.part.command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self.part.env},
            # Its own group: a terminal's Ctrl-C reaches only the parent, which then ends the parts in order.
            start_new_session=True,
        )

    def _open_log(self) -> BinaryIO:
        log = self.log_path.open("ab")
        self._log_start = log.tell()
        return log

    def _output(self, at_most: int | None = None) -> str:
        """Return what the present process has written, or its last bytes."""
        with self.log_path.open("rb") as log:
            start = self._log_start if at_most is None else max(self._log_start, log.seek(0, os.SEEK_END) - at_most)
            log.seek(start)
            return log.read().decode(errors="replace")

    async def _become_ready(self) -> None:
        try:
            async with asyncio.timeout(self.part.ready_within_s):
                while not await self._is_ready():  # noqa: ASYNC110 (another process gives no event)
                    await asyncio.sleep(POLL_INTERVAL_S)
        except TimeoutError as error:
            raise self.failure(f"was not ready within {self.part.ready_within_s} s") from error

    async def _is_ready(self) -> bool:
        ready = self._line_seen() and await self._check_holds()
        # Looked at last: the check may have been answered by another program that holds the part's address.
        if self._started().returncode is not None or has_ended(self.pid):
            raise self.failure(f"{await self.ended()} before it was ready")
        return ready

    def _line_seen(self) -> bool:
        prefix = self.part.ready_line
        if prefix is None or self.ready_value is not None:
            return True
        # What follows the last newline may be half a line.
        for line in self._output().split("\n")[:-1]:
            if line.startswith(prefix):
                self.ready_value = line.removeprefix(prefix).strip()
                return True
        return False

    async def _check_holds(self) -> bool:
        if self.part.ready is None:
            return True
        try:
            answer = self.part.ready()
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            raise self.failure(f"could not be checked ({error!r})") from error

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise PartFailedError(f"{self.part.name} is not started")
        return self._process


async def _terminate(process: asyncio.subprocess.Process, grace_s: float) -> None:
    if process.returncode is not None or grace_s <= 0:
        return
    # Not process.terminate(): that may reap the child behind the event loop's back, which then loses its exit code.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            await process.wait()


def _signal_name(number: int) -> str:
    # Real-time signals have no name of their own.
    names = {known.value: known.name for known in signal.Signals}
    return names.get(number, f"signal {number}")
