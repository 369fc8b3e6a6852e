"""Child processes with a pipe to each: forked, so that sixteen of them start in a second on two cores.

They do not outlive the benchmark: Ctrl-C is the parent's alone, which then kills them by their ids, and each has an
alarm for the case that the parent is killed.
"""

import multiprocessing
import signal
from collections.abc import Callable, Collection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from types import TracebackType
from typing import Any, Self

_FORK = multiprocessing.get_context("fork")
_LONGEST_LIFE_S = 120
_LONGEST_SILENCE_S = 30


class ChildError(Exception):
    """A child ended or is silent."""


class Children:
    """Those that were started, until the `with` block ends."""

    def __init__(self) -> None:
        self._processes: list[ForkProcess] = []
        self._pipes: dict[Connection, ForkProcess] = {}

    def start(self, target: Callable[..., None], *arguments: Any) -> Connection:
        """Run target(pipe, *arguments) in a child; returns the other end of its pipe."""
        ours, theirs = _FORK.Pipe()
        process = _FORK.Process(target=_run, args=(target, theirs, ours, arguments), daemon=True)
        # Python swallows an interrupt that comes while it forks.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
            self._processes.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        theirs.close()
        self._pipes[ours] = process
        return ours

    def hear(self, pipe: Connection, *, within_s: float = _LONGEST_SILENCE_S) -> Any:
        """What a child tells next.

        Raises:
            ChildError: it ended, or told nothing in time.
        """
        try:
            if pipe.poll(within_s):
                return pipe.recv()
        except (EOFError, OSError):
            self._pipes[pipe].join(1)
            raise ChildError(f"a child ended with code {self._pipes[pipe].exitcode}: its error is above") from None
        raise ChildError(f"child {self._pipes[pipe].pid} told nothing for {within_s} s")

    def end(self, pipes: Collection[Connection]) -> None:
        """Kill these children: they have told all there is to tell."""
        for pipe in pipes:
            self._pipes[pipe].kill()
        for pipe in pipes:
            self._pipes[pipe].join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
        for pipe in self._pipes:
            pipe.close()


def _run(target: Callable[..., None], pipe: Connection, parents_end: Connection, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.alarm(_LONGEST_LIFE_S)
    parents_end.close()
    target(pipe, *arguments)
