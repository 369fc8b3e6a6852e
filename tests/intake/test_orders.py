"""Updates and unbinds that name a binding by the order that it was bound for."""

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import bindings_of, claimed, ledger_of, record_of
from worker.domain.bind_request import BindRequest
from worker.domain.binding import BindingStatus
from worker.domain.job import JobKind, JobState
from worker.domain.job_ids import job_id_for_key
from worker.domain.unbind_request import UnbindRequest
from worker.domain.update_request import UpdateRequest
from worker.errors import IdempotencyConflictError, InvalidRequestError, LedgerUnavailableError
from worker.intake.intake import Intake
from worker.ledger.bindings import BindingChange
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.redis_scripts import connect

from .test_intake import RecordingPublisher, executor, intake, intake_on, publisher

__all__ = ["executor", "intake", "publisher"]

ORDER = "order-42"
X = "17000000002"


async def bound(intake: Intake, redis: Redis, subs_id: str = "200", **more: Any) -> str:
    given = {"phone_no_a": "15012345678", "expires_in": "2h", "out_order_id": ORDER, "pool_key": "FC2"} | more
    job_id = await intake.submit(BindRequest(**given))
    end = Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, {"subs_id": subs_id, "phone_no_x": X})
    assert await ledger_of(redis).settle(await claimed(ledger_of(redis), job_id), end)
    return job_id


async def end(redis: Redis, binding_id: str) -> None:
    change = BindingChange(by="u", status=BindingStatus.UNBOUND)
    assert await bindings_of(redis).change(binding_id, change)


async def fault_of(intake: Intake, request: UnbindRequest) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        await intake.submit(request)
    (fault,) = caught.value.faults
    assert (fault.field, fault.value) == ("out_order_id", ORDER)
    return fault.rule


async def test_the_order_s_active_binding_is_meant(intake: Intake, redis: Redis) -> None:
    ended, active = await bound(intake, redis, "100"), await bound(intake, redis, "200")
    await end(redis, ended)
    record = await record_of(redis, await intake.submit(UnbindRequest(out_order_id=ORDER)))
    assert json.loads(record["request"]) == {"PoolKey": "FC2", "SubsId": "200", "SecretNo": X}
    assert (record["binding_id"], record["is_confirmed"], record["subs_id"]) == (active, "1", "200")


async def test_an_order_without_a_binding_is_refused_and_told_why(intake: Intake, redis: Redis) -> None:
    request = UnbindRequest(out_order_id=ORDER)
    assert (await fault_of(intake, request)).startswith("has no active binding (none was bound for it")
    binding_id = await bound(intake, redis)
    await end(redis, binding_id)
    told = f"has no active binding (the last one, of job {binding_id}, is unbound)"
    assert await fault_of(intake, request) == told


async def test_an_order_with_several_bindings_is_refused_and_they_are_named(intake: Intake, redis: Redis) -> None:
    ids = {await bound(intake, redis, subs_id) for subs_id in ("100", "200")}
    rule = await fault_of(intake, UnbindRequest(out_order_id=ORDER))
    assert rule.startswith("has 2 active bindings: name the one that is meant by its bind_job_id (")
    assert all(binding_id in rule for binding_id in ids)


async def test_a_request_that_is_submitted_again_is_the_same_job_whatever_became_of_the_order(
    intake: Intake, redis: Redis
) -> None:
    first = await bound(intake, redis, "100")
    request = UnbindRequest(out_order_id=ORDER, idempotency_key="k")
    job_id = await intake.submit(request)
    await end(redis, first)
    assert await intake.submit(request) == job_id
    await bound(intake, redis, "200")
    (again, other) = await intake.submit_many([request, UnbindRequest(out_order_id=ORDER)])
    assert (again.job_id, again.is_new, other.is_new) == (job_id, False, True)
    assert (await record_of(redis, job_id))["subs_id"] == "100"
    assert (await record_of(redis, other.job_id))["subs_id"] == "200"
    with pytest.raises(IdempotencyConflictError):
        await intake.submit(UpdateRequest(out_order_id=ORDER, out_id="o", idempotency_key="k"))


async def test_a_message_that_comes_twice_is_one_job(intake: Intake, redis: Redis) -> None:
    binding_id = await bound(intake, redis)
    given = {"out_order_id": ORDER}
    filed = await intake.file_message(given, task_id="task-1", kind=JobKind.UNBIND)
    await end(redis, binding_id)
    assert filed is not None
    assert await intake.file_message(given, task_id="task-1", kind=JobKind.UNBIND) == filed
    assert "refusal" not in await record_of(redis, job_id_for_key("task-1"))


async def test_a_message_about_an_unknown_order_is_filed_with_its_refusal(intake: Intake, redis: Redis) -> None:
    await intake.file_message({"OutOrderId": ORDER, "out_id": "o"}, task_id="task-1", kind=JobKind.UPDATE)
    assert "has no active binding" in (await record_of(redis, job_id_for_key("task-1")))["refusal"]


async def test_rows_of_all_kinds_are_looked_up_together_and_each_fault_is_named(intake: Intake, redis: Redis) -> None:
    binding_id = await bound(intake, redis)
    with pytest.raises(InvalidRequestError) as caught:
        await intake.submit_many(
            [
                UpdateRequest(out_order_id=ORDER, out_id="o"),
                UnbindRequest(out_order_id="another"),
                UnbindRequest(bind_job_id=binding_id),
            ]
        )
    assert [fault.field for fault in caught.value.faults] == ["[1].out_order_id"]


async def test_a_ledger_that_is_away_cannot_tell_the_order_s_binding(
    publisher: RecordingPublisher, executor: Any
) -> None:
    away = connect("unix:///nowhere/redis.sock", timeout_ms=200)
    with pytest.raises(LedgerUnavailableError, match="AXN_REDIS_URL"):
        await intake_on(away, publisher, executor).submit(UnbindRequest(out_order_id=ORDER))
    await away.aclose()
