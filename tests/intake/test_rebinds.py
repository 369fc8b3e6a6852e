"""Rebinds become jobs: the old binding by any of its names, and what is to be different about the new one."""

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import record_of
from worker.batches.operations import Operation
from worker.batches.rows import NamedBinding, RebindRow
from worker.domain.job import JobKind
from worker.domain.rebind_request import RebindRequest
from worker.domain.rebinding import RebindMode
from worker.errors import InvalidRequestError
from worker.intake.intake import Intake

from .test_acceptance import acceptance
from .test_intake import RecordingPublisher, executor, intake, publisher
from .test_orders import ORDER, X, bound, end

__all__ = ["RecordingPublisher", "executor", "intake", "publisher"]
NAMED: dict[str, Any] = {"subs_id": "100", "phone_no_x": "17000000001"}


@pytest.mark.parametrize("named", ["bind_job_id", "out_order_id"])
async def test_the_ledger_tells_all_of_the_old_binding(intake: Intake, redis: Redis, named: str) -> None:
    made = await bound(intake, redis)
    request = RebindRequest(**{named: made if named == "bind_job_id" else ORDER}, expires_in="3h", mode="same-x")
    record = await record_of(redis, await intake.submit(request))
    old = {name: record[name] for name in ("old_subs_id", "old_phone_no_x", "old_pool_key", "binding_id", "mode")}
    assert old == {
        "old_subs_id": "200", "old_phone_no_x": X, "old_pool_key": "FC2", "binding_id": made, "mode": "same-x",
    }  # fmt: skip
    assert list(json.loads(record["request"])) == ["Expiration"]


async def test_asked_again_under_its_key_it_is_the_same_job_also_once_it_is_done(intake: Intake, redis: Redis) -> None:
    made = await bound(intake, redis)
    request = RebindRequest(out_order_id=ORDER, phone_no_a="15099990000", idempotency_key="k")
    job_id = await intake.submit(request)
    await end(redis, made)
    assert await intake.submit(request) == job_id


def test_the_old_x_is_no_new_x() -> None:
    with pytest.raises(InvalidRequestError, match=r"^new_phone_no_x: is the old binding's own X"):
        acceptance().job_of(RebindRequest(**NAMED, new_phone_no_x=NAMED["phone_no_x"]))


async def test_a_message_that_breaks_rules_is_filed_with_its_refusal(intake: Intake, redis: Redis) -> None:
    filed = await intake.file_message({**NAMED, "mode": "z", "expires_in": "1s"}, task_id="t", kind=JobKind.REBIND)
    assert filed is not None
    record = await record_of(redis, filed[1])
    assert (record["kind"], "mode" in record) == ("rebind", False)
    assert [name for name in ("mode: ", "expiration: ") if name not in record["refusal"]] == []


def test_a_row_asks_for_what_its_request_asks_for() -> None:
    wishes = {"phone_no_a": "15099990000", "phone_no_x": "17000000009", "pool_key": "FC9", "out_order_id": "o"}
    row = RebindRow(
        line=1, key="k", operation=Operation.REBIND, mode=RebindMode.NEW_X,
        binding=NamedBinding(provider_fields=NAMED), wishes=wishes,
    )  # fmt: skip
    assert row.request() == RebindRequest(
        **NAMED, phone_no_a="15099990000", new_phone_no_x="17000000009", new_pool_key="FC9", new_out_order_id="o"
    )
