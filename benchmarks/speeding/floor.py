"""The floor: a bare asyncio loop, aiohttp, the same two HTTP calls, and the same writes to Redis in pipelines.

No queue, no signatures, no leases, no retries: what ends here is lost. Runs until it is killed.

    python -m benchmarks.speeding.floor 0      the number of the process
"""

import asyncio
import itertools
import os
import sys
import time
from typing import Any

import aiohttp
import uvloop
from redis.asyncio import Redis

from benchmarks.speeding.obvious import EXPIRATION, POOL_KEY
from benchmarks.speeding.servers import ORDER

IN_FLIGHT = 128
_JOBS_PER_PROCESS = 10**7

_Command = tuple[object, ...]


class _Writer:
    """All commands of one turn of the loop in one pipeline."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: list[tuple[tuple[_Command, ...], asyncio.Future[None]]] = []
        self._news = asyncio.Event()

    async def write(self, *commands: _Command) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, done))
        self._news.set()
        await done

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            taken, self._waiting = self._waiting, []
            pipeline = self._redis.pipeline(transaction=False)
            for commands, _ in taken:
                for command in commands:
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call, unused-ignore]
            await pipeline.execute()
            for _, done in taken:
                done.set_result(None)


async def _job(number: int, http: aiohttp.ClientSession, writer: _Writer) -> None:
    order, record, now_ms = ORDER.format(number), f"floor:{number}", time.time_ns() // 1_000_000
    await writer.write(
        ("ZADD", "floor:timetable", now_ms, number),
        ("HSET", record, "state", "submitting", "attempts", 1, "began_at", now_ms, "a", "13900000000"),
    )
    wanted = {"PoolKey": POOL_KEY, "PhoneNoA": "13900000000", "Expiration": EXPIRATION, "OutOrderId": order}
    async with http.post(os.environ["BENCH_PROVIDER"], params=wanted) as answer:
        body: Any = await answer.json()
    made = body["SecretBindDTO"]
    await writer.write(
        ("HSET", record, "state", "bound", "code", body["Code"], "x", made["SecretNo"], "subs_id", made["SubsId"]),
        ("EXPIRE", record, 604_800),
        ("ZADD", "floor:timetable", now_ms, f"{number}-c"),
        ("HSET", f"floor:callback:{number}", "url", os.environ["BENCH_RECEIVER"], "created_at", now_ms),
        ("ZREM", "floor:timetable", number),
    )
    event = {"order": order, "code": body["Code"], "phone_no_x": made["SecretNo"], "subs_id": made["SubsId"]}
    async with http.post(os.environ["BENCH_RECEIVER"], json=event) as taken:
        taken.raise_for_status()
    await writer.write(("DEL", f"floor:callback:{number}"), ("ZREM", "floor:timetable", f"{number}-c"))


async def _main() -> None:
    numbers = itertools.count(int(sys.argv[1]) * _JOBS_PER_PROCESS)
    writer = _Writer(Redis.from_url(os.environ["BENCH_REDIS"]))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http, asyncio.TaskGroup() as group:

        async def again_and_again() -> None:
            while True:
                await _job(next(numbers), http, writer)

        group.create_task(writer.run())
        for _ in range(IN_FLIGHT):
            group.create_task(again_and_again())


if __name__ == "__main__":
    uvloop.run(_main())
