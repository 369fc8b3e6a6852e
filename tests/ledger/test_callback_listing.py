"""Dead callbacks come from their indexes in order, waiting ones from the timetables, one from its record or its job."""

import json
from contextlib import aclosing
from typing import Any

import pytest
from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.domain.job_ids import job_id_for_key, partition_of
from worker.errors import CallbackNotFoundError
from worker.ledger.callback_listing import CallbackListing, is_webhook_id
from worker.ledger.callback_views import CallbackState
from worker.ledger.index_walk import MEMBERS_PER_PAGE
from worker.ledger.keys import ALL_PARTITIONS, callback_key, job_keys, member_of, timetable_key

from .callbacks_on_record import (
    DAY_MS,
    HOST,
    TRIES,
    A,
    X,
    body_of,
    commands_of_dead,
    commands_of_job,
    commands_of_waiting,
    keys_of_partition,
    webhook_id,
)
from .support import now_ms, put

MANY = 100_000


@pytest.fixture
def listing(redis: Redis) -> CallbackListing:
    return CallbackListing(redis)


async def run(redis: Redis, commands: list[tuple[Any, ...]]) -> None:
    pipeline = redis.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    await pipeline.execute()


async def dead(listing: CallbackListing, limit: int = MANY) -> list[str]:
    return [one.webhook_id for one in await listing.newest_dead(lambda _: True, limit, lambda _: None)]


async def oldest_first(listing: CallbackListing, since: float, until: float) -> list[str]:
    walk = listing.dead(lambda _: True, lambda _: None, is_newest_first=False, since=since, until=until)
    async with aclosing(walk) as batches:
        return [one.webhook_id async for batch in batches for one in batch]


async def test_dead_ones_come_newest_first_over_all_partitions_and_few_are_read(
    redis: Redis, listing: CallbackListing
) -> None:
    keys = [str(number) for number in range(2_000)]
    await run(redis, commands_of_dead(keys, at_ms=1_000))
    ids = [webhook_id(key) for key in keys]
    assert {partition_of(id_[:26]) for id_ in ids} == set(ALL_PARTITIONS)
    assert await dead(listing) == ids[::-1]
    looked_at: list[int] = []
    found = await listing.newest_dead(lambda _: True, 3, looked_at.append)
    assert ([one.webhook_id for one in found], looked_at) == (ids[:-4:-1], [200])
    assert (found[0].died_at, found[0].state, found[0].host) == (2_999, CallbackState.DEAD, HOST)


async def test_between_two_moments_both_ends_are_included(redis: Redis, listing: CallbackListing) -> None:
    keys = [str(number) for number in range(50)]
    await run(redis, commands_of_dead(keys, at_ms=1_000))
    assert await oldest_first(listing, 1_010, 1_012) == [webhook_id(key) for key in ("10", "11", "12")]


@pytest.mark.parametrize("count", [MEMBERS_PER_PAGE - 1, MEMBERS_PER_PAGE, 3 * MEMBERS_PER_PAGE + 1])
async def test_more_of_one_moment_than_a_page_holds_are_found_once_each(
    redis: Redis, listing: CallbackListing, count: int
) -> None:
    index = job_keys(job_id_for_key(keys_of_partition(3, 1)[0])).dead_callbacks
    members = {member_of(Lane.CALLBACK, f"{job_id_for_key(str(number))}-1"): 7 for number in range(count)}
    await redis.zadd(index, members | {member_of(Lane.CALLBACK, webhook_id("last")): 8})
    looked_at: list[int] = []
    await listing.newest_dead(lambda _: True, MANY, looked_at.append)
    assert looked_at[-1] == count + 1


async def test_those_that_leave_the_index_meanwhile_hide_no_others(redis: Redis, listing: CallbackListing) -> None:
    keys = keys_of_partition(5, 2 * MEMBERS_PER_PAGE)
    await run(redis, commands_of_dead(keys, at_ms=1_000))
    index = job_keys(job_id_for_key(keys[0])).dead_callbacks
    seen: list[str] = []
    async with aclosing(listing.dead(lambda _: True, lambda _: None, is_newest_first=False)) as batches:
        async for batch in batches:
            seen += [one.webhook_id for one in batch]
            await redis.zrem(index, *(member_of(Lane.CALLBACK, one.webhook_id) for one in batch))
    assert seen == [webhook_id(key) for key in keys]


async def test_members_whose_record_is_gone_or_not_dead_are_skipped(redis: Redis, listing: CallbackListing) -> None:
    await run(redis, commands_of_dead(["gone", "moved", "there"], at_ms=1))
    await redis.delete(callback_key(webhook_id("gone")))
    await put(redis, callback_key(webhook_id("moved")), state="waiting")
    assert await dead(listing) == [webhook_id("there")]


