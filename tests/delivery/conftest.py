from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from . import support


@pytest.fixture(autouse=True)
async def _ended_deliveries(redis: Redis) -> AsyncIterator[None]:
    """What a test's processes still do is cut off with it."""
    support.MADE.clear()  # tests elsewhere make some, too, and end them on loops of their own
    yield
    for delivery in support.MADE:
        await delivery.drain(0)
    support.MADE.clear()
