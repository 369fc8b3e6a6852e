"""Callbacks with one order key go out one at a time, in the order of their ends, whoever dies in the midst."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from tests.ledger.support import BOUND, callback_record_of, claimed, lapse, ledger_of, opened, owed, put
from tests.redis_machine import RedisMachine
from worker.callbacks.results import TryResult
from worker.ledger.callback_order import CallbackOrder
from worker.ledger.keys import callback_key, order_keys, order_member, order_name, receiver_key, webhook_id_of
from worker.ledger.records import Claim, Settlement
from worker.local.redis_server import EmbeddedRedis

from .support import MADE, FakeSender, deliver, delivery_of, owing, owing_callback, settled

URL, HOST = "https://shop.example/", "shop.example"
NAME = order_name(HOST, "order-1")
WATCH, LINE = f"!{NAME}", f"@{HOST}"


async def three(redis: Redis, url: str = URL, order_key: str = "order-1") -> list[str]:
    keys = [f"{url}{order_key}{n}" for n in range(3)]
    return [(await owing(redis, url, key=key, order_key=order_key))[1] for key in keys]


async def standing(redis: Redis, name: str = NAME) -> list[str]:
    client: Any = redis
    found: list[str] = await client.zrange(order_keys(name)[0], 0, -1)
    return found


async def watched_at(redis: Redis) -> float | None:
    client: Any = redis
    score: float | None = await client.zscore(order_keys(NAME)[1], order_member(NAME))
    return score


async def test_they_go_out_in_the_order_of_their_ends_whatever_is_looked_at_first(redis: Redis) -> None:
    delivery = delivery_of(redis, sender := FakeSender())
    ids = await three(redis)
    assert await standing(redis) == ids
    await deliver(delivery, *reversed(ids))
    assert sender.sent == ids
    assert (await standing(redis), await watched_at(redis)) == ([], None)


async def test_one_that_fails_holds_up_its_own_key_alone(redis: Redis) -> None:
    sender = FakeSender(error="http.500")
    delivery = delivery_of(redis, sender)
    first, second, third = await three(redis)
    others = await three(redis, order_key="order-2")
    elsewhere = await three(redis, "https://else.example/")
    await deliver(delivery, first, second, third)
    sender.error = ""
    await deliver(delivery, LINE, third, second, first, *others, *elsewhere)
    assert sender.sent[0] == first
    assert [id_ for id_ in sender.sent if id_ in others] == others
    assert [id_ for id_ in sender.sent if id_ in elsewhere] == elsewhere
    assert not {second, third} & set(sender.sent)
    await put(redis, callback_key(first), next_at=1)
    await deliver(delivery, first)
    assert [id_ for id_ in sender.sent if id_ in (first, second, third)] == [first, first, second, third]


async def test_one_that_is_given_up_lets_the_next_one_go(redis: Redis) -> None:
    sender = FakeSender(error="http.500")
    delivery = delivery_of(redis, sender, schedule_ms=())
    ids = await three(redis)
    await deliver(delivery, ids[0])
    assert sender.sent == ids
    assert [(await callback_record_of(redis, id_))["state"] for id_ in ids] == ["dead"] * 3


async def test_a_first_try_whose_turn_has_not_come_waits_and_is_no_try(redis: Redis) -> None:
    delivery = delivery_of(redis, sender := FakeSender())
    first = (await three(redis))[:1]
    token = delivery.reserve(HOST, is_checkout=True)
    job_id, callback = await owing_callback(redis, URL, token, key="late", order_key="order-1")
    delivery.start(callback.first_claim(job_id))
    await settled(delivery)
    assert sender.sent == []
    assert (await callback_record_of(redis, callback.webhook_id))["tries"] == "0"
    await deliver(delivery, *first)
    assert (sender.sent[0], sender.sent[-1], len(sender.sent)) == (first[0], callback.webhook_id, 4)


async def test_a_place_whose_end_was_never_written_holds_up_until_its_job_is_taken_over(redis: Redis) -> None:
    delivery, ledger = delivery_of(redis, sender := FakeSender()), ledger_of(redis)
    job = await opened(ledger, "dying")
    claim = await claimed(ledger, job.job_id)
    await CallbackOrder(redis, look_ms=1).enter(NAME, webhook_id_of(job.job_id, claim.fence))  # and its worker dies
    ids = await three(redis)
    await deliver(delivery, *ids, WATCH)
    assert sender.sent == []  # it may be writing it now
    await lapse(redis, job.job_id)
    await claimed(ledger, job.job_id, "t2")
    await deliver(delivery, WATCH)
    assert sender.sent == ids


async def test_an_end_that_is_refused_gives_its_place_back(redis: Redis) -> None:
    ledger = ledger_of(redis)
    job = await opened(ledger, "stale")
    stale = await claimed(ledger, job.job_id)
    await lapse(redis, job.job_id)
    await claimed(ledger, job.job_id, "t2")
    callback = owed(webhook_id_of(job.job_id, stale.fence), order_key="order-1")
    assert not await ledger.settle(stale, Settlement(BOUND.state, BOUND.knowledge, {}, callback=callback))
    assert (await standing(redis), await watched_at(redis)) == ([], None)


async def test_one_that_a_person_brings_back_waits_for_nobody(redis: Redis) -> None:
    delivery = delivery_of(redis, sender := FakeSender(error="http.500"), schedule_ms=())
    (dead, *_) = await three(redis)
    await deliver(delivery, dead)
    sender.error, sender.sent = "timeout", []
    delivery = delivery_of(redis, sender)
    await deliver(delivery, *(await three(redis, order_key="order-1x"))[:1])
    await put(redis, callback_key(dead), state="waiting", tries=0)
    await deliver(delivery, dead)
    assert sender.sent[-1] == dead


async def test_one_that_is_too_late_before_its_turn_comes_is_given_up_and_holds_up_nobody(redis: Redis) -> None:
    sender = FakeSender(error="http.500")
    delivery = delivery_of(redis, sender)
    first, second, third = await three(redis)
    await put(redis, callback_key(second), give_up_at=1)
    await deliver(delivery, first, LINE)
    assert (await callback_record_of(redis, second))["last_error"] == "too_old"
    sender.error = ""
    await put(redis, callback_key(first), next_at=1)
    await deliver(delivery, first)
    assert sender.sent == [first, first, third]


class DyingSender(FakeSender):
    """Posts, and may die right afterwards."""

    is_dying = False

    async def send(self, *, url: str, webhook_id: str, body: str, secret: str = "") -> TryResult:
        result = await super().send(url=url, webhook_id=webhook_id, body=body, secret=secret)
        if self.is_dying:
            raise RuntimeError("killed")
        return result


class OrderMachine(RedisMachine):
    """Workers end jobs and deliver callbacks of one key, and die at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = ledger_of(self.redis)
        self.order = CallbackOrder(self.redis, look_ms=1)
        self.jobs = 0
        self.ended: list[str] = []
        self.half: list[Claim] = []
        self.delivery: Any = None

    @initialize()
    def start(self) -> None:
        self.run(self.redis.flushall())
        self.sender = DyingSender()
        self.new_worker()

    def teardown(self) -> None:
        try:
            if self.delivery is not None:
                self.drain()
        finally:
            if self.delivery is not None:
                self.run(self.delivery.drain(0))
            super().teardown()

    def new_worker(self) -> None:
        async def made() -> Any:
            return delivery_of(self.redis, self.sender, in_flight=20)

        if self.delivery is not None:
            self.run(self.delivery.drain(0))
        self.delivery = self.run(made())
        MADE.clear()

    def begun(self) -> Claim:
        self.jobs += 1
        job = self.run(opened(self.ledger, str(self.jobs)))
        claim: Claim = self.run(claimed(self.ledger, job.job_id))
        return claim

    def end(self, claim: Claim) -> None:
        callback = owed(webhook_id_of(claim.job_id, claim.fence), order_key="order-1")
        settlement = Settlement(BOUND.state, BOUND.knowledge, {}, callback=callback)
        if self.run(self.ledger.settle(claim, settlement)):
            self.ended.append(callback.webhook_id)

    @rule()
    def a_job_ends(self) -> None:
        self.end(self.begun())

    @rule()
    def a_worker_dies_between_the_place_and_the_end(self) -> None:
        claim = self.begun()
        self.run(self.order.enter(NAME, webhook_id_of(claim.job_id, claim.fence)))
        self.half.append(claim)

    @rule(which=st.randoms(use_true_random=False))
    def its_job_is_taken_over(self, which: Any) -> None:
        if self.half:
            old = self.half.pop(which.randrange(len(self.half)))
            self.run(lapse(self.redis, old.job_id))
            self.end(self.run(claimed(self.ledger, old.job_id, "t2")))

    @rule(error=st.sampled_from(["", "", "http.404"]), which=st.randoms(use_true_random=False))
    def somebody_looks(self, error: str, which: Any) -> None:
        self.sender.error = error
        ids = which.sample(self.ended, min(3, len(self.ended)))
        self.look([*ids, which.choice([WATCH, LINE])])

    @rule(step=st.sampled_from(["sent", "settled", "left"]), which=st.randoms(use_true_random=False))
    def a_worker_dies_delivering(self, step: str, which: Any) -> None:
        self.sender.error = ""
        self.sender.is_dying = step == "sent"
        if step == "settled":
            self.delivery._order.leave = self.killed
        if step == "left":
            self.delivery._settled_in_order = self.killed
        ids = which.sample(self.ended, min(2, len(self.ended)))
        self.look([*ids, LINE])
        self.sender.is_dying = False
        self.new_worker()

    async def killed(self, *_: Any) -> str:
        raise RuntimeError("killed")

    def look(self, ids: list[str]) -> None:
        """Time passes: what was leased or put off comes due."""
        for webhook_id in self.ended:
            if self.run(callback_record_of(self.redis, webhook_id)):
                self.run(put(self.redis, callback_key(webhook_id), lease_until=1, next_at=1))
        self.run(self.redis.delete(receiver_key(HOST), f"{receiver_key(HOST)}:places"))
        self.run(deliver(self.delivery, *ids))

    def drain(self) -> None:
        """Faults end; each timetable entry is looked at a few times: nothing may be left."""
        while self.half:
            old = self.half.pop()
            self.run(lapse(self.redis, old.job_id))
            self.end(self.run(claimed(self.ledger, old.job_id, "t2")))
        self.sender.error = ""
        self.new_worker()
        for _ in range(3 + len(self.ended)):
            self.look([WATCH, LINE])
        for webhook_id in self.ended:
            state = self.run(callback_record_of(self.redis, webhook_id)).get("state", "delivered")
            assert state in ("delivered", "dead"), webhook_id
        assert self.run(standing(self.redis)) == []

    @invariant()
    def nothing_is_sent_before_what_ended_before(self) -> None:
        first = [id_ for n, id_ in enumerate(self.sender.sent) if id_ not in self.sender.sent[:n]] if self.jobs else []
        assert first == [id_ for id_ in self.ended if id_ in first]
        assert first == self.ended[: len(first)]
        # … nor again after what ended later: at least once, and never backwards.
        places = [self.ended.index(id_) for id_ in self.sender.sent] if first else []
        assert places == sorted(places)


@pytest.mark.timeout(60)
def test_any_order_of_ends_deaths_and_looks_keeps_the_order(redis_server: EmbeddedRedis) -> None:
    OrderMachine.url = redis_server.url(0)
    run_state_machine_as_test(
        OrderMachine,
        settings=settings(
            max_examples=20, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
