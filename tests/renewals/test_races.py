"""A renewal against a person's change of the same binding: one at a time, and the person has the last word."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import lapse, now_ms, record_of, until
from worker.domain.expiration import parse_expiration, unix_ms
from worker.ledger.renewal_keys import renewal_holder
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect
from worker.renewals.telling import wire_of

from .bench import DAY, HOUR, Bench, benches, process_at


@pytest.fixture
async def pair(redis: Redis) -> AsyncIterator[list[Bench]]:
    """One process renews, the other changes."""
    async with benches(redis, count=2, hold_ms=5_000) as both:
        await both[0].checked()
        yield both


class Held:
    """A call to the provider that waits until it may go on."""

    def __init__(self, bench: Bench, *, is_answered: bool = False) -> None:
        self.bench = bench
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        setattr(bench.provider, "after" if is_answered else "before", self._hold)

    async def _hold(self, _: str) -> None:
        self.reached.set()
        await self.go_on.wait()


async def busy(bench: Bench, job_id: str) -> None:
    """The change waits its turn, and has sent nothing."""
    assert await bench.work_on(job_id) == "waiting"
    assert (await record_of(bench.redis, job_id))["code"] == "binding.busy"
    assert bench.provider.sent == []
    await lapse(bench.redis, job_id)


@pytest.mark.parametrize("is_answered", [False, True])
async def test_an_unbind_waits_for_a_renewal_under_way_and_then_ends_it_for_good(
    pair: list[Bench], is_answered: bool
) -> None:
    renewing, changing = pair
    binding_id = await renewing.bound()
    held = Held(renewing, is_answered=is_answered)
    renewal = asyncio.create_task(renewing.renew(binding_id))
    await asyncio.wait_for(held.reached.wait(), 5)
    unbind = await changing.change(binding_id, "u")
    await busy(changing, unbind.job_id)
    held.go_on.set()
    await renewal
    assert (await renewing.read(binding_id)).number == 1
    assert await changing.work_on(unbind.job_id) == "unbound"
    assert await renewing.due_at(binding_id) is None
    await renewing.renew(binding_id)
    assert len(renewing.provider.ends()) == 1
    assert renewing.live() == []


async def test_an_update_of_the_end_waits_for_a_renewal_and_the_next_one_goes_on_from_there(pair: list[Bench]) -> None:
    renewing, changing = pair
    binding_id = await renewing.bound()
    held = Held(renewing)
    renewal = asyncio.create_task(renewing.renew(binding_id))
    await asyncio.wait_for(held.reached.wait(), 5)
    mine = (await now_ms(renewing.redis) + 5 * HOUR) // 1000 * 1000
    update = await changing.change(binding_id, "p", OperateType="updateExpire", Expiration=wire_of(mine))
    await busy(changing, update.job_id)
    held.go_on.set()
    await renewal
    assert await changing.work_on(update.job_id) == "updated"
    kept = await renewing.read(binding_id)
    assert (kept.expires_at, kept.number) == (mine, 1)
    assert renewing.at_provider(kept.subs_id).expires_at * 1000 == mine
    due = await renewing.due_at(binding_id)
    assert due is not None
    assert kept.read_at < due < mine, "the renewal has its time anew"
    await renewing.renew(binding_id)
    assert (await renewing.read(binding_id)).expires_at == mine + DAY


async def test_a_renewal_gives_way_to_a_change_under_way_and_comes_back(pair: list[Bench]) -> None:
    renewing, changing = pair
    binding_id = await renewing.bound()
    before = await renewing.read(binding_id)
    held = Held(changing)
    update = await changing.change(binding_id, "p", OperateType="updateNoB", PhoneNoB="15012340000")
    updating = asyncio.create_task(changing.work_on(update.job_id))
    await asyncio.wait_for(held.reached.wait(), 5)
    place = await renewing.renewer.renew(before)
    assert place is not None
    assert (place.is_due, place.at_ms > before.read_at) == (False, True)
    assert renewing.provider.ends() == []
    held.go_on.set()
    assert await updating == "updated"
    await renewing.renew(binding_id)
    after = await renewing.read(binding_id)
    assert (after.number, after.parameters["PhoneNoB"]) == (1, "15012340000")


async def test_a_renewal_that_was_read_before_a_change_is_not_sent_after_it(pair: list[Bench]) -> None:
    renewing, changing = pair
    binding_id = await renewing.bound()
    stale = await renewing.read(binding_id)
    mine = (await now_ms(renewing.redis) + 5 * HOUR) // 1000 * 1000
    update = await changing.change(binding_id, "p", OperateType="updateExpire", Expiration=wire_of(mine))
    assert await changing.work_on(update.job_id) == "updated"
    assert await renewing.renewer.renew(stale) is not None
    unbind = await changing.change(binding_id, "u")
    stale = await renewing.read(binding_id)
    assert await changing.work_on(unbind.job_id) == "unbound"
    assert await renewing.renewer.renew(stale) is not None
    assert renewing.provider.ends() == []
    assert (await renewing.read(binding_id)).status == "unbound"


async def test_an_unclear_renewal_may_be_under_way_and_a_change_that_waits_goes_before_its_next_try(
    redis: Redis,
) -> None:
    async with benches(redis, count=2, hold_ms=400) as (renewing, changing):
        await renewing.checked()
        binding_id = await renewing.bound()
        renewing.fault(kind="close_before", action="UpdateSubscription", count=1)
        begun_ms = await now_ms(redis)
        assert await renewing.renewer.renew(await renewing.read(binding_id)) is None
        mine = (begun_ms + 5 * HOUR) // 1000 * 1000
        update = await changing.change(binding_id, "p", OperateType="updateExpire", Expiration=wire_of(mine))
        await busy(changing, update.job_id)
        holder = renewal_holder(binding_id)
        await until(lambda: renewing.ledger.has_ended(holder))
        assert await now_ms(redis) >= begun_ms + 400
        again = await renewing.read(binding_id)
        assert await renewing.renewer.renew(again) is not None, "it gives way"
        assert len(renewing.provider.ends()) == 1
        assert await changing.work_on(update.job_id) == "updated"
        assert (await renewing.read(binding_id)).expires_at == mine


async def test_a_dead_process_s_renewal_holds_nobody_up_longer_than_its_request_may_take(redis: Redis) -> None:
    async with benches(redis, count=2, hold_ms=300) as (renewing, changing):
        await renewing.checked()
        binding_id = await renewing.bound()
        kept = await renewing.read(binding_id)
        holder = renewal_holder(binding_id)
        assert await renewing.queue.enlist(kept.subs_id, holder, 1) == ""
        assert await renewing.renewals.begin(kept, token="dead", hold_ms=300, target=kept.expires_at + DAY) == 1
        unbind = await changing.change(binding_id, "u")
        await busy(changing, unbind.job_id)
        async with asyncio.timeout(5):
            while await changing.work_on(unbind.job_id) != "unbound":
                await lapse(redis, unbind.job_id)
                await asyncio.sleep(0.02)
        assert await now_ms(redis) >= kept.read_at + 300


def renew_until(is_over: threading.Event, redis_url: str, endpoint: str, ids: list[str], sent: list[str]) -> None:
    """Another process: a loop, connections and a pace of its own."""

    async def renew() -> None:
        redis = connect(redis_url, timeout_ms=2_000)
        async with process_at(redis, endpoint, hold_ms=5_000) as bench:
            while not is_over.is_set():
                await bench.renew(*ids)
            sent.extend(bench.provider.ends())
        await redis.aclose()

    asyncio.run(renew())


async def test_whatever_is_mixed_the_person_s_word_is_the_last_and_both_sides_agree(
    redis: Redis, redis_server: EmbeddedRedis
) -> None:
    """Two loops renew without a pause, while a person changes ends and unbinds."""
    async with benches(redis, hold_ms=5_000) as (person,):
        await person.checked()
        ids = [await person.bound(f"m{number}", lasts_ms=3 * HOUR) for number in range(6)]
        is_over, sent = threading.Event(), list[str]()

        async def say(number: int, binding_id: str) -> int:
            """A second of its own for each word, so that it can be told from renewals; returns the last."""
            word = 0
            for turn in range(4):
                word = (await now_ms(redis) + (4 + turn) * HOUR) // 1000 * 1000 + (number * 10 + turn + 1) * 1000
                change = {"OperateType": "updateExpire", "Expiration": wire_of(word)}
                job = await person.change(binding_id, f"w{number}.{turn}", **change)
                await ended(person, job.job_id, "updated")
            if number % 2:
                await ended(person, (await person.change(binding_id, f"u{number}")).job_id, "unbound")
            return word

        loops = [
            asyncio.create_task(
                asyncio.to_thread(renew_until, is_over, redis_server.url(0), person.endpoint, ids, sent)
            )
            for _ in range(2)
        ]
        try:
            words = await asyncio.gather(*(say(number, binding_id) for number, binding_id in enumerate(ids)))
        finally:
            is_over.set()
            await asyncio.gather(*loops)
        for number, (binding_id, word) in enumerate(zip(ids, words, strict=True)):
            kept = await person.read(binding_id)
            binding: Any = person.at_provider(kept.subs_id)
            if number % 2:
                assert (kept.status, binding.ended) == ("unbound", "unbound")
            else:
                assert kept.expires_at == unix_ms(parse_expiration(kept.expiration)) == binding.expires_at * 1000
                assert (kept.expires_at - word) % DAY == 0, "the last word, or renewals that came after it"
        assert sent, "there was something to mix"


async def ended(bench: Bench, job_id: str, state: str) -> None:
    async with asyncio.timeout(10):
        while (found := await bench.work_on(job_id)) != state:
            assert found in ("waiting", "early", "leased"), found
            await lapse(bench.redis, job_id)
            await asyncio.sleep(0.005)
