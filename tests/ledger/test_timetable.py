from typing import Any

import pytest
from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.domain.job_ids import job_id_for_key
from worker.ledger.keys import job_keys, member_of
from worker.ledger.timetable import Timetable

from .support import look_at, now_ms

NEXT_LOOK_MS = 5_000


@pytest.fixture
def timetable(redis: Redis) -> Timetable:
    return Timetable(redis, next_look_ms=NEXT_LOOK_MS, most_per_partition=3)


async def enter(redis: Redis, key: str, at_ms: int, lane: Lane = Lane.BATCH) -> str:
    client: Any = redis
    job_id = job_id_for_key(key)
    await client.zadd(job_keys(job_id).timetable, {member_of(lane, job_id): at_ms})
    return job_id


def keys_of_one_partition(count: int) -> list[str]:
    home = job_keys(job_id_for_key("0")).timetable
    keys = (str(number) for number in range(10_000))
    return [key for key in keys if job_keys(job_id_for_key(key)).timetable == home][:count]


async def test_what_is_due_is_taken_from_all_partitions_with_its_lane(redis: Redis, timetable: Timetable) -> None:
    lanes = [Lane.CHECKOUT, Lane.BATCH, Lane.RENEWAL, Lane.CALLBACK]
    due = {(lane, await enter(redis, f"{lane}{number}", 1, lane)) for lane in lanes for number in range(5)}
    taken = await Timetable(redis, next_look_ms=NEXT_LOOK_MS, most_per_partition=50).take_due()
    assert set(taken) == due
    assert len(taken) == len(due)
    assert await timetable.size() == len(due)


async def test_what_was_taken_comes_due_again_later_and_not_before(redis: Redis, timetable: Timetable) -> None:
    job_id = await enter(redis, "1", 1)
    before = await now_ms(redis)
    assert await timetable.take_due() == [(Lane.BATCH, job_id)]
    look = await look_at(redis, job_id, Lane.BATCH)
    assert look is not None
    assert before + NEXT_LOOK_MS <= look <= await now_ms(redis) + NEXT_LOOK_MS
    assert await timetable.take_due() == []


async def test_nothing_is_taken_before_its_time(redis: Redis, timetable: Timetable) -> None:
    at_ms = await now_ms(redis) + 2_000
    job_id = await enter(redis, "1", at_ms)
    assert await timetable.take_due() == []
    assert await look_at(redis, job_id, Lane.BATCH) == at_ms


async def test_one_look_takes_no_more_than_the_limit_the_longest_due_first(redis: Redis, timetable: Timetable) -> None:
    ids = [await enter(redis, key, 1 + place) for place, key in enumerate(keys_of_one_partition(5))]
    assert [id_ for _, id_ in await timetable.take_due()] == ids[:3]
    assert [id_ for _, id_ in await timetable.take_due()] == ids[3:]


async def test_a_flushed_script_cache_is_not_noticed(redis: Redis, timetable: Timetable) -> None:
    job_id = await enter(redis, "1", 1)
    client: Any = redis
    await client.script_flush()
    assert await timetable.take_due() == [(Lane.BATCH, job_id)]
