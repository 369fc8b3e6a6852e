"""Processes that are kept running: killed by the harness or by themselves, they start again."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from worker.local.part import Part, PartFailedError, RunningPart

_MOST_LIVES = 80
_MOST_FAILED_STARTS = 6
_LOOK_S = 0.005


class HarnessError(Exception):
    """The harness itself cannot go on; this says nothing of the engine."""


@dataclass(slots=True)
class Life:
    """One process, from its start to its end; monotonic ns of this machine, 0 while it lasts."""

    pid: int
    began_ns: int
    ended_ns: int = 0
    is_end_wanted: bool = False
    how: str = ""


@dataclass
class Kept:
    """A command kept running.

    Attributes:
        env: of every life.
        next_env: on top of that, of the next life alone: such as a crash point.
        following: the same of the lives after it, one each; who sets them later may come too late.
        every_env: on top of that, of all lives from the next on.
        until_done: an exit with 0 ends it for good (a producer); otherwise it starts again (a worker).
        restart_delay_s: how long it stays away between two lives.
        most_lives: then it is given up.
        ready_value: what followed the ready line.
    """

    name: str
    command: Sequence[str]
    log_folder: Path
    env: Mapping[str, str]
    ready_line: str | None = None
    ready: Callable[[], bool] | None = None
    until_done: bool = False
    restart_delay_s: float = 0.0
    most_lives: int = _MOST_LIVES
    next_env: dict[str, str] = field(default_factory=dict)
    following: list[dict[str, str]] = field(default_factory=list)
    every_env: dict[str, str] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    is_done: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    ready_value: str = ""
    _running: RunningPart | None = None
    _keeper: "asyncio.Task[None] | None" = None
    _is_stopping: bool = False

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self._is_stopping = False
        self._keeper = asyncio.create_task(self._keep())
        await self.wait_ready()

    async def wait_ready(self, within_s: float = 60.0) -> None:
        """Wait until the present or next life is ready.

        Raises:
            HarnessError: it does not start.
        """
        waits = [asyncio.create_task(event.wait()) for event in (self.is_ready, self.is_done)]
        try:
            done, _ = await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.failure is not None or not done:
            raise HarnessError(f"{self.name} does not start: {self.failure or 'too slow'}")

    @property
    def pid(self) -> int:
        """Of the present life; 0 between lives."""
        return self.lives[-1].pid if self.lives and not self.lives[-1].ended_ns else 0

    @property
    def deaths(self) -> int:
        """Lives that ended, wanted or not."""
        return sum(life.ended_ns > 0 for life in self.lives)

    def send(self, number: signal.Signals, *, ends_it: bool = True) -> bool:
        """Send a signal to the process alone. False where none runs."""
        if not self.pid:
            return False
        if ends_it:
            self.lives[-1].is_end_wanted = True
            self.is_ready.clear()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True

    async def end(self, grace_s: float = 3.0) -> None:
        """End it for good: SIGTERM, after the grace time SIGKILL."""
        self._is_stopping = True
        if self.pid:
            self.lives[-1].is_end_wanted = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
        try:
            if self._running is not None:
                await self._running.end(grace_s)
        finally:
            if self._running is not None:
                self._running.kill()
            if self._keeper is not None:
                self._keeper.cancel()
                await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self) -> None:
        failed_starts = 0
        while not self._is_stopping and not self.is_done.is_set():
            extra, self.next_env = self.next_env, {}
            if not extra and self.following:
                extra = self.following.pop(0)
            try:
                await self._live({**self.env, **self.every_env, **extra})
                failed_starts = 0
            except PartFailedError as failed:
                failed_starts += "AXN_STEPS_CRASH" not in (extra | self.every_env)
                if failed_starts >= _MOST_FAILED_STARTS:
                    self._give_up(failed)
            if len(self.lives) >= self.most_lives:
                self._give_up(HarnessError(f"{self.name} has died {self.most_lives} times"))
            if not self.is_done.is_set():
                await asyncio.sleep(self.restart_delay_s)

    async def _live(self, env: Mapping[str, str]) -> None:
        part = Part(
            name=self.name,
            command=self.command,
            env=env,
            ready_line=self.ready_line,
            ready=self.ready,
            ready_within_s=60.0,
        )
        self._running = RunningPart(part, self.log_folder)
        noting = asyncio.create_task(self._note_life(self._running, is_meant_to_crash="AXN_STEPS_CRASH" in env))
        try:
            await self._running.launch()
            life = await noting
            self.ready_value = self._running.ready_value or ""
            self.is_ready.set()
            life.how = await self._running.ended()
            if self.until_done and life.how == "ended with code 0":
                life.is_end_wanted = True
                self.is_done.set()
        finally:
            noting.cancel()
            self.is_ready.clear()
            if self.lives and not self.lives[-1].ended_ns:
                self.lives[-1].ended_ns = time.monotonic_ns()

    async def _note_life(self, running: RunningPart, *, is_meant_to_crash: bool) -> Life:
        """Know the process's id as soon as it has one: it may be killed before it is ready."""
        while True:
            with contextlib.suppress(PartFailedError):
                life = Life(running.pid, time.monotonic_ns(), is_end_wanted=is_meant_to_crash)
                self.lives.append(life)
                return life
            await asyncio.sleep(_LOOK_S)

    def _give_up(self, failure: Exception) -> None:
        self.failure = failure
        self.is_done.set()
