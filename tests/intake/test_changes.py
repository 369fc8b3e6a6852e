"""Updates and unbinds become jobs: which binding is meant, what the provider will be sent, what is refused."""

import json
import logging
import re
from datetime import datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import put
from worker.domain.any_request import AnyRequest
from worker.domain.bind_request import BindRequest
from worker.domain.binding import Binding
from worker.domain.job import JobKind, JobState, Lane
from worker.domain.job_ids import job_id_for_key
from worker.domain.unbind_request import UnbindRequest
from worker.domain.update_request import UpdateRequest
from worker.errors import IdempotencyConflictError, InvalidRequestError, LedgerUnavailableError
from worker.intake.changes import FoundBindings
from worker.intake.intake import Intake
from worker.ledger.keys import job_keys
from worker.provider.actions import ASPECTS
from worker.redis_scripts import connect

from .test_acceptance import A, acceptance
from .test_intake import RecordingPublisher, executor, intake, intake_on, publisher, record_of, timetable_size

__all__ = ["executor", "intake", "publisher"]

X = "17000000001"
NAMED: dict[str, Any] = {"subs_id": "100", "phone_no_x": X}
ON_THE_WIRE = {"PoolKey": "FC1", "SubsId": "100"}
BIND_JOB_ID = job_id_for_key("bind")
FOUND: FoundBindings = {BIND_JOB_ID: Binding("200", "17000000002", "FC2")}
OF_OLD_ACCOUNT: FoundBindings = {BIND_JOB_ID: Binding("200", "17000000002", "")}


def faults_of(request: AnyRequest, found: FoundBindings | None = None, pool_key: str = "FC1") -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        acceptance(pool_key).job_of(request, found=found)
    return {fault.field: fault.rule for fault in caught.value.faults}


def test_an_unbind_sends_id_x_and_pool() -> None:
    job = acceptance().job_of(UnbindRequest(**NAMED, lane="batch"))
    assert (job.kind, job.lane, job.is_confirmed) == (JobKind.UNBIND, Lane.BATCH, False)
    assert job.parameters == {**ON_THE_WIRE, "SecretNo": X}
    assert job.seed


ASPECTS_SENT: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "updateNoA": ({"phone_no_a": A}, {"PhoneNoA": A}),
    "updateNoB": ({"phone_no_b": A}, {"PhoneNoB": A}),
    "updateExpire": ({"expires_in": "2h"}, {"Expiration": "2026-12-01 14:00:00"}),
    "updateAxgGroup": ({"group_id": "7"}, {"GroupId": "7"}),
    "updateCallRestrict": ({"call_restrict": "CONTROL_CLEAR_DISABLE"}, {"CallRestrict": "CONTROL_CLEAR_DISABLE"}),
    "updateCallDisplayType": ({"call_display_type": "1"}, {"CallDisplayType": "1"}),
    "updateOutId": ({"out_id": "o"}, {"OutId": "o"}),
    "updateIsRecordingEnabled": ({"is_recording_enabled": False}, {"IsRecordingEnabled": "false"}),
}


@pytest.mark.parametrize("operate_type", ASPECTS)
def test_an_update_sends_its_aspect_and_its_name_as_text(operate_type: str) -> None:
    given, sent = ASPECTS_SENT[operate_type]
    job = acceptance().job_of(UpdateRequest(**NAMED, **given))
    assert job.kind is JobKind.UPDATE
    assert job.parameters == {**ON_THE_WIRE, "PhoneNoX": X, "OperateType": operate_type, **sent}


def test_an_expiration_may_be_a_moment_too() -> None:
    moment = datetime.fromisoformat("2026-12-01T06:00:00Z")
    parameters = acceptance().job_of(UpdateRequest(**NAMED, expiration=moment)).parameters
    assert parameters["Expiration"] == "2026-12-01 14:00:00"


@pytest.mark.parametrize("near", [{"expires_in": "120s"}, {"expiration": "2026-12-01 12:02:00"}])
def test_a_new_expiration_must_be_as_far_ahead_as_that_of_a_bind(near: dict[str, Any]) -> None:
    assert faults_of(UpdateRequest(**NAMED, **near)) == {"expiration": "must be more than 120 s ahead"}


def test_a_product_type_stands_for_the_pool_key_of_old_accounts() -> None:
    parameters = acceptance().job_of(UnbindRequest(**NAMED, product_type="AXN_170")).parameters
    assert parameters == {"ProductType": "AXN_170", "SubsId": "100", "SecretNo": X}


def test_without_pool_key_and_product_type_the_request_is_refused() -> None:
    rule = "is required (or set AXN_POOL_KEY for all requests)"
    assert faults_of(UnbindRequest(**NAMED), pool_key="") == {"pool_key": rule}
    assert acceptance("").job_of(UnbindRequest(**NAMED, pool_key="FC9")).parameters["PoolKey"] == "FC9"


