"""A contestant's worker processes: started, counted by the operating system, ended. Reads /proc: Linux only."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.local.child import child_command, kill_group

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LOG_TAIL_LINES = 20
_ROOT = Path(__file__).parents[2]


class WorkersError(Exception):
    """A worker ended by itself."""


class Workers:
    """They run until the `with` block ends, and all they have started with them."""

    def __init__(self, commands: Sequence[Sequence[str]], env: Mapping[str, str], folder: Path) -> None:
        self._commands, self._env, self._folder = commands, env, folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            for number, command in enumerate(self._commands):
                self._start(number, command)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self, number: int, command: Sequence[str]) -> None:
        with self._log(number).open("wb") as log:
            self._processes.append(
                subprocess.Popen(  # noqa: S603 - the commands stand in contestants.py
                    child_command([sys.executable, *command]),
                    cwd=_ROOT,
                    env={**os.environ, **self._env},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _log(self, number: int) -> Path:
        return self._folder / f"worker-{number}.log"

    def _end(self) -> None:
        descendants = self.pids()
        for process in self._processes:
            kill_group(process.pid)
            process.wait()
        for pid in descendants:  # whoever made a group of its own
            kill_group(pid)

    def check(self) -> None:
        """Raise WorkersError if one has ended; with the end of its log."""
        for number, process in enumerate(self._processes):
            if process.poll() is not None:
                raise WorkersError(f"a worker ended with code {process.returncode}:\n{self.log_tail(number)}")

    def log_tail(self, number: int = 0) -> str:
        """The last lines that a worker has written."""
        return "\n".join(self._log(number).read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])

    def pids(self) -> list[int]:
        """All processes, with what they have started."""
        found = [process.pid for process in self._processes if process.poll() is None]
        for pid in found:  # it grows meanwhile
            found += _children(pid)
        return found

    def cpu_s(self) -> float:
        """User and system time of all of them so far."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / _TICKS_PER_S

    def memory_mib(self) -> tuple[float, float]:
        """Sums of what each has resident, and of the same with shared pages shared out (RSS, PSS)."""
        rss_kib = pss_kib = 0
        for pid in self.pids():
            lines = _text(pid, "smaps_rollup").splitlines()
            sizes = {words[0]: int(words[1]) for line in lines[1:] if (words := line.split())}
            rss_kib += sizes.get("Rss:", 0)
            pss_kib += sizes.get("Pss:", 0)
        return rss_kib / 1024, pss_kib / 1024


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    try:
        return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _cpu_ticks(pid: int) -> int:
    fields = _text(pid, "stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if fields else 0


def _text(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="ascii", errors="replace")
    except OSError:  # it has ended meanwhile
        return ""
