"""The proxy's network really is slow, silent or broken, against a real Redis."""

import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.chaos.proxy import Proxy
from worker.local.redis_server import EmbeddedRedis


@pytest.fixture
async def way(redis_server: EmbeddedRedis, redis: Redis) -> AsyncIterator[Proxy]:
    """A proxy to the tests' Redis, which is empty."""
    async with Proxy(str(redis_server.socket_path)) as proxy:
        yield proxy


@pytest.fixture
async def client(way: Proxy) -> AsyncIterator[Redis]:
    """One that never resends, through the proxy."""
    made = Redis(port=way.port, retry=Retry(NoBackoff(), 0), socket_timeout=0.5, decode_responses=True)
    yield made
    await made.aclose()


async def test_everything_arrives_in_order(client: Redis) -> None:
    async with client.pipeline(transaction=False) as pipeline:
        for number in range(1000):
            pipeline.rpush("list", "x" * number)
        await pipeline.execute()
    assert [len(one) for one in await client.lrange("list", 0, -1)] == list(range(1000))


async def test_latency_holds_each_direction_up(way: Proxy, client: Redis) -> None:
    await client.ping()
    way.slow_down(0.1)
    began = time.monotonic()
    await client.ping()
    assert time.monotonic() - began >= 0.19
    way.slow_down(0)
    began = time.monotonic()
    await client.ping()
    assert time.monotonic() - began < 0.19


async def test_a_reset_breaks_every_connection(way: Proxy, client: Redis) -> None:
    await client.ping()
    assert way.reset_all() == 1
    with pytest.raises(RedisConnectionError):
        await client.ping()
    assert await client.ping()


async def test_a_cut_reply_leaves_the_command_done(way: Proxy, client: Redis, redis: Redis) -> None:
    await client.ping()
    way.replies_to_cut = 1
    with pytest.raises(RedisConnectionError):
        await client.incr("counter")
    assert await redis.get("counter") == "1"


async def test_a_black_hole_delivers_late_and_breaks_nothing(way: Proxy, client: Redis, redis: Redis) -> None:
    await client.ping()
    way.black_hole(is_on=True)
    with pytest.raises(RedisTimeoutError):
        await client.incr("counter")
    assert await redis.get("counter") is None
    way.black_hole(is_on=False)
    for _ in range(100):
        if await redis.get("counter"):
            break
        await redis.ping()
    assert await client.incr("counter") == 2


async def test_a_server_that_is_gone_refuses(redis_server: EmbeddedRedis) -> None:
    async with Proxy(str(redis_server.folder / "nobody.sock")) as way:
        client = Redis(port=way.port, retry=Retry(NoBackoff(), 0))
        with pytest.raises(RedisConnectionError):
            await client.ping()
        await client.aclose()
