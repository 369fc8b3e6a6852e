"""One bench per test."""

import pytest
from redis.asyncio import Redis

from tests.registry.bench import Bench


@pytest.fixture
def bench(redis: Redis) -> Bench:
    """The registry on an empty ledger, and a sandbox."""
    return Bench(redis)
