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
    taken = (await Timetable(redis, next_look_ms=NEXT_LOOK_MS, most_per_partition=50).take_due()).entries
    assert set(taken) == due
    assert len(taken) == len(due)
    assert await timetable.size() == len(due)


async def test_what_was_taken_comes_due_again_later_and_not_before(redis: Redis, timetable: Timetable) -> None:
    job_id = await enter(redis, "1", 1)
    before = await now_ms(redis)
    assert (await timetable.take_due()).entries == [(Lane.BATCH, job_id)]
    look = await look_at(redis, job_id, Lane.BATCH)
    assert look is not None
    assert before + NEXT_LOOK_MS <= int(look) <= await now_ms(redis) + NEXT_LOOK_MS
    assert (await timetable.take_due()).entries == []


async def test_nothing_is_taken_before_its_time(redis: Redis, timetable: Timetable) -> None:
    at_ms = await now_ms(redis) + 2_000
    job_id = await enter(redis, "1", at_ms)
    assert (await timetable.take_due()).entries == []
    assert await look_at(redis, job_id, Lane.BATCH) == at_ms


async def test_one_look_takes_no_more_than_the_limit_the_longest_due_first(redis: Redis, timetable: Timetable) -> None:
    ids = [await enter(redis, key, 1 + place) for place, key in enumerate(keys_of_one_partition(5))]
    assert [id_ for _, id_ in (await timetable.take_due()).entries] == ids[:3]
    assert [id_ for _, id_ in (await timetable.take_due()).entries] == ids[3:]


async def test_a_flushed_script_cache_is_not_noticed(redis: Redis, timetable: Timetable) -> None:
    job_id = await enter(redis, "1", 1)
    client: Any = redis
    await client.script_flush()
    assert (await timetable.take_due()).entries == [(Lane.BATCH, job_id)]


async def test_what_was_published_and_must_still_be_queued_is_looked_at_half_as_often_each_time(
    redis: Redis, timetable: Timetable
) -> None:
    job_id = await enter(redis, "1", 1)
    await timetable.take_due()
    first = await look_at(redis, job_id, Lane.BATCH)
    assert first is not None
    published_at = int(first) - NEXT_LOOK_MS
    passed_ms = 3 * NEXT_LOOK_MS
    await _let_pass(redis, job_id, passed_ms)
    due = await timetable.take_due({Lane.BATCH: published_at - passed_ms})
    assert (due.entries, due.still_queued) == ([], 1)
    again = await look_at(redis, job_id, Lane.BATCH)
    assert again is not None
    assert int(again) - (published_at - passed_ms) == 4 * NEXT_LOOK_MS
    await _let_pass(redis, job_id, passed_ms)
    due = await timetable.take_due({Lane.BATCH: published_at - 2 * passed_ms})
    assert (due.entries, due.still_queued) == ([], 1)
    third = await look_at(redis, job_id, Lane.BATCH)
    assert third is not None
    assert int(third) - (published_at - 2 * passed_ms) == 8 * NEXT_LOOK_MS


async def _let_pass(redis: Redis, job_id: str, passed_ms: int) -> None:
    """As if everything so far had happened that much earlier."""
    client: Any = redis
    await client.zincrby(job_keys(job_id).timetable, -passed_ms, member_of(Lane.BATCH, job_id))


async def test_what_was_published_before_a_message_that_was_taken_up_is_published_again(
    redis: Redis, timetable: Timetable
) -> None:
    job_id = await enter(redis, "1", 1)
    due = await timetable.take_due()
    await _let_pass(redis, job_id, 2 * NEXT_LOOK_MS)
    taken_up = {Lane.BATCH: due.now_ms + 1 - 2 * NEXT_LOOK_MS + 1_000}
    assert (await timetable.take_due(taken_up)).entries == [(Lane.BATCH, job_id)]
    assert (await timetable.take_due(taken_up)).entries == []


async def test_a_retry_whose_time_has_come_is_published_however_long_the_queue(
    redis: Redis, timetable: Timetable
) -> None:
    job_id = await enter(redis, "1", 1)
    due = await timetable.take_due({Lane.BATCH: 0})
    assert due.entries == [(Lane.BATCH, job_id)]


async def test_an_entry_of_an_unknown_lane_is_left_alone_and_the_others_are_taken(
    redis: Redis, timetable: Timetable
) -> None:
    job_id = await enter(redis, "1", 1)
    client: Any = redis
    await client.zadd(job_keys(job_id).timetable, {f"express:{job_id}": 1})
    assert (await timetable.take_due()).entries == [(Lane.BATCH, job_id)]
    assert await timetable.size() == 2


async def test_tickers_learn_how_far_the_others_have_come(timetable: Timetable) -> None:
    assert await timetable.note_progress({Lane.CHECKOUT: 5}) == {Lane.CHECKOUT: 5}
    assert await timetable.note_progress({}) == {Lane.CHECKOUT: 5}
    assert await timetable.note_progress({Lane.BATCH: 7}) == {Lane.CHECKOUT: 5, Lane.BATCH: 7}