async def test_waiting_ones_are_found_in_the_timetables_once_each_and_nothing_else_is(
    redis: Redis, listing: CallbackListing
) -> None:
    keys = [str(number) for number in range(600)]
    look_ms = await now_ms(redis) + DAY_MS
    await run(redis, commands_of_waiting(keys, look_ms=look_ms) + commands_of_dead(["dead"], at_ms=1))
    others = {"checkout:" + job_id_for_key("job"): 1, "callback:@shop.example": 1, "callback:!0f": 1, "newer:x": 1}
    await redis.zadd(timetable_key(0), others)
    looked_at: list[int] = []
    found = await listing.some_waiting(lambda _: True, MANY, looked_at.append)
    assert sorted(one.webhook_id for one in found) == sorted(webhook_id(key) for key in keys)
    assert {(one.state, one.next_at) for one in found} == {(CallbackState.WAITING, look_ms)}
    assert looked_at[-1] == len(keys)
    assert len(await listing.some_waiting(lambda _: True, 5, lambda _: None)) == 5


async def test_one_is_read_with_its_tries_and_what_it_leaves_out_is_made_harmless(
    redis: Redis, listing: CallbackListing
) -> None:
    now = await now_ms(redis)
    await run(redis, commands_of_dead(["1"], at_ms=now, url=f"https://{HOST}/{A}", order_key="o", secret="s"))
    found = await listing.read(webhook_id("1"))
    assert (found.state, found.type, found.tries, found.died_at) == (CallbackState.DEAD, "bind.succeeded", 2, now)
    assert now + 29 * DAY_MS < found.kept_until <= now + 30 * DAY_MS + 60_000
    assert (found.order_key, found.secret, found.body) == ("o", "s", body_of(found.webhook_id))
    assert [(one.at_ms, one.status, one.ms, one.error) for one in found.log] == [
        (told["at_ms"], told["status"], told["ms"], told["error"]) for told in TRIES
    ]
    assert found.log[1].answer == "150****5678 not served\n\\x1b[31m"
    assert A not in found.masked_url
    assert X not in found.masked_body


@pytest.mark.parametrize(
    "broken",
    [
        {"log": "no JSON"}, {"log": "[" * 100_000}, {"log": '{"at_ms":1}'}, {"log": '[1,{"at_ms":"x","status":null}]'},
        {"tries": "many"}, {"body": "no JSON"}, {"body": "[]"}, {"url": "http://[x", "host": ""}, {"created_at": "inf"},
    ],
)  # fmt: skip
async def test_a_broken_record_is_shown_as_far_as_it_can_be_read(
    redis: Redis, listing: CallbackListing, broken: dict[str, str]
) -> None:
    await run(redis, commands_of_dead(["1"], at_ms=1, **broken))
    assert (await listing.read(webhook_id("1"))).state is CallbackState.DEAD
    assert await dead(listing) == [webhook_id("1")]


async def test_of_a_delivered_one_its_job_tells(redis: Redis, listing: CallbackListing) -> None:
    await run(redis, commands_of_job("1", "delivered"))
    found = await listing.read(webhook_id("1"))
    assert (found.state, found.tries, found.log) == (CallbackState.DELIVERED, 2, ())
    assert await listing.of_job(job_id_for_key("1")) == webhook_id("1")


@pytest.mark.parametrize(
    ("commands", "id_", "told"),
    [
        ([], webhook_id("1"), "no callback"),
        (commands_of_job("1", "delivered"), f"{job_id_for_key('1')}-7", "the last callback of its job is delivered"),
        (commands_of_job("1", "dead"), webhook_id("1"), "the last callback of its job is dead"),
    ],
)
async def test_what_no_record_tells_of_is_an_error_that_says_what_is_known(
    redis: Redis, listing: CallbackListing, commands: list[tuple[Any, ...]], id_: str, told: str
) -> None:
    await run(redis, commands)
    with pytest.raises(CallbackNotFoundError, match=told):
        await listing.read(id_)


async def test_a_job_that_has_not_ended_has_no_event_of_its_end(redis: Redis, listing: CallbackListing) -> None:
    await put(redis, job_keys(job_id_for_key("1")).job, state="waiting", fence=3)
    with pytest.raises(CallbackNotFoundError, match="has not ended"):
        await listing.of_job(job_id_for_key("1"))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (webhook_id("1"), True), (f"{job_id_for_key('1')}-orphan-100", True), (job_id_for_key("1"), False),
        (f"{job_id_for_key('1')}-", False), (f"{job_id_for_key('1')}-{{p00}}", False), ("x-1", False),
        (f"{job_id_for_key('1')}-{'1' * 200}", False), (json.dumps({}), False),
    ],
)  # fmt: skip
def test_an_id_is_known_by_its_form(text: str, is_one: bool) -> None:
    assert is_webhook_id(text) is is_one
