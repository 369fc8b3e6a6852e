"""Updates and unbinds: repeated when unclear, one at a time for each binding."""

from typing import Any

import pytest

from tests.ledger.support import lapse, put, record_of
from worker.domain.job import JobKind, Lane
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.keys import job_keys
from worker.ledger.records import NewJob

from .bench import AMBIGUOUS, NONCE_USED, THROTTLED, WRONG, Bench, FakeProvider

DONE = Outcome(Verdict.DONE, "OK", "OK", "request-1", 200)
GONE = Outcome(Verdict.GONE, "isv.SUBS_NOT_EXIST", "no such subscription")
UNBIND = {"SubsId": "100", "SecretNo": "17000001111", "PoolKey": "FC1"}
UPDATE = {
    "SubsId": "100", "PhoneNoX": "17000001111", "PoolKey": "FC1", "OperateType": "updateNoB", "PhoneNoB": "15012340000",
}  # fmt: skip


async def unbind(bench: Bench, key: str = "u", **overrides: Any) -> NewJob:
    return await bench.opened(key=key, kind=JobKind.UNBIND, parameters=UNBIND, **overrides)


async def update(bench: Bench, key: str = "p", **overrides: Any) -> NewJob:
    return await bench.opened(key=key, kind=JobKind.UPDATE, parameters=UPDATE, **overrides)


async def test_an_unbind_is_sent_and_ends_unbound(bench: Bench) -> None:
    bench.provider = FakeProvider(DONE)
    job = await unbind(bench)
    assert await bench.attempt(job) == "unbound"
    assert (bench.provider.actions, bench.provider.parameters) == (["UnbindSubscription"], [UNBIND])
    assert bench.event()["type"] == "unbind.succeeded"


async def test_an_update_is_sent_and_ends_updated(bench: Bench) -> None:
    bench.provider = FakeProvider(DONE)
    job = await update(bench)
    assert await bench.attempt(job) == "updated"
    assert (bench.provider.actions, bench.provider.parameters) == (["UpdateSubscription"], [UPDATE])
    assert bench.event()["type"] == "update.succeeded"


@pytest.mark.parametrize(("is_confirmed", "end"), [(True, "unbound"), (False, "failed")])
async def test_gone_is_a_success_only_for_a_confirmed_binding(bench: Bench, is_confirmed: bool, end: str) -> None:
    bench.provider = FakeProvider(GONE)
    assert await bench.attempt(await unbind(bench, is_confirmed=is_confirmed)) == end


async def test_an_update_of_a_binding_that_is_gone_fails_even_if_it_was_confirmed(bench: Bench) -> None:
    bench.provider = FakeProvider(GONE)
    assert await bench.attempt(await update(bench, is_confirmed=True)) == "failed"


@pytest.mark.parametrize("unclear", [AMBIGUOUS, NONCE_USED], ids=["ambiguous", "nonce used"])
async def test_what_is_unclear_is_simply_repeated_with_a_nonce_of_its_own(bench: Bench, unclear: Outcome) -> None:
    bench.provider = FakeProvider(unclear, DONE)
    job = await update(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "updated"]
    assert len(set(bench.provider.nonces)) == 2


async def test_what_stays_unclear_fails_with_the_providers_code(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, AMBIGUOUS, AMBIGUOUS)
    job = await update(bench)
    assert [await bench.attempt(job) for _ in range(3)] == ["waiting", "waiting", "failed"]
    assert (await bench.read(job)).code == AMBIGUOUS.code


async def test_a_dead_workers_unbind_is_repeated(bench: Bench) -> None:
    job = await unbind(bench, is_confirmed=True)
    await bench.ledger.claim(job.job_id, Lane.CHECKOUT, token="dead", lease_ms=1)
    bench.provider = FakeProvider(NONCE_USED, GONE)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "unbound"]


@pytest.mark.parametrize(
    ("outcomes", "may_be_done"), [((AMBIGUOUS, GONE), True), ((NONCE_USED, GONE), True), ((THROTTLED, GONE), False)]
)
async def test_an_unbind_of_an_unconfirmed_binding_that_may_have_ended_it_says_so(
    bench: Bench, outcomes: tuple[Outcome, ...], may_be_done: bool
) -> None:
    bench.provider = FakeProvider(*outcomes)
    job = await unbind(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "failed"]
    assert ("may have ended it" in (await bench.read(job)).message) is may_be_done


async def test_throttling_costs_no_retry(bench: Bench) -> None:
    bench.provider = FakeProvider(*[THROTTLED] * 5, DONE)
    job = await update(bench)
    assert [await bench.attempt(job) for _ in range(6)] == ["waiting"] * 5 + ["updated"]


async def test_a_refused_change_fails_unsent(bench: Bench) -> None:
    job = await bench.opened(kind=JobKind.UNBIND, parameters={}, refusal="subs_id: is required")
    assert await bench.attempt(job) == "failed"
    assert bench.provider.actions == []


async def test_past_its_deadline_a_change_expires(bench: Bench) -> None:
    job = await update(bench, deadline_at_ms=1)
    assert await bench.attempt(job) == "expired"
    assert bench.provider.actions == []


async def test_a_later_change_waits_until_an_earlier_one_has_ended(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, DONE, DONE)
    first, second = await update(bench, "first"), await unbind(bench, "second")
    assert await bench.attempt(first) == "waiting"
    assert await bench.attempt(second) == "waiting"
    record = await record_of(bench.redis, second.job_id)
    assert (record["code"], record["attempts"]) == ("binding.busy", "0")
    assert await bench.attempt(first) == "updated"
    assert await bench.attempt(second) == "unbound"
    assert bench.provider.actions == ["UpdateSubscription", "UpdateSubscription", "UnbindSubscription"]


async def test_a_change_that_fails_lets_the_next_one_go(bench: Bench) -> None:
    bench.provider = FakeProvider(WRONG, DONE)
    first, second = await update(bench, "first"), await unbind(bench, "second")
    assert await bench.attempt(first) == "failed"
    assert await bench.attempt(second) == "unbound"


@pytest.mark.parametrize("left", ["ended", "forgotten"])
async def test_a_change_whose_worker_died_between_its_end_and_its_leaving_holds_nobody_up(
    bench: Bench, left: str
) -> None:
    dead = await update(bench, "dead")
    queue = BindingQueue(bench.redis, ttl_ms=60_000)
    assert await queue.enlist("100", dead.job_id, 1) == ""
    if left == "ended":
        await put(bench.redis, job_keys(dead.job_id).job, state="updated")
    else:
        await bench.redis.delete(job_keys(dead.job_id).job)
    bench.provider = FakeProvider(DONE)
    assert await bench.attempt(await unbind(bench)) == "unbound"


async def test_changes_of_different_bindings_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, DONE)
    first = await update(bench)
    other = await bench.opened(key="o", kind=JobKind.UNBIND, parameters=UNBIND | {"SubsId": "200"})
    assert await bench.attempt(first) == "waiting"
    assert await bench.attempt(other) == "unbound"


async def test_a_poisonous_change_says_so(bench: Bench) -> None:
    job = await unbind(bench)
    for turn in range(6):
        await bench.ledger.claim(job.job_id, Lane.CHECKOUT, token=f"dead{turn}", lease_ms=1)
        await lapse(bench.redis, job.job_id)
    assert await bench.attempt(job) == "failed"
    assert (await bench.read(job)).code == "poison"
