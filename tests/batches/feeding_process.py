"""A process that feeds one batch until it is done, or dies as AXN_STEPS_CRASH says: `… REDIS_URL BATCH_ID`."""

import asyncio
import sys

from worker.redis_scripts import connect

from .feed_bench import FeedBench


async def feed(url: str, batch_id: str) -> None:
    redis = connect(url, timeout_ms=2000)
    bench = FeedBench(redis)
    bench.feed.lease_ms = 700
    await bench.session(batch_id).run(asyncio.Event())
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(feed(*sys.argv[1:]))
