import pytest
from redis.asyncio import Redis

from .bench import Bench


@pytest.fixture
def bench(redis: Redis) -> Bench:
    return Bench(redis)