def test_a_bind_job_tells_id_x_and_pool_and_confirms_them() -> None:
    job = acceptance("").job_of(UnbindRequest(bind_job_id=BIND_JOB_ID), found=FOUND)
    assert (job.parameters, job.is_confirmed) == ({"PoolKey": "FC2", "SubsId": "200", "SecretNo": "17000000002"}, True)


def test_the_caller_s_word_confirms_a_binding_too() -> None:
    assert acceptance().job_of(UnbindRequest(**NAMED, is_confirmed=True)).is_confirmed


def test_a_bind_job_without_a_pool_needs_a_product_type_which_confirms_nothing() -> None:
    job = acceptance().job_of(UnbindRequest(bind_job_id=BIND_JOB_ID, product_type="AXN_170"), found=OF_OLD_ACCOUNT)
    assert (job.parameters, job.is_confirmed) == (
        {"ProductType": "AXN_170", "SubsId": "200", "SecretNo": "17000000002"}, False,
    )  # fmt: skip
    assert list(faults_of(UnbindRequest(bind_job_id=BIND_JOB_ID), OF_OLD_ACCOUNT)) == ["product_type"]
    assert list(faults_of(UnbindRequest(bind_job_id=BIND_JOB_ID, product_type="AXN_170"), FOUND)) == ["product_type"]


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.BOUND])
def test_a_bind_job_that_is_not_bound_is_refused_with_its_state(state: JobState) -> None:
    request = UpdateRequest(bind_job_id=BIND_JOB_ID, expires_in="1s", callback_url="http://h")
    assert faults_of(request, {BIND_JOB_ID: state}) == {
        "expiration": "must be more than 120 s ahead",
        "callback_url": "must be https:// (AXN_CALLBACK_ALLOW_HTTP=1 allows http)",
        "bind_job_id": f"this job is {state.value}, not bound",
    }


@pytest.mark.parametrize("found", [{}, {BIND_JOB_ID: ""}], ids=["not asked for", "not found"])
def test_an_unknown_bind_job_is_refused_with_what_to_do(found: FoundBindings) -> None:
    rule = faults_of(UnbindRequest(bind_job_id=BIND_JOB_ID), found)["bind_job_id"]
    assert rule.startswith("no such job in the ledger")
    assert rule.endswith("name the binding by subs_id and phone_no_x")


