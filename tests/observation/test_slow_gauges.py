"""How renewals and batches stand, as metrics: read from Redis, the same whoever reads, and not often."""

import time
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.batches.feed_bench import FAILED, NO_NUMBER, FeedBench, bind_rows
from tests.ledger.support import now_ms
from tests.observation.test_gauges import HeldClock, value
from worker.ledger.batch_rows import batch_keys, counts_key
from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.renewal_keys import renewals_due_key, renewals_failing_key, renewals_key
from worker.observation.meters import Meters
from worker.observation.slow_gauges import SlowGauges
from worker.registry.alarm import NO_RISK, Risk

HOUR, MINUTE = 3_600_000, 60_000
LONG_AGO_MS = 20 * MINUTE


class Reader:
    """One process's gauges."""

    def __init__(self, redis: Redis, risk: Risk = NO_RISK) -> None:
        self.clock, self.meters, self.redis = HeldClock(), Meters(), redis
        self.gauges = SlowGauges(redis, self.meters, self.clock, lambda: risk)

    async def read(self) -> "Reader":
        """After everything that was read before has grown old."""
        self.clock.now_ms += 15_000
        await self.gauges.refresh(await now_ms(self.redis))
        return self

    def __call__(self, name: str, **labels: str) -> float | None:
        return value(self.meters, name, **labels)


@pytest.fixture
def bench(redis: Redis) -> FeedBench:
    return FeedBench(redis)


async def age(bench: FeedBench, batch_id: str) -> None:
    """What was done was done long ago."""
    then = await now_ms(bench.redis) - LONG_AGO_MS
    moments = dict.fromkeys(("created_at", "began_at", "moved_at"), then)
    await bench.client.hset(batch_keys(batch_id).batch, mapping=moments)
    for partition in ALL_PARTITIONS:
        if await bench.client.exists(counts_key(partition, batch_id)):
            await bench.client.hset(counts_key(partition, batch_id), "ended_at", then)


async def test_renewals_are_counted_over_all_partitions(redis: Redis) -> None:
    client: Any = redis
    now = await now_ms(redis)
    for partition, due in ((0, now - 10 * MINUTE), (1, now - MINUTE), (15, now + 30 * MINUTE), (3, now + 5 * HOUR)):
        await client.zadd(renewals_key(partition), {f"b{due}": due})
    await client.zadd(renewals_key(7), {"next week": now + 170 * HOUR})
    await client.zadd(renewals_due_key(4), {"taken up": now + 9 * HOUR})
    await client.hset(renewals_failing_key(2), "f", "isv.X")
    told = await Reader(redis).read()
    names = ("axn_renewals_kept", "axn_renewals_late", "axn_renewals_failing")
    assert [told(name) for name in names] == [6, 3, 1]
    assert [told("axn_renewals_due", within=span) for span in ("1h", "24h")] == [4, 5]
    assert told("axn_renewals_late_seconds") == pytest.approx(600, abs=3)


async def test_an_empty_ledger_is_told_in_full(redis: Redis) -> None:
    told = await Reader(redis).read()
    for name in ("kept", "late", "late_seconds", "failing"):
        assert told(f"axn_renewals_{name}") == 0
    assert told("axn_batch_idle_seconds") == told("axn_batches", state="running") == 0
    assert told("axn_batch_rows", outcome="alive") == told("axn_batch_rows", outcome="not_begun") == 0


async def test_what_ends_unrenewed_is_what_the_alarm_saw(redis: Redis) -> None:
    risk = Risk(30, 2, first_end=9_000, per_second=50, why="ceiling", unrenewed_end=5_000)
    told = await Reader(redis, risk).read()
    assert [told("axn_bindings_ending_unrenewed", why=why) for why in ("pace", "failing")] == [30, 2]
    assert told("axn_bindings_first_unrenewed_end_timestamp_seconds") == 5


async def test_rows_are_counted_by_outcome_as_long_as_their_batch_is_under_way(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(5), window=3)
    await bench.turn(batch_id)
    await bench.end(bench.told.ids[0])
    await bench.end(bench.told.ids[1], FAILED)
    told = await Reader(bench.redis).read()
    outcomes = ("bound", "failed", "alive", "not_begun")
    assert [told("axn_batch_rows", outcome=outcome) for outcome in outcomes] == [1, 1, 1, 2]
    assert (told("axn_batches", state="running"), told("axn_batches", state="finished")) == (1, 0)
    await bench.batches.cancel(batch_id, "ada")
    await told.read()
    assert [told("axn_batch_rows", outcome=outcome) for outcome in outcomes] == [None, None, 0, 0]
    assert (told("axn_batches", state="running"), told("axn_batches", state="cancelled")) == (0, 1)


async def test_a_batch_stands_still_until_a_row_begins_or_ends(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(5), window=3)
    await bench.turn(batch_id)
    told = Reader(bench.redis)
    await age(bench, batch_id)
    assert (await told.read())("axn_batch_idle_seconds") == pytest.approx(LONG_AGO_MS / 1000, abs=3)
    await bench.end(bench.told.ids[0])
    assert (await told.read())("axn_batch_idle_seconds") == pytest.approx(0, abs=3)
    await age(bench, batch_id)
    await bench.turn(batch_id)
    assert (await told.read())("axn_batch_idle_seconds") == pytest.approx(0, abs=3)


@pytest.mark.parametrize(("by", "is_idle"), [("ada", False), ("", True)])
async def test_one_that_a_person_paused_stands_still_rightly(bench: FeedBench, by: str, is_idle: bool) -> None:
    batch_id = await bench.started(bind_rows(5), window=3)
    await bench.turn(batch_id)
    if by:
        await bench.batches.pause(batch_id, by)
    else:
        await bench.end(bench.told.ids[0], NO_NUMBER)
        await bench.turn(batch_id)
    await age(bench, batch_id)
    told = await Reader(bench.redis).read()
    assert told("axn_batches", state="paused") == 1
    assert told("axn_batch_idle_seconds") == pytest.approx(LONG_AGO_MS / 1000 * is_idle, abs=3)


async def test_one_out_of_its_hours_stands_still_rightly_but_not_its_rows_under_way(bench: FeedBench) -> None:
    shanghai = time.gmtime(time.time() + 8 * 3_600)
    hours = [f"{(shanghai.tm_hour + ahead) % 24:02d}:00" for ahead in (6, 8)]
    batch_id = await bench.started(bind_rows(2), not_before=hours[0], not_after=hours[1])
    await age(bench, batch_id)
    told = Reader(bench.redis)
    assert (await told.read())("axn_batch_idle_seconds") == 0
    await bench.client.hset(counts_key(0, batch_id), mapping={"opened": 1})
    assert (await told.read())("axn_batch_idle_seconds") == pytest.approx(LONG_AGO_MS / 1000, abs=3)


async def test_it_is_read_each_quarter_of_a_minute(bench: FeedBench) -> None:
    told = await Reader(bench.redis).read()
    await bench.started(bind_rows(1))
    await told.gauges.refresh(await now_ms(bench.redis))
    assert told("axn_batches", state="running") == 0
    assert (await told.read())("axn_batches", state="running") == 1
