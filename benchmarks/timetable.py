"""What one look at the timetable costs, however many entries stand in it.

    python -m benchmarks.timetable [--most 1000000] [--rounds 20]

On a Redis of its own. Three cases for each size: nothing is due; everything is due and its message must still be
queued (a batch that waits for hours); everything is due and is to be published.
"""

import argparse
import asyncio
import statistics
import time

from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.domain.job_ids import new_job_id
from worker.ledger.keys import job_keys, member_of
from worker.ledger.timetable import EVERYTHING, Timetable
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

PER_PIPELINE = 10_000
LOOK_MS = 10_000
MOST_PER_PARTITION = 500


async def fill(redis: Redis, count: int, score: float) -> None:
    """So many entries, all with this score."""
    for start in range(0, count, PER_PIPELINE):
        pipeline = redis.pipeline(transaction=False)
        for _ in range(start, min(start + PER_PIPELINE, count)):
            job_id = new_job_id(time.time_ns() // 1_000_000)
            pipeline.zadd(job_keys(job_id).timetable, {member_of(Lane.BATCH, job_id): score})
        await pipeline.execute()


async def looks_ms(timetable: Timetable, taken_up: float, rounds: int) -> tuple[float, int]:
    """Median ms of a look, and how many entries were looked at altogether."""
    times, entries = [], 0
    for _ in range(rounds):
        began_s = time.perf_counter()
        due = await timetable.take_due({Lane.BATCH: taken_up})
        times.append((time.perf_counter() - began_s) * 1000)
        entries += len(due.entries) + due.still_queued
    return statistics.median(times), entries


async def measure(url: str, sizes: list[int], rounds: int) -> None:
    redis = connect(url, timeout_ms=60_000)
    timetable = Timetable(redis, next_look_ms=LOOK_MS, most_per_partition=MOST_PER_PARTITION)
    now_ms = time.time_ns() // 1_000_000
    cases = (
        ("nothing due", now_ms + 86_400_000, EVERYTHING),
        ("all queued", now_ms - LOOK_MS + 1 / 2048, 0),
        ("all to publish", now_ms - LOOK_MS, EVERYTHING),
    )
    for size in sizes:
        for name, score, taken_up in cases:
            await redis.flushall()
            await fill(redis, size, score)
            median_ms, entries = await looks_ms(timetable, taken_up, rounds)
            print(f"{size:>9,} entries, {name:<15} {median_ms:8.2f} ms a look, {entries // rounds:>6} entries a look")  # noqa: T201
    await redis.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    with EmbeddedRedis(appendfsync="no") as server:
        sizes = [size for size in (1_000, 10_000, 100_000) if size < asked.most] + [asked.most]
        asyncio.run(measure(server.url(), sizes, asked.rounds))


if __name__ == "__main__":
    main()
