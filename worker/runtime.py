"""One event loop per process, in a thread of its own: the one place where blocking callers hand over their work.

Celery's threads, an order system's threads and a command all use the process's loop, which owns the HTTP connections
and the Redis clients. After a fork the child gets a loop of its own.
"""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

import uvloop

T = TypeVar("T")


class Runtime:
    """A running loop. Thread-safe."""

    def __init__(self, name: str = "axn-loop") -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name=name, daemon=True)
        self._thread.start()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def submit(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Start work on the loop without waiting for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work on the loop and return what it returns. A Ctrl-C cancels the work."""
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function on the loop, soon; also from a signal handler."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def stop(self) -> None:
        """End the loop after cancelling what still runs on it."""
        self.run(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def end_tasks(tasks: Iterable["asyncio.Task[Any]"], *, again_s: float = 1.0) -> None:
    """Cancel them until they have ended.

    Once is not enough: `wait_for` of Python 3.11, in redis-py, swallows a cancellation that meets a finished write.

    Args:
        tasks: what is to end.
        again_s: how long a task may take to end before it is cancelled once more.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_s)


async def _cancel_all() -> None:
    this = asyncio.current_task()
    await end_tasks(task for task in asyncio.all_tasks() if task is not this)


class OnePerProcess(Generic[T]):
    """Holds one thing per process, made at the first call. After a fork the child makes its own. Thread-safe."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[int, T] | None = None

    def get(self) -> T:
        """This process's one."""
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), self._make())
            return self._made[1]

    def peek(self) -> T | None:
        """This process's one; None where it has made none."""
        made = self._made
        return made[1] if made is not None and made[0] == os.getpid() else None

    def take(self) -> T | None:
        """This process's one, to be ended by the caller; None where this process has made none."""
        with self._lock:
            made, self._made = self._made, None
        return made[1] if made is not None and made[0] == os.getpid() else None
