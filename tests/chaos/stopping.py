"""How a run of many processes is interrupted."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer
import uvloop

from tests.chaos.system import clean_environment

T = TypeVar("T")
_INTERRUPTED = 130


def run_until_stopped(work: Coroutine[Any, Any, T], tell: Callable[[str], None]) -> T:
    """Ctrl-C and SIGTERM cancel the work, so that it ends its processes and removes its folders."""

    async def main() -> T:
        task = asyncio.ensure_future(work)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await task

    try:
        with clean_environment(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main())
    except asyncio.CancelledError:
        tell("interrupted")
        raise typer.Exit(_INTERRUPTED) from None
