"""Calls at one node of a cluster."""

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import AskError, MovedError

from worker.redis_cluster_answers import command_name


async def call_at(node: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if command_name(args) == "EVALSHA":
        return await node.evalsha(*args[1:])
    return await node.execute_command(*args, **options)


class Asking:
    """A node that a slot is moving to. ASKING holds for one command of its connection, so both go in one pipeline."""

    def __init__(self, node: Redis) -> None:
        self._node = node

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async with self._node.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("ASKING")
            pipeline.execute_command(*args, **options)
            answer = (await pipeline.execute(raise_on_error=False))[-1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def evalsha(self, *args: Any) -> Any:
        return await self.execute_command("EVALSHA", *args)

    async def script_load(self, script: Any) -> Any:
        return await self._node.script_load(script)


def is_ask(answer: Any) -> bool:
    """Whether a node sends this one command to the node that its slot is moving to."""
    return isinstance(answer, AskError) and not isinstance(answer, MovedError)


def is_heard(task: "asyncio.Task[None]") -> None:
    """So that nobody misses the failure of a look that no caller awaited."""
    if not task.cancelled():
        task.exception()
