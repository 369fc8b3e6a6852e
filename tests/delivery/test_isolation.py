"""One receiver's trouble is not another's, and costs neither slots nor looks."""

import asyncio
import dataclasses
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import callback_record_of, ledger_of, look_at, now_ms, put, until
from tests.provider.loopback import always, answer, serving
from worker.callbacks.results import TryResult
from worker.delivery.delivery import Delivery
from worker.domain.job import Lane
from worker.ledger.callbacks import CallbackLedger
from worker.ledger.keys import ALL_PARTITIONS, callback_key, job_keys, receiver_key, receiver_line_key, timetable_key
from worker.ledger.receivers import ReceiverLedger, ReceiverState, Told

from .support import (
    PLACES,
    FakeSender,
    circuit_of,
    delay_of,
    deliver,
    delivering,
    delivery_of,
    log_of,
    owing,
    owing_callback,
    settled,
)

DEAD = "https://dead.example/"
DAY_MS = 86_400_000


class SlowSender(FakeSender):
    """Answers when it is told to, and knows how many wait."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.may_answer = asyncio.Event()
        self.waiting, self.most_waiting = 0, 0

    async def send(self, *, url: str, webhook_id: str, body: str, secret: str = "") -> TryResult:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        if "healthy" not in url:
            await self.may_answer.wait()
        self.waiting -= 1
        return await super().send(url=url, webhook_id=webhook_id, body=body, secret=secret)


async def many(redis: Redis, count: int, url: str = DEAD, **more: Any) -> list[str]:
    return [(await owing(redis, url, key=f"{url}{n}", **more))[1] for n in range(count)]


async def waiting_in_line(redis: Redis, host: str = "dead.example") -> list[str]:
    return sorted(await CallbackLedger(redis).line(host, 1_000))


async def looks_of(redis: Redis) -> dict[str, float]:
    """All of the timetable that is due within an hour."""
    client: Any = redis
    soon = await now_ms(redis) + 3_600_000
    found: dict[str, float] = {}
    for partition in ALL_PARTITIONS:
        for member, score in await client.zrangebyscore(timetable_key(partition), 0, soon, withscores=True):
            found[f"{partition} {member}"] = score
    return found


async def let_open_again(redis: Redis, host: str = "dead.example") -> None:
    await put(redis, receiver_key(host), open_until=1)


def forget(delivery: Any) -> None:
    """As if the process had looked away for a while."""
    for gate in delivery._gates._gates.values():
        gate.shut_until_ms = 0


async def test_a_receiver_gets_so_many_tries_at_a_time_from_all_workers_together(redis: Redis) -> None:
    sender = SlowSender()
    one, other = (delivery_of(redis, sender, in_flight=40) for _ in range(2))
    ids = await many(redis, 30)
    await asyncio.gather(one.deliver(ids[:15]), other.deliver(ids[15:]))
    await until(lambda: asyncio.sleep(0, sender.waiting == PLACES.most_places))
    sender.may_answer.set()
    await settled(one)
    await settled(other)
    assert sender.most_waiting == PLACES.most_places
    for _ in range(10):
        for delivery in (one, other):
            forget(delivery)
            await deliver(delivery, "@dead.example")
    assert sorted(sender.sent) == sorted(ids)
    assert sender.most_waiting == PLACES.most_places


async def test_a_message_is_dealt_with_before_its_tries_end_and_others_are_not_held_up(redis: Redis) -> None:
    sender = SlowSender()
    delivery = delivery_of(redis, sender, in_flight=PLACES.most_places + 1)
    dead, healthy = await many(redis, 30), await many(redis, 3, "https://healthy.example/")
    async with asyncio.timeout(5):
        await delivery.deliver([*dead, *healthy])
        await until(lambda: asyncio.sleep(0, sorted(sender.sent) == sorted(healthy)))
    assert sender.waiting == PLACES.most_places
    assert len(await waiting_in_line(redis)) == 30 - PLACES.most_places
    sender.may_answer.set()
    await settled(delivery)


async def test_after_failures_in_a_row_the_others_wait_in_the_line_and_lose_no_try(redis: Redis) -> None:
    sender = FakeSender(error="connect.refused")
    delivery, newcomer = delivery_of(redis, sender), delivery_of(redis, sender)
    ids = await many(redis, 40)
    for webhook_id in ids[:5]:
        await deliver(delivery, webhook_id)
    assert (await circuit_of(redis, "dead.example"))["tripped"] == "1"
    await deliver(delivery, *ids[5:])
    await deliver(newcomer, *ids[5:])
    assert sender.sent == ids[:5]
    assert await waiting_in_line(redis) == sorted(ids[5:])
    for webhook_id in ids[5:]:
        assert (await callback_record_of(redis, webhook_id)).get("tries", "0") == "0"
    # One look for each partition that has any, when the circuit lets one through; and five retries.
    lines = {place for place in await looks_of(redis) if place.endswith(" callback:@dead.example")}
    assert len(lines) <= len(ALL_PARTITIONS)
    assert len(await looks_of(redis)) == len(lines) + 5


async def test_one_probe_at_a_time_finds_out_whether_it_is_back(redis: Redis) -> None:
    sender = SlowSender()
    delivery, other = delivery_of(redis, sender, in_flight=9), delivery_of(redis, sender, in_flight=9)
    ids = await many(redis, 20)
    await put(redis, receiver_key("dead.example"), tripped=1, openings=3, open_until=1)
    await delivery.deliver(["@dead.example"])
    await until(lambda: asyncio.sleep(0, sender.waiting == 1))
    await deliver(other, "@dead.example", *ids)
    assert (sender.waiting, sender.sent) == (1, [])
    sender.error = "http.503"
    sender.may_answer.set()
    await settled(delivery)
    circuit = await circuit_of(redis, "dead.example")
    assert (circuit["openings"], len(sender.sent)) == ("4", 1)
    # Twice as long each time: 10 s, 20 s, 40 s, 80 s.
    assert 79_000 < int(circuit["open_until"]) - await now_ms(redis) <= 80_000


async def try_until(delivery: Delivery, sender: SlowSender, ids: list[str], places: int) -> None:
    """So many tries are under way, and no more begin. A visit that was still under way may shut the door once more."""
    end = time.monotonic() + 5
    while sender.waiting < places:
        assert time.monotonic() < end
        forget(delivery)
        await delivery.deliver(ids)
        await asyncio.sleep(0.001)
    forget(delivery)
    await delivery.deliver(ids)
    await asyncio.sleep(0.02)
    assert sender.waiting == places


async def test_back_again_it_gets_its_line_at_a_slowly_rising_pace(redis: Redis) -> None:
    sender = FakeSender()
    rules = dataclasses.replace(PLACES, ramp_ms=40_000)
    delivery = delivery_of(redis, sender, in_flight=9, places=rules)
    ids = await many(redis, 20)
    await put(redis, receiver_key("dead.example"), tripped=1, openings=3, open_until=1)
    slow = delivery_of(redis, slow_sender := SlowSender(), in_flight=20, places=rules)
    await deliver(delivery, "@dead.example")
    assert sorted(sender.sent) == sorted(ids)
    assert await waiting_in_line(redis) == []
    assert not [place for place in await looks_of(redis) if "@" in place]
    await delivery.drain(1)
    more = [(await owing(redis, DEAD, key=f"more{n}"))[1] for n in range(20)]
    recovered_at = int((await circuit_of(redis, "dead.example"))["recovered_at"])
    for age_ms, places in ((0, 1), (11_000, 3), (25_000, 6), (41_000, 8)):
        await put(redis, receiver_key("dead.example"), recovered_at=recovered_at - age_ms)
        await try_until(slow, slow_sender, more, places)
    assert await circuit_of(redis, "dead.example") == {}
    slow_sender.may_answer.set()
    await settled(slow)


async def test_two_failures_in_a_row_while_it_recovers_open_the_circuit_again(redis: Redis) -> None:
    delivery = delivery_of(redis, FakeSender(error="timeout"))
    await put(redis, receiver_key("dead.example"), recovered_at=await now_ms(redis), openings=1)
    first, second = await many(redis, 2)
    await deliver(delivery, first)
    assert "tripped" not in await circuit_of(redis, "dead.example")
    await deliver(delivery, second)
    assert (await circuit_of(redis, "dead.example"))["openings"] == "2"


async def test_one_that_fails_now_and_then_recovers_all_the_same_until_it_is_down_again(redis: Redis) -> None:
    delivery = delivery_of(redis, sender := FakeSender())
    await put(redis, receiver_key("dead.example"), recovered_at=await now_ms(redis), openings=1)
    for number, webhook_id in enumerate(await many(redis, 14)):
        sender.error = "http.500" if number in (6, 7) or number > 8 else ""
        assert "tripped" not in await circuit_of(redis, "dead.example"), number
        await deliver(delivery, webhook_id)
    assert (await circuit_of(redis, "dead.example"))["openings"] == "2"


async def test_refusals_of_single_callbacks_open_no_circuit(redis: Redis) -> None:
    async with serving(always(answer(status=404))) as receiver, delivering(redis) as delivery:
        for webhook_id in await many(redis, 8, receiver.url):
            await deliver(delivery, webhook_id)
    assert len(receiver.requests) == 8
    assert await circuit_of(redis, "127.0.0.1") == {}


async def test_half_of_many_tries_failing_opens_it_too(redis: Redis) -> None:
    sender = FakeSender()
    delivery = delivery_of(redis, sender)
    for n, webhook_id in enumerate(await many(redis, 20)):
        sender.error = "http.500" if n % 2 else ""
        await deliver(delivery, webhook_id)
    assert len(sender.sent) == 12  # it was not counted before it failed
    assert (await circuit_of(redis, "dead.example"))["tripped"] == "1"


async def test_a_first_try_is_not_begun_where_this_process_knows_better(redis: Redis) -> None:
    sender = FakeSender(error="timeout")
    delivery = delivery_of(redis, sender, in_flight=20)
    assert delivery.reserve("dead.example", is_checkout=True)
    delivery.release("dead.example")
    for webhook_id in await many(redis, 5):
        await deliver(delivery, webhook_id)
    assert delivery.reserve("dead.example", is_checkout=True) == ""
    assert delivery.reserve("healthy.example", is_checkout=True)
    assert [bool(delivery.reserve("new.example", is_checkout=True)) for _ in range(9)] == [True] * 8 + [False]


async def test_a_first_try_that_meets_an_open_circuit_waits_in_the_line_and_loses_no_try(redis: Redis) -> None:
    delivery = delivery_of(redis, sender := FakeSender())
    await put(redis, receiver_key("dead.example"), tripped=1, open_until=await now_ms(redis) + 60_000)
    token = delivery.reserve("dead.example", is_checkout=True)
    assert token
    job_id, owed = await owing_callback(redis, DEAD, token)
    delivery.start(owed.first_claim(job_id))
    await settled(delivery)
    assert sender.sent == []
    assert await waiting_in_line(redis) == [owed.webhook_id]
    record = await callback_record_of(redis, owed.webhook_id)
    assert (record["tries"], record.get("token")) == ("0", None)
    assert 50_000 < await delay_of(redis, job_id, "@dead.example") <= 61_000
    assert all(delivery.reserve("healthy.example", is_checkout=True) for _ in range(2))


async def test_a_process_that_dies_gives_its_places_back(redis: Redis) -> None:
    sender = SlowSender()
    dying, other = (delivery_of(redis, sender, in_flight=9) for _ in range(2))
    ids = await many(redis, 16)
    await dying.deliver(ids[:8])
    await other.deliver(ids[8:])
    assert sender.waiting == 8
    for task in dying._running:
        task.cancel()  # as by SIGKILL: nothing is given back
    await asyncio.sleep(0)
    client: Any = redis
    places = f"{receiver_key('dead.example')}:places"
    for process, value in (await client.hgetall(places)).items():
        if value.startswith("8:"):
            await client.hset(places, process, value.replace(value.split(":")[1], "1"))
    forget(other)
    sender.may_answer.set()
    await deliver(other, "@dead.example")
    assert sorted(sender.sent) == sorted(ids[8:])


async def test_410_gives_this_one_up_and_disables_the_receiver_for_all(redis: Redis) -> None:
    async with serving(always(answer(status=410))) as receiver, delivering(redis) as delivery:
        job_id, gone = await owing(redis, receiver.url, key="gone")
        others = [(await owing(redis, receiver.url, key=f"other{n}"))[1] for n in range(3)]
        await deliver(delivery, gone)
        assert (await circuit_of(redis, "127.0.0.1"))["disabled_by"] == "410"
        assert int((await circuit_of(redis, "127.0.0.1"))["disabled_at"]) <= await now_ms(redis)
        await deliver(delivery, others[0], "@127.0.0.1")
        token = delivery.reserve("127.0.0.1", is_checkout=True)
        assert token == ""
    assert len(receiver.requests) == 1
    assert (await ledger_of(redis).read(job_id)).callback_state == "dead"
    assert (await callback_record_of(redis, gone))["last_error"] == "http.410"
    for webhook_id in others:
        record = await callback_record_of(redis, webhook_id)
        assert (record["state"], record["last_error"], record["tries"]) == ("dead", "receiver.disabled", "0")
    assert await looks_of(redis) == {}


async def test_enabled_again_what_was_given_up_can_be_brought_back(redis: Redis) -> None:
    delivery = delivery_of(redis, sender := FakeSender())
    await put(redis, receiver_key("dead.example"), disabled_at=1, disabled_by="eve")
    job_id, webhook_id = await owing(redis, DEAD)
    await deliver(delivery, webhook_id)
    client: Any = redis
    await client.hdel(receiver_key("dead.example"), "disabled_at", "disabled_by")
    forget(delivery)
    # What `axn callbacks replay` does.
    await put(redis, callback_key(webhook_id), state="waiting", tries=0)
    await client.zadd(job_keys(job_id).timetable, {f"callback:{webhook_id}": 1})
    await deliver(delivery, webhook_id)
    assert sender.sent == [webhook_id]


async def test_a_first_try_to_a_receiver_disabled_meanwhile_is_given_up(redis: Redis) -> None:
    delivery = delivery_of(redis, sender := FakeSender())
    token = delivery.reserve("dead.example", is_checkout=True)
    await put(redis, receiver_key("dead.example"), disabled_at=1, disabled_by="eve")
    job_id, owed = await owing_callback(redis, DEAD, token)
    delivery.start(owed.first_claim(job_id))
    await settled(delivery)
    assert sender.sent == []
    assert (await callback_record_of(redis, owed.webhook_id))["last_error"] == "receiver.disabled"


@pytest.mark.parametrize("is_blocked", [False, True])
@pytest.mark.parametrize(("how", "error"), [({"deadline_at": 1}, "deadline"), ({}, "too_old")])
async def test_what_is_too_late_is_given_up_without_a_try(
    redis: Redis, is_blocked: bool, how: dict[str, Any], error: str
) -> None:
    delivery = delivery_of(redis, sender := FakeSender())
    if is_blocked:
        await put(redis, receiver_key("dead.example"), tripped=1, open_until=await now_ms(redis) + 60_000)
    job_id, webhook_id = await owing(redis, DEAD, **how)
    if not how:
        await put(redis, callback_key(webhook_id), give_up_at=1)
    await deliver(delivery, webhook_id)
    record = await callback_record_of(redis, webhook_id)
    assert (sender.sent, record["state"], record["last_error"], record["tries"]) == ([], "dead", error, "0")
    assert await waiting_in_line(redis) == []
    assert (await ledger_of(redis).read(job_id)).callback_state == "dead"


async def test_who_waits_in_a_line_stands_in_the_timetable_for_the_time_to_give_it_up(redis: Redis) -> None:
    now = await now_ms(redis)
    wishes: list[tuple[str, dict[str, Any], int]] = [
        ("a", {}, now + 4 * DAY_MS),
        ("b", {"deadline_at": now + 60_000}, now + 60_000),
    ]
    for key, how, give_up in wishes:
        job_id, webhook_id = await owing(redis, DEAD, key=key, **how)
        look = await look_at(redis, job_id, Lane.CALLBACK, webhook_id)
        assert look is not None
        assert give_up <= look <= give_up + 1_000
    client: Any = redis
    lines = [await client.zcard(receiver_line_key(partition, "dead.example")) for partition in ALL_PARTITIONS]
    assert sum(lines) == 2


@pytest.mark.parametrize("status", [429, 503, 404])
async def test_retry_after_is_waited_for_but_not_beyond_the_deadline(redis: Redis, status: int) -> None:
    busy = always(answer(status=status, headers="Retry-After: 90.5\r\n"))
    async with serving(busy) as receiver, delivering(redis) as delivery:
        job_id, patient = await owing(redis, receiver.url, key="patient")
        deadline_at = await now_ms(redis) + 20_000
        hasty_job_id, hasty = await owing(redis, receiver.url, key="hasty", deadline_at=deadline_at)
        await deliver(delivery, patient, hasty)
    assert 89_000 < await delay_of(redis, job_id, patient) <= 90_500
    assert await look_at(redis, hasty_job_id, Lane.CALLBACK, hasty) == deadline_at


async def test_each_failed_try_is_logged_and_the_newest_twenty_are_kept(redis: Redis) -> None:
    teapot = always(answer(b"call 15012345678 instead", status=500))
    async with serving(teapot) as receiver, delivering(redis, schedule_ms=[0] * 30) as delivery:
        _, webhook_id = await owing(redis, receiver.url)
        before = await now_ms(redis)
        for _ in range(23):
            await put(redis, receiver_key("127.0.0.1"), streak=0)
            await put(redis, callback_key(webhook_id), next_at=1)
            await deliver(delivery, webhook_id)
            client: Any = redis
            await client.delete(receiver_key("127.0.0.1"))
            forget(delivery)
            for gate in delivery._gates._gates.values():
                gate.state = gate.state.PASSING
    log = await log_of(redis, webhook_id)
    record = await callback_record_of(redis, webhook_id)
    assert (record["tries"], len(log)) == ("23", 20)
    newest = log[-1]
    assert newest.keys() == {"at_ms", "status", "ms", "error", "answer"}
    assert (newest["status"], newest["error"], newest["answer"]) == (500, "http.500", "call 150****5678 instead")
    assert 0 <= newest["ms"] < 5_000
    assert before <= log[0]["at_ms"] <= newest["at_ms"] <= await now_ms(redis)


async def test_redis_going_away_in_the_midst_leaves_no_slot_taken(redis: Redis) -> None:
    delivery = delivery_of(redis, sender := FakeSender(), in_flight=1)
    ids = await many(redis, 2)
    ledger: Any = delivery._ledger
    claim = ledger.claim

    async def broken(*_: Any, **__: Any) -> None:
        raise ConnectionError

    ledger.claim = broken
    await deliver(delivery, ids[0])
    ledger.claim = claim
    await deliver(delivery, *ids)
    assert sorted(sender.sent) == sorted(ids)


async def test_a_process_works_a_line_off_as_its_own_tries_end(redis: Redis) -> None:
    delivery = delivery_of(redis, sender := SlowSender(), in_flight=40)
    ids = await many(redis, 30)
    await delivery.deliver(ids)
    sender.may_answer.set()
    await settled(delivery)
    assert sorted(sender.sent) == sorted(ids)
    assert sender.most_waiting == PLACES.most_places


@pytest.mark.parametrize(("error", "next_goes_out"), [("", True), ("http.500", False)])
async def test_a_place_is_free_when_the_answer_is_there_unless_it_tells_of_trouble(
    redis: Redis, error: str, next_goes_out: bool
) -> None:
    delivery = delivery_of(redis, sender := FakeSender(error), places=dataclasses.replace(PLACES, most_places=1))
    first, second = await many(redis, 2)
    tries: Any = delivery._tries
    settle, may_write = tries.settle, asyncio.Event()

    async def slow_settle(*arguments: Any) -> bool:
        await may_write.wait()
        done: bool = await settle(*arguments)
        return done

    tries.settle = slow_settle
    await delivery.deliver([first])
    await until(lambda: asyncio.sleep(0, sender.sent == [first]))
    await delivery.deliver([second])
    await asyncio.sleep(0.02)
    assert (sender.sent == [first, second]) is next_goes_out
    may_write.set()
    await settled(delivery)


async def test_who_still_has_tries_under_way_gets_no_probe(redis: Redis) -> None:
    one, other = (ReceiverLedger(redis, PLACES, process=name) for name in ("one", "other"))
    await put(redis, receiver_key("dead.example"), tripped=1, open_until=1)
    busy = await one.visit("dead.example", Told(), wanted=4, in_use=3, share=0.5)
    assert (busy.state, busy.places) == (ReceiverState.BLOCKED, 3)
    idle = await other.visit("dead.example", Told(), wanted=4, in_use=0, share=0.5)
    assert (idle.state, idle.places) == (ReceiverState.PROBE, 1)


async def test_a_visit_that_is_resent_counts_its_tries_once(redis: Redis) -> None:
    ledger = ReceiverLedger(redis, PLACES, process="one")
    for _ in range(3):
        ledger._visits = 0
        await ledger.visit("dead.example", Told(failed=3, streak=3), wanted=4, in_use=3, share=0.5)
    circuit = await circuit_of(redis, "dead.example")
    assert (circuit["streak"], circuit.get("tripped")) == ("3", None)


# --- Checkouts beside a batch that tells the same receiver ---


async def test_a_batch_leaves_places_and_hands_to_checkouts(redis: Redis) -> None:
    sender = SlowSender()
    batch, checkout = (delivery_of(redis, sender, in_flight=9) for _ in range(2))
    await batch.deliver(await many(redis, 20, is_checkout=False))
    assert sender.waiting == PLACES.most_places - 2
    for process in (batch, checkout):
        _, owed = await owing_callback(
            redis, DEAD, token := process.reserve("dead.example", is_checkout=True), key=token
        )
        process.start(owed.first_claim("job"))
    await until(lambda: asyncio.sleep(0, sender.waiting == PLACES.most_places))
    assert batch.reserve("dead.example", is_checkout=False) == ""
    elsewhere = [batch.reserve("other.example", is_checkout=False) for _ in range(8)]
    assert len(list(filter(None, elsewhere))) == 6  # of nine hands one is in use and two are kept
    sender.may_answer.set()
    for process in (batch, checkout):
        await settled(process)
    assert sender.most_waiting == PLACES.most_places


async def test_a_checkout_that_must_wait_goes_before_a_batch_that_has_waited_longer(redis: Redis) -> None:
    sender = SlowSender()
    delivery = delivery_of(redis, sender, in_flight=40)
    batch = await many(redis, 60, is_checkout=False)
    await delivery.deliver(batch)
    parked = (await many(redis, 1, f"{DEAD}?parked"))[0]
    await CallbackLedger(redis).let_wait([parked], "dead.example", look_ms=0)
    settled_into_line = (await many(redis, 1, f"{DEAD}?settled"))[0]
    at_once = sender.waiting
    sender.may_answer.set()
    await settled(delivery)
    assert sorted(sender.sent) == sorted([*batch, parked, settled_into_line])
    assert {parked, settled_into_line} <= set(sender.sent[: at_once + 2])
