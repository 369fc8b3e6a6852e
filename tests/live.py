"""A whole system beside the tests of this process: Redis, sandbox, receiver and two workers."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from worker import producers
from worker.cli.demo import TUNING
from worker.local.system import LocalSystem, SystemPlan


@dataclass
class Running:
    """A system that runs in its own loop."""

    system: LocalSystem
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)


@contextmanager
def live_system(tuning: Mapping[str, str]) -> Iterator[Running]:
    """Runs while the block lasts; the AXN_ variables of this process point at it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    plan = SystemPlan(latency_ms=5, tuning={**TUNING, **tuning})
    system = LocalSystem(plan, on_event=lambda _part, _text: None)
    both = Running(system, loop)
    both.run(system.__aenter__())
    before = dict(os.environ)
    os.environ.update(system.env)
    producers.close()  # whoever used them before in this process had another system
    try:
        yield both
    finally:
        producers.close()
        os.environ.clear()
        os.environ.update(before)
        both.run(system.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
