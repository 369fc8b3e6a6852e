"""The process's one loop."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.runtime import OnePerProcess, Runtime, end_tasks


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    made = Runtime()
    yield made
    made.stop()


async def thread_name() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


def test_work_of_many_threads_runs_on_one_loop(runtime: Runtime) -> None:
    with ThreadPoolExecutor(8) as threads:
        names = set(threads.map(lambda _: runtime.run(thread_name()), range(50)))
    assert names == {"axn-loop"}


def test_an_error_reaches_who_asked(runtime: Runtime) -> None:
    async def fail() -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        runtime.run(fail())


def test_stopping_cancels_what_still_runs() -> None:
    runtime, cancelled = Runtime(), threading.Event()

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    runtime.submit(wait_for_ever())
    runtime.run(thread_name())
    runtime.stop()
    assert cancelled.is_set()


def test_a_forked_child_makes_its_own_and_leaves_its_parent_s_alone() -> None:
    held = OnePerProcess(object)
    made = held.get()
    assert held.get() is made
    in_the_child: list[Callable[[], bool]] = [lambda: held.get() is not made, lambda: held.take() is None]
    for asked in in_the_child:
        child = os.fork()
        if child == 0:
            os._exit(7 if asked() else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert held.take() is made
    assert held.take() is None


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed: list[int] = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if len(swallowed) == 2:
                    raise
                swallowed.append(1)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_tasks([task], again_s=0.01), 10)
    assert (task.cancelled(), len(swallowed)) == (True, 2)
