"""What all tests share: a real Redis per test process, empty for each test."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

# The official credentials package asks the machine's metadata service when it finds nothing else; it reads this once.
os.environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """One server for all tests of this process."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Redis]:
    """A client of an empty database 0, made as the engine makes its own.

    AXN_TEST_LEDGER names another ledger for the tests of the parts: see tests/redis_topologies/on_cluster.py.
    """
    client = connect(os.environ.get("AXN_TEST_LEDGER") or redis_server.url(0), timeout_ms=2000)
    await client.flushall()
    yield client
    await client.aclose()
