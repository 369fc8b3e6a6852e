"""A worker killed with SIGKILL and a Redis that restarts: the rate is kept, and nobody stalls."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.ledger.support import now_ms
from tests.pace.support import DEPTH_US, SCHEDULE, let_a_second_pass, pace_of
from worker.domain.job import Lane
from worker.local.redis_server import EmbeddedRedis
from worker.pace.pace import Pace
from worker.redis_scripts import connect

PER_SECOND = 200
HOLDER = """
import asyncio, sys
from tests.pace.support import pace_of
from worker.domain.job import Lane
from worker.redis_scripts import connect

async def hold():
    pace = pace_of(connect(sys.argv[1], timeout_ms=2_000), per_second=200)
    asking = [asyncio.ensure_future(pace.permit(Lane.BATCH, patience_ms=60_000)) for _ in range(500)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    print("holds", flush=True)
    await asyncio.Event().wait()

asyncio.run(hold())
"""


async def test_a_killed_worker_costs_no_more_than_a_lease(redis: Redis, redis_server: EmbeddedRedis) -> None:
    await let_a_second_pass(redis)
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, redis_server.url(0), stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await asyncio.wait_for(holder.stdout.readline(), 20) == b"holds\n"
    os.kill(holder.pid, signal.SIGKILL)
    await holder.wait()
    client: Any = redis
    ahead_ms = float(await client.hget(SCHEDULE, "tat")) / 1_000 - await now_ms(redis)
    assert ahead_ms <= 30 + 1, "a lease of batch is 30 ms deep"
    began = time.monotonic()
    assert (await pace_of(redis, per_second=PER_SECOND).permit(Lane.BATCH, patience_ms=5_000)).come_back_ms == 0
    assert time.monotonic() - began < 1


@pytest.fixture
def own_server() -> Iterator[Callable[..., EmbeddedRedis]]:
    started: list[EmbeddedRedis] = []

    def start(**options: Any) -> EmbeddedRedis:
        server = EmbeddedRedis(**options)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.mark.parametrize("keeps_data", [True, False])
async def test_a_restart_of_redis_gives_no_budget_twice_and_stalls_nobody(
    own_server: Callable[..., EmbeddedRedis], keeps_data: bool
) -> None:
    server = own_server(
        appendfsync="always" if keeps_data else "no", options={"appendonly": "yes" if keeps_data else "no"}
    )
    clients = [connect(server.url(0), timeout_ms=500) for _ in range(3)]
    paces = [pace_of(client, per_second=PER_SECOND) for client in clients]
    moments: list[float] = []
    end = time.monotonic() + 2.5

    async def ask(pace: Pace, lane: Lane) -> None:
        while time.monotonic() < end:
            try:
                permit = await pace.permit(lane, patience_ms=500)
            except (RedisError, OSError):
                await asyncio.sleep(0.01)
                continue
            if not permit.come_back_ms:
                moments.append(time.monotonic())
                pace.unused(permit)

    asking = [asyncio.create_task(ask(pace, lane)) for pace in paces for lane in DEPTH_US for _ in range(3)]
    while len(moments) < PER_SECOND // 2:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    await asyncio.to_thread(server.restart)
    back = time.monotonic()
    await asyncio.gather(*asking)
    for pace, client in zip(paces, clients, strict=True):
        await pace.aclose()
        await client.aclose()
    most = max(sum(first <= moment < first + 1 for moment in moments) for first in moments)
    assert most <= PER_SECOND * 1.03, "a late wake-up of this loop may push a call into the next window"
    assert min(moment - back for moment in moments if moment > back) < 2
