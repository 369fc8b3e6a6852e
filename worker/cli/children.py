"""Running commands that keep child processes: whatever ends the command ends them too."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from worker.cli.output import Exit, complain
from worker.errors import AxnError
from worker.local.part import PartFailedError
from worker.local.redis_server import RedisServerError

T = TypeVar("T")
_INTERRUPTED = 130


def run_with_children(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run the coroutine; Ctrl-C and SIGTERM cancel it, so that it ends its children, and exit with 130."""

    async def run() -> T:
        task = asyncio.ensure_future(main())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
        return await task

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise typer.Exit(_INTERRUPTED) from None
    except (AxnError, PartFailedError, RedisServerError) as failed:
        complain(str(failed))
        raise typer.Exit(Exit.FAILED) from None
