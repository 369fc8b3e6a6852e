from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from .bench import Bench, benches


@pytest.fixture
async def bench(redis: Redis) -> AsyncIterator[Bench]:
    async with benches(redis) as (one,):
        yield one


@pytest.fixture
async def two(redis: Redis) -> AsyncIterator[list[Bench]]:
    """Two worker processes of one system."""
    async with benches(redis, count=2) as both:
        yield both
