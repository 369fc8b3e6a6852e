"""The end of an order: its bindings are renewed no more and, where asked for, unbound."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from tests.intake.test_intake import RecordingPublisher
from tests.ledger.support import new_job, now_ms, record_of
from worker.callbacks.guard import ReceiverRules
from worker.clock import SystemClock
from worker.domain.job import JobState, Lane
from worker.domain.job_ids import partition_of
from worker.domain.renewal import RenewalPolicy
from worker.errors import InvalidRequestError
from worker.intake.acceptance import Acceptance, AcceptanceRules
from worker.intake.intake import Intake
from worker.ledger.callback_secrets import CallbackSecrets
from worker.ledger.closed_orders import ClosedOrders, closed_orders_key, order_digest
from worker.ledger.durable import DurableOpening
from worker.ledger.keys import timetable_key
from worker.ledger.records import AttemptKnowledge, Claim, NewJob, Settlement
from worker.ledger.renewal_keys import renewal_member
from worker.publisher import Announcer
from worker.renewals.closing import Closing

from .bench import DAY, HOUR, POOL, A, Bench

ORDER = {"PhoneNoA": A, "PoolKey": POOL, "Expiration": "2099-01-01 00:00:00", "OutOrderId": "order-9"}


def closing_of(bench: Bench) -> Closing:
    acceptance = Acceptance(AcceptanceRules(POOL, timedelta(seconds=60), ReceiverRules()), SystemClock())
    announcer = Announcer(RecordingPublisher(), ThreadPoolExecutor(1), clock=SystemClock())
    durable = DurableOpening(bench.redis, bench.ledger, replicas=1, timeout_ms=500)
    intake = Intake(acceptance, bench.ledger, durable, announcer, CallbackSecrets(bench.redis), bindings=bench.bindings)
    orders = ClosedOrders(bench.redis, keep_ms=0)
    return Closing(bench.bindings, bench.renewals, orders, intake, SystemClock())


async def test_a_closed_order_s_bindings_are_renewed_no_more_and_others_go_on(bench: Bench) -> None:
    await bench.checked()
    mine = await bench.bound("1", parameters=ORDER)
    for_a_while = await bench.bound("2", parameters=ORDER, policy=RenewalPolicy(for_ms=99 * 365 * DAY))
    unkept = await bench.bound("3", parameters=ORDER, renew="")
    other = await bench.bound("4")
    closed = await closing_of(bench).close_order("order-9")
    assert (closed.closed, set(closed.kept), closed.unbind_jobs) == ((mine,), {for_a_while, unkept}, {})
    assert await bench.due_at(mine) is None
    assert await bench.due_at(for_a_while) is not None
    await bench.renew(mine, other)
    assert ((await bench.read(mine)).number, (await bench.read(other)).number) == (0, 1)
    assert await closing_of(bench).close_order("order-9") == closed


async def test_closing_a_binding_under_way_keeps_its_new_end_and_makes_no_further_renewal(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound("1", lasts_ms=HOUR)
    before = await bench.read(binding_id)

    async def close(_: str) -> None:
        bench.provider.before = None
        await bench.renewals.close(binding_id)

    bench.provider.before = close
    await bench.renew(binding_id)
    after = await bench.read(binding_id)
    assert after.expires_at == before.expires_at + DAY
    assert await bench.due_at(binding_id) is None


async def test_unbinding_ends_all_of_an_order_s_bindings_once_however_often_it_is_asked_for(bench: Bench) -> None:
    await bench.checked()
    ids = [
        await bench.bound("1", parameters=ORDER),
        await bench.bound("2", parameters=ORDER | {"PhoneNoA": "15012340000"}, renew=""),
    ]
    closing = closing_of(bench)
    first, again = await closing.close_order("order-9", unbind=True), await closing.close_order("order-9", unbind=True)
    assert set(first.unbind_jobs) == set(ids)
    assert first == again
    assert await asyncio.gather(*map(bench.work_on, first.unbind_jobs.values())) == ["unbound"] * 2
    assert bench.live() == []
    assert (await closing.close_order("order-9", unbind=True)).unbind_jobs == {}


OPEN, SPAN, NONE = RenewalPolicy(extend_by_ms=DAY), RenewalPolicy(for_ms=99 * 365 * DAY), None


def asked_for(key: str = "1", policy: RenewalPolicy | None = OPEN, **overrides: Any) -> NewJob:
    return new_job(key, parameters=ORDER, renew=policy.as_json() if policy else "", **overrides)


@pytest.mark.parametrize(
    ("policy", "is_kept", "is_closed"), [(OPEN, False, True), (SPAN, True, False), (NONE, False, False)]
)
async def test_a_bind_that_is_on_its_way_when_its_order_is_closed_is_bound_and_not_kept(
    bench: Bench, policy: RenewalPolicy | None, is_kept: bool, is_closed: bool
) -> None:
    await bench.checked()
    job = asked_for(policy=policy)
    await bench.ledger.open(job)
    closed = await closing_of(bench).close_order("order-9")
    assert (closed.closed, closed.kept) == ((), ())
    assert await bench.work_on(job.job_id) == "bound"
    assert (await bench.due_at(job.job_id) is not None) is is_kept
    assert ("renew_due" in await record_of(bench.redis, job.job_id)) is is_kept
    assert ((await record_of(bench.redis, job.job_id)).get("renew_closed") == "closed") is is_closed
    assert len(bench.live()) == 1, "it lasts until its end"


@pytest.mark.parametrize("policy", [OPEN, SPAN, NONE])
async def test_it_is_ended_by_one_job_where_that_was_asked_for_kept_or_not(
    bench: Bench, policy: RenewalPolicy | None
) -> None:
    await bench.checked()
    job = asked_for(policy=policy)
    await bench.ledger.open(job)
    assert (await closing_of(bench).close_order("order-9", unbind=True)).unbind_jobs == {}
    assert await bench.work_on(job.job_id) == "bound"
    client: Any = bench.redis
    partition = partition_of(job.job_id)
    look = await client.zscore(timetable_key(partition), renewal_member(partition))
    assert look <= await now_ms(bench.redis), "a session comes for it at once"
    await bench.renew()
    (unbind,) = bench.announcer.published
    assert await bench.due_at(job.job_id) is None
    again = await closing_of(bench).close_order("order-9", unbind=True)
    assert again.unbind_jobs == {job.job_id: unbind}, "closing it again finds the same job"
    await bench.renew(job.job_id)  # as by a session that died before it wrote that it was done
    assert bench.announcer.published == [unbind]
    assert (await bench.work_on(unbind), bench.live()) == ("unbound", [])
    await bench.renew(job.job_id)
    assert await bench.due_at(job.job_id) is None


async def test_what_is_asked_for_after_the_close_is_another_order(bench: Bench) -> None:
    await bench.checked()
    for number in range(20):
        closing = closing_of(bench)
        await closing.close_order("order-9", unbind=number % 2 > 0)
        job = asked_for(str(number))
        await bench.ledger.open(job)
        assert await bench.work_on(job.job_id) == "bound"
        assert await bench.due_at(job.job_id) is not None


async def test_a_close_that_ends_bindings_concerns_only_what_was_asked_for_before_it(bench: Bench) -> None:
    await bench.checked()
    closing, first, second = closing_of(bench), asked_for("1"), asked_for("2")
    await bench.ledger.open(first)
    await closing.close_order("order-9", unbind=True)
    await bench.ledger.open(second)
    await closing.close_order("order-9")
    for job in (first, second):
        assert await bench.work_on(job.job_id) == "bound"
    closes = [(await record_of(bench.redis, job.job_id)).get("renew_closed") for job in (first, second)]
    assert closes == ["unbind", "closed"]


async def test_a_rebind_that_is_on_its_way_is_reached_by_the_order_of_its_new_binding(bench: Bench) -> None:
    await bench.checked()
    job = new_job("1", parameters={})
    await bench.ledger.open(job)
    claim = await bench.ledger.claim(job.job_id, Lane.CHECKOUT, token="t", lease_ms=9_000)
    assert isinstance(claim, Claim)
    await closing_of(bench).close_order("order-9")
    request = {"request": json.dumps(ORDER), "subs_id": "1", "phone_no_x": "17000001111"}
    bound = Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, request | {"renew": OPEN.as_json()})
    assert await bench.ledger.settle(claim, bound)
    assert await bench.due_at(job.job_id) is None
    assert (await record_of(bench.redis, job.job_id))["renew_closed"] == "closed"


async def test_a_row_whose_batch_was_begun_before_the_close_is_reached_by_it(bench: Bench) -> None:
    await bench.checked()
    begun_at = await now_ms(bench.redis)
    await closing_of(bench).close_order("order-9")
    job = asked_for(asked_at=begun_at)
    await bench.ledger.open(job)
    assert await bench.work_on(job.job_id) == "bound"
    assert await bench.due_at(job.job_id) is None


async def test_a_close_is_remembered_for_a_week_and_old_ones_make_room(bench: Bench) -> None:
    client: Any = bench.redis
    digest = order_digest("order-9")
    key = closed_orders_key(3, digest)
    week = 7 * DAY
    old = await now_ms(bench.redis) - week - 1_000
    await client.zadd(key, {f"old-{number}": old for number in range(150)} | {"young": old + HOUR})
    await ClosedOrders(bench.redis, keep_ms=0).remember("order-9", unbind=True)
    left = await client.zrange(key, 0, -1)
    assert {digest, f"unbind:{digest}", "young"} <= set(left)
    assert len(left) == 53
    assert week - 10_000 < await client.pttl(key) <= week
    keys = [one async for one in client.scan_iter("*closed_orders*")]
    assert len(keys) == 16
    await ClosedOrders(bench.redis, keep_ms=30 * DAY).remember("order-9", unbind=False)
    assert await client.pttl(key) > 29 * DAY, "and longer where finished jobs stay longer"


@pytest.mark.parametrize("order", ["", "x" * 1025, "a\nb"])
async def test_what_is_no_order_s_id_is_refused(bench: Bench, order: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^out_order_id: must be 1 to 1024 characters"):
        await closing_of(bench).close_order(order)
