"""Calls at one node of a cluster."""

from typing import Any

from redis.asyncio import Redis

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
