"""Many small pieces of work, so many at a time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

AT_ONCE = 16
T = TypeVar("T")


async def each(work: Callable[[T], Coroutine[Any, Any, None]], things: Iterable[T], *, at_once: int = AT_ONCE) -> None:
    """Do it for all of them. The first that fails ends the others, and what it raised is raised."""
    slots = asyncio.Semaphore(at_once)

    async def one(thing: T) -> None:
        async with slots:
            await work(thing)

    tasks = [asyncio.create_task(one(thing)) for thing in things]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
