"""What the state machines that play moves on a real Redis have in common: a loop of their own, and a client."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from worker.redis_scripts import connect


class RedisMachine(RuleBasedStateMachine):
    """Base; a subclass made in the test sets `url`. Rules are plain functions, which wait for coroutines by `run`."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: Any = connect(self.url, timeout_ms=2000)

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await awaitable

        return self.runner.run(awaited())

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.runner.close()
