"""The end of an order: its bindings are renewed no more and, where asked for, unbound."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.intake.test_intake import RecordingPublisher
from worker.callbacks.guard import ReceiverRules
from worker.clock import SystemClock
from worker.domain.renewal import RenewalPolicy
from worker.errors import InvalidRequestError
from worker.intake.acceptance import Acceptance, AcceptanceRules
from worker.intake.intake import Intake
from worker.ledger.callback_secrets import CallbackSecrets
from worker.ledger.durable import DurableOpening
from worker.publisher import Announcer
from worker.renewals.closing import Closing

from .bench import DAY, HOUR, POOL, A, Bench

ORDER = {"PhoneNoA": A, "PoolKey": POOL, "Expiration": "2099-01-01 00:00:00", "OutOrderId": "order-9"}


def closing_of(bench: Bench) -> Closing:
    acceptance = Acceptance(AcceptanceRules(POOL, timedelta(seconds=60), ReceiverRules()), SystemClock())
    announcer = Announcer(RecordingPublisher(), ThreadPoolExecutor(1), clock=SystemClock())
    durable = DurableOpening(bench.redis, bench.ledger, replicas=1, timeout_ms=500)
    intake = Intake(acceptance, bench.ledger, durable, announcer, CallbackSecrets(bench.redis), bindings=bench.bindings)
    return Closing(bench.bindings, bench.renewals, intake)


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


@pytest.mark.parametrize("order", ["", "x" * 1025, "a\nb"])
async def test_what_is_no_order_s_id_is_refused(bench: Bench, order: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^out_order_id: must be 1 to 1024 characters"):
        await closing_of(bench).close_order(order)
