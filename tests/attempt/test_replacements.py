"""The old binding's record follows what a rebind does to it."""

from typing import Any

import pytest
from redis.asyncio import Redis

from worker.attempt.replacements import RecordedReplacements
from worker.domain.binding import BindingName, BindingStatus, BoundBinding, NameKind
from worker.domain.job import JobKind
from worker.domain.rebinding import RebindMode
from worker.ledger.bindings import BindingLedger
from worker.ledger.records import NewJob

from .bench import WRONG
from .rebind_bench import EXPIRATION, NEW_A, POOL, A, RebindBench

both_modes = pytest.mark.parametrize("mode", RebindMode)


class RecordedBench(RebindBench):
    """With the real record of bindings, and the old one bound by a job of ours."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.registry = BindingLedger(redis, keep_ms=60_000, result_ttl_ms=60_000)
        self.replacements = RecordedReplacements(self.registry)  # type: ignore[assignment]

    async def bound(self) -> NewJob:
        """Bind by a job, whose binding is the old one from now on."""
        self.sandbox.account.bindings.end(self.old, "unbound", 1)
        parameters = {"PoolKey": POOL, "PhoneNoA": A, "Expiration": EXPIRATION, "OutId": "o", "OutOrderId": "order"}
        job = await self.opened(key="made", parameters=parameters)
        assert await self.step(job) == "bound"
        (self.old,) = self.sandbox.live()
        return job

    async def known(self, job: NewJob) -> BoundBinding:
        (binding,) = await self.registry.read([job.job_id])
        assert binding is not None
        return binding

    async def of_order(self) -> list[BoundBinding]:
        (found,) = await self.registry.look_up([BindingName(NameKind.OUT_ORDER_ID, "order")])
        return found


@pytest.fixture
def bench(redis: Redis) -> RecordedBench:
    return RecordedBench(redis)


@both_modes
@pytest.mark.parametrize("is_named_by_its_job", [True, False])
async def test_the_old_binding_is_replaced_by_the_new_one_which_keeps_what_the_record_knew(
    bench: RecordedBench, mode: RebindMode, is_named_by_its_job: bool
) -> None:
    made = await bench.bound()
    named: dict[str, Any] = {"binding_id": made.job_id} if is_named_by_its_job else {}
    job = await bench.filed(mode, **named)
    assert (await bench.to_its_end(job))["state"] == "bound"
    old, new = await bench.known(made), await bench.known(job)
    assert (old.status, old.replaced_by) == (BindingStatus.REPLACED, job.job_id)
    (live,) = bench.sandbox.live()
    assert (new.status, new.subs_id, new.phone_no_x, new.phone_no_a) == (
        BindingStatus.ACTIVE, live.subs_id, live.phone_no_x, NEW_A,
    )  # fmt: skip
    assert (live.out_id, live.out_order_id) == ("o", "order")
    assert [one.binding_id for one in await bench.of_order() if one.is_active] == [job.job_id]


@pytest.mark.parametrize("fates", [[WRONG], ["taken"]], ids=["restored", "moved"])
async def test_a_binding_that_had_to_be_made_again_is_known_under_its_new_names(
    bench: RecordedBench, fates: list[Any]
) -> None:
    made = await bench.bound()
    bench.sandbox.fates["BindAxn"] = fates
    job = await bench.filed(RebindMode.SAME_X, binding_id=made.job_id)
    assert (await bench.to_its_end(job))["state"] == "failed"
    known, (live,) = await bench.known(made), bench.sandbox.live()
    assert (known.status, known.subs_id, known.phone_no_x) == (BindingStatus.ACTIVE, live.subs_id, live.phone_no_x)
    assert [one.binding_id for one in await bench.of_order()] == [made.job_id]
    unbind = {"SubsId": known.subs_id, "SecretNo": known.phone_no_x, "PoolKey": POOL}
    other = await bench.opened(key="u", kind=JobKind.UNBIND, parameters=unbind, binding_id=made.job_id)
    assert (await bench.step(other), bench.sandbox.live()) == ("unbound", [])


async def test_a_rebind_can_be_rebound(bench: RecordedBench) -> None:
    first = await bench.filed(RebindMode.NEW_X, binding_id=(await bench.bound()).job_id)
    await bench.to_its_end(first)
    (bench.old,) = bench.sandbox.live()
    second = await bench.filed(RebindMode.SAME_X, {"PhoneNoA": A}, key="2", binding_id=first.job_id)
    assert (await bench.to_its_end(second))["state"] == "bound"
    assert (await bench.known(first)).replaced_by == second.job_id
    assert [one.phone_no_a for one in bench.sandbox.live()] == [A]