@pytest.mark.parametrize(
    ("kind", "given", "fields"),
    [
        (JobKind.UNBIND, {"SubsId": "x", "callback_url": "http://h"}, ["subs_id", "phone_no_x", "pool_key"]),
        (JobKind.UNBIND, {"subs_id": "1", "SecretNo": X, "expires_in": "1s"}, ["expires_in", "pool_key"]),
        (JobKind.UPDATE, {"bind_job_id": "x", "expires_in": 0}, ["bind_job_id", "expiration"]),
        (JobKind.UPDATE, {"bind_job_id": "x", "Expiration": "1999-01-01 00:00:00"}, ["bind_job_id", "expiration"]),
        (JobKind.UPDATE, {**NAMED, "out_id": "", "ProductType": "AXN_170"}, ["out_id"]),
        (JobKind.UPDATE, [], ["request"]),
    ],
)
def test_faults_of_form_time_and_settings_are_named_together(kind: JobKind, given: Any, fields: list[str]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        acceptance("").parse(given, kind)
    named = [fault.field for fault in caught.value.faults]
    assert [field for field in named if field != "callback_url"] == fields
    assert ("callback_url" in named) is ("callback_url" in given)


async def bound(intake: Intake, redis: Redis, key: str = "bind", subs_id: str = "200", **more: Any) -> str:
    """A bind job that a worker has bound."""
    job_id = await intake.submit(BindRequest(phone_no_a=A, expires_in="2h", idempotency_key=key, **more))
    await put(redis, job_keys(job_id).job, state="bound", subs_id=subs_id, phone_no_x="17000000002")
    return job_id


async def test_an_unbind_of_a_bound_job_is_filed_with_its_binding_and_published(
    intake: Intake, redis: Redis, publisher: RecordingPublisher
) -> None:
    bind_job_id = await bound(intake, redis, pool_key="FC2")
    publisher.published.clear()
    job_id = await intake.submit(UnbindRequest(bind_job_id=bind_job_id, lane="batch"))
    record = await record_of(redis, job_id)
    assert json.loads(record["request"]) == {"PoolKey": "FC2", "SubsId": "200", "SecretNo": "17000000002"}
    assert (record["kind"], record["is_confirmed"], record["state"]) == ("unbind", "1", "accepted")
    assert publisher.published == [(Lane.BATCH, [job_id])]


async def test_a_reader_sees_which_binding_a_change_is_about(intake: Intake, redis: Redis) -> None:
    for request in (UnbindRequest(**NAMED), UpdateRequest(**NAMED, out_id="o")):
        record = await record_of(redis, await intake.submit(request))
        assert (record["subs_id"], record["phone_no_x"]) == ("100", X)


@pytest.mark.parametrize("known", [True, False])
async def test_a_bind_job_that_is_unknown_or_not_bound_leaves_nothing_behind(
    intake: Intake, redis: Redis, known: bool
) -> None:
    if known:
        await intake.submit(BindRequest(phone_no_a=A, expires_in="2h", idempotency_key="bind"))
    told = "bind_job_id: this job is accepted, not bound" if known else "bind_job_id: no such job in the ledger"
    with pytest.raises(InvalidRequestError, match=told):
        await intake.submit(UnbindRequest(bind_job_id=BIND_JOB_ID))
    assert await timetable_size(redis) == known


async def test_many_of_all_kinds_are_filed_together(intake: Intake, redis: Redis) -> None:
    first, second = await bound(intake, redis, "one", "201"), await bound(intake, redis, "two", "202")
    answers = await intake.submit_many(
        [
            UnbindRequest(bind_job_id=second),
            BindRequest(phone_no_a=A, expires_in="2h"),
            UpdateRequest(bind_job_id=first, out_id="o"),
            UnbindRequest(**NAMED),
            UpdateRequest(bind_job_id=second, phone_no_a=A),
        ]
    )
    records = [await record_of(redis, answer.job_id) for answer in answers]
    assert [record["kind"] for record in records] == ["unbind", "bind", "update", "unbind", "update"]
    assert [record.get("subs_id") for record in records] == ["202", None, "201", "100", "202"]


async def test_every_row_that_names_no_binding_is_named_and_none_is_stored(intake: Intake, redis: Redis) -> None:
    rows: list[AnyRequest] = [
        UnbindRequest(**NAMED),
        UnbindRequest(bind_job_id=BIND_JOB_ID),
        UpdateRequest(**NAMED, expires_in="1s"),
    ]
    with pytest.raises(InvalidRequestError) as caught:
        await intake.submit_many(rows)
    assert [fault.field for fault in caught.value.faults] == ["[1].bind_job_id", "[2].expiration"]
    assert await redis.dbsize() == 0


async def test_one_key_is_one_job_of_one_kind(intake: Intake) -> None:
    job_id = await intake.submit(UnbindRequest(**NAMED, idempotency_key="k"))
    assert await intake.submit(UnbindRequest(**NAMED, idempotency_key="k")) == job_id
    with pytest.raises(IdempotencyConflictError):
        await intake.submit(UpdateRequest(**NAMED, out_id="o", idempotency_key="k"))


async def test_a_ledger_that_is_away_cannot_tell_the_binding(publisher: RecordingPublisher, executor: Any) -> None:
    away = connect("unix:///nowhere/redis.sock", timeout_ms=200)
    with pytest.raises(LedgerUnavailableError, match="AXN_REDIS_URL"):
        await intake_on(away, publisher, executor).submit(UnbindRequest(bind_job_id=BIND_JOB_ID))
    await away.aclose()


@pytest.mark.parametrize(
    ("kind", "aspect"), [(JobKind.UNBIND, {}), (JobKind.UPDATE, {"PhoneNoA": A})], ids=["unbind", "update"]
)
async def test_a_message_is_filed_as_a_job_of_its_kind(
    intake: Intake, redis: Redis, kind: JobKind, aspect: dict[str, Any]
) -> None:
    bind_job_id = await bound(intake, redis)
    filed = await intake.file_message({"bind_job_id": bind_job_id, **aspect}, task_id="task-1", kind=kind)
    assert filed == (Lane.CHECKOUT, job_id_for_key("task-1"))
    record = await record_of(redis, job_id_for_key("task-1"))
    assert (record["kind"], record["subs_id"], record["is_confirmed"]) == (kind.value, "200", "1")


@pytest.mark.parametrize("kind", [JobKind.UNBIND, JobKind.UPDATE])
@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"subs_id": "1", "callback_url": "https://h/axn"}, "phone_no_x: is required"),
        (
            {"bind_job_id": BIND_JOB_ID, "callback_url": "https://h/axn"},
            "bind_job_id: no such job in the ledger",
        ),
    ],
    ids=["form", "ledger"],
)
async def test_a_refused_message_is_filed_as_a_job_of_its_kind_with_the_reason(
    intake: Intake, redis: Redis, kind: JobKind, given: dict[str, Any], refusal: str
) -> None:
    if kind is JobKind.UPDATE:
        given = {**given, "out_id": "o"}
    await intake.file_message(given, task_id="task-1", kind=kind)
    record = await record_of(redis, job_id_for_key("task-1"))
    assert (record["kind"], record["request"], record["callback_url"]) == (kind.value, "{}", "https://h/axn")
    assert refusal in record["refusal"]


async def test_another_kind_s_message_under_a_known_task_id_is_dropped_and_logged(
    intake: Intake, caplog: pytest.LogCaptureFixture
) -> None:
    await intake.file_message(NAMED, task_id="task-1", kind=JobKind.UNBIND)
    with caplog.at_level(logging.WARNING):
        update = {**NAMED, "out_id": "o"}
        assert await intake.file_message(update, task_id="task-1", kind=JobKind.UPDATE) is None
    assert re.search("message refused task_id=task-1 .*idempotency_key: already used", caplog.text)
