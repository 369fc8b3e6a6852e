"""Sessions: one per partition at a time, brought by the timetable, taken over when a process dies."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import new_job, now_ms
from worker.domain.job import Lane
from worker.domain.job_ids import partition_of
from worker.ledger.keys import job_keys, timetable_key
from worker.ledger.renewal_keys import (
    renewal_id,
    renewal_member,
    renewals_due_key,
    renewals_key,
    renewals_lease_key,
)
from worker.ledger.timetable import Timetable
from worker.messages import decode_ids, encode_ids

from .bench import DAY, HOUR, Bench, benches


async def look(redis: Redis, partition: int) -> float | None:
    """When the timetable looks at a partition's renewals."""
    client: Any = redis
    at: float | None = await client.zscore(timetable_key(partition), renewal_member(partition))
    return at


async def die(bench: Bench, partition: int) -> None:
    """As if the process had been killed: nothing is given back; then its lease runs out."""
    for session in list(bench.sessions._sessions.values()):
        session.cancel()
    await bench.redis.delete(renewals_lease_key(partition))


async def test_the_timetable_brings_a_partition_when_its_first_binding_is_due(bench: Bench) -> None:
    await bench.checked()
    one, other = await bench.bound("1"), await bench.bound("2", lasts_ms=12 * HOUR)
    for binding_id in (one, other):
        assert await look(bench.redis, partition_of(binding_id)) == await bench.due_at(binding_id)
    partition = partition_of(one)
    await bench.make_due(one)
    client: Any = bench.redis
    await client.zadd(timetable_key(partition), {renewal_member(partition): 1})
    due = await Timetable(bench.redis, next_look_ms=10_000, most_per_partition=10).take_due()
    assert due.entries == [(Lane.RENEWAL, renewal_id(partition))]
    message = decode_ids(encode_ids(Lane.RENEWAL, [renewal_id(partition)], due.now_ms))
    bench.sessions.begin(message.ids, message.published_at_ms)
    await bench.sessions.idle()
    assert (await bench.read(one)).number == 1
    assert await look(bench.redis, partition) == await bench.due_at(one)


async def test_a_partition_without_kept_bindings_is_not_looked_at(bench: Bench) -> None:
    binding_id = await bench.bound()
    await bench.renewals.close(binding_id)
    partition = partition_of(binding_id)
    bench.sessions.begin([renewal_id(partition)])
    await bench.sessions.idle()
    assert await look(bench.redis, partition) is None


async def test_two_processes_share_no_partition(two: list[Bench]) -> None:
    one, other = two
    await one.checked()
    binding_id = await one.bound()
    partition = partition_of(binding_id)
    sending, go_on = asyncio.Event(), asyncio.Event()

    async def before(_: str) -> None:
        sending.set()
        await go_on.wait()

    one.provider.before = before
    renewing = asyncio.create_task(one.renew(binding_id))
    await asyncio.wait_for(sending.wait(), 5)
    before_ms = await now_ms(one.redis)
    other.sessions.begin([renewal_id(partition)])
    await other.sessions.idle()
    at = await look(one.redis, partition)
    assert at is not None
    assert before_ms + 5_000 < at <= before_ms + one.lease_ms + 1_000, "the timetable looks when the lease has run out"
    go_on.set()
    await renewing
    assert (one.provider.ends(), other.provider.ends()) == ([(await one.read(binding_id)).expiration], [])


@pytest.mark.parametrize("answered", [False, True])
async def test_a_process_that_dies_is_followed_by_another_and_one_renewal_is_counted(
    redis: Redis, answered: bool
) -> None:
    async with benches(redis, count=2, hold_ms=1) as (one, other):
        await one.checked()
        binding_id = await one.bound()
        first = (await one.read(binding_id)).expires_at
        reached = asyncio.Event()

        async def hang(action: str) -> None:
            if action == "UpdateSubscription":
                reached.set()
                await asyncio.Event().wait()

        setattr(one.provider, "after" if answered else "before", hang)
        renewing = asyncio.create_task(one.renew(binding_id))
        await asyncio.wait_for(reached.wait(), 5)
        await die(one, partition_of(binding_id))
        await asyncio.sleep(0.002)  # longer than its request may be under way
        await other.renew(binding_id)
        await renewing
        kept = await other.read(binding_id)
        if kept.number == 0:  # the nonce had been seen: asked again with the next
            await other.renew(binding_id)
            kept = await other.read(binding_id)
        assert (kept.number, kept.expires_at) == (1, first + DAY)
        assert other.at_provider(kept.subs_id).expires_at * 1000 == first + DAY
        sent = [(parameters["Expiration"], nonce) for _, parameters, nonce in one.provider.sent[-1:]]
        again = [(parameters["Expiration"], nonce) for _, parameters, nonce in other.provider.sent[:1]]
        assert sent == again, "the same renewal, to the letter"
        events = [event["type"] for event in await other.events(binding_id)]
        assert events.count("binding.renewed") == 1


async def test_while_a_request_may_be_under_way_no_other_session_sends_it(two: list[Bench]) -> None:
    one, other = two
    await one.checked()
    binding_id = await one.bound()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hang(_: str) -> None:
        reached.set()
        await go_on.wait()

    one.provider.before = hang
    renewing = asyncio.create_task(one.renew(binding_id))
    await asyncio.wait_for(reached.wait(), 5)
    await one.redis.delete(renewals_lease_key(partition_of(binding_id)))  # it slept for longer than its lease
    await other.renew(binding_id)
    assert other.provider.sent == []
    go_on.set()
    await renewing
    assert (await one.read(binding_id)).number == 1
    assert other.provider.sent == []


async def test_a_slow_process_that_wakes_up_late_changes_nothing(redis: Redis) -> None:
    async with benches(redis, count=2, hold_ms=1) as (one, other):
        await one.checked()
        binding_id = await one.bound()
        first = (await one.read(binding_id)).expires_at
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def hang(action: str) -> None:
            reached.set()
            await go_on.wait()

        one.provider.after = hang
        renewing = asyncio.create_task(one.renew(binding_id))
        await asyncio.wait_for(reached.wait(), 5)
        await redis.delete(renewals_lease_key(partition_of(binding_id)))
        for _ in range(3):
            if not (await other.read(binding_id)).number:
                await other.renew(binding_id)
        assert (await other.read(binding_id)).number == 1
        go_on.set()
        await renewing
        kept = await other.read(binding_id)
        assert (kept.number, kept.expires_at) == (1, first + DAY)
        assert [line.what for line in kept.history].count("renewed") == 1


async def test_what_is_no_binding_yet_or_no_more_is_sorted_out(bench: Bench) -> None:
    client: Any = bench.redis
    unbound_yet, nothing = new_job("open", renew='{"while":"open"}').job_id, new_job("none").job_id
    await bench.ledger.open(new_job("open", renew='{"while":"open"}'))
    for binding_id in (unbound_yet, nothing):
        await client.zadd(renewals_key(partition_of(binding_id)), {binding_id: 1})
    await bench.renew()
    at = await bench.due_at(unbound_yet)
    assert at is not None
    assert at > await now_ms(bench.redis) + 30_000
    assert await bench.due_at(nothing) is None


async def test_one_binding_s_trouble_is_its_own(redis: Redis) -> None:
    async with benches(redis, hold_ms=1) as (bench,):
        await trouble(bench)


async def trouble(bench: Bench) -> None:
    await bench.checked()
    good, bad = await bench.bound("1"), await bench.bound("2")
    client: Any = bench.redis
    await client.hset(job_keys(bad).job, "renew", '{"extend_by":"x"}')

    async def breaks(_: str) -> None:
        bench.provider.before = None
        raise ZeroDivisionError

    bench.provider.before = breaks
    await bench.renew(bad)
    assert await bench.due_at(bad) is None, "no policy that reads: nothing to renew"
    await bench.renew(good)
    at = await bench.due_at(good)
    assert at is not None
    assert at > await now_ms(bench.redis) + 30_000, "it broke off, and is tried again later"
    await bench.renew(good)
    assert (await bench.read(good)).number == 1


async def test_a_process_that_stops_ends_what_is_under_way_and_leaves_the_rest_to_others(two: list[Bench]) -> None:
    one, other = two
    await one.checked()
    ids = [await one.bound(str(number)) for number in range(6)]
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def before(_: str) -> None:
        reached.set()
        await go_on.wait()

    one.provider.before = before
    await one.make_due(*ids)
    one.sessions.begin([renewal_id(partition_of(ids[0]))])
    await asyncio.wait_for(reached.wait(), 5)
    stopping = asyncio.create_task(one.sessions.aclose(5))
    await asyncio.sleep(0)
    one.sessions.begin([renewal_id(partition) for partition in range(16)])
    go_on.set()
    await stopping
    done = sum([(await one.read(binding_id)).number for binding_id in ids])
    assert 1 <= done == len(one.provider.ends())
    await other.renew()
    assert [(await one.read(binding_id)).number for binding_id in ids] == [1] * 6
    client: Any = one.redis
    assert not await client.zcard(renewals_due_key(partition_of(ids[0])))
