import json
from typing import Any

import pytest

from worker.callbacks.events import ended_body
from worker.domain.job import JobKind, JobState

PARAMETERS = {
    "PhoneNoA": "15012345678",
    "Expiration": "2099-01-01 00:00:00",
    "OutId": "客户-7",
    "OutOrderId": "order-9",
}
BOUND_BODY = (
    '{"type":"bind.succeeded","timestamp":"2026-01-02T03:04:05.678Z","data":{"version":1,"job_id":"k1",'
    '"state":"bound","phone_no_a":"150****5678","phone_no_x":"17000001111","subs_id":"100",'
    '"expiration":"2099-01-01 00:00:00","out_id":"客户-7","out_order_id":"order-9","code":"OK","message":"OK",'
    '"request_id":"request-1","attempts":2,"possible_orphans":0}}'
)


def body_of(state: JobState, **fields: str | int) -> str:
    return ended_body(
        kind=JobKind.BIND,
        job_id="k1",
        state=state,
        unix_ms=1_767_323_045_678,
        attempts=2,
        parameters=PARAMETERS,
        fields=fields,
    )


def test_the_body_of_a_bound_job_is_this_text_and_shows_of_a_only_a_masked_form() -> None:
    body = body_of(
        JobState.BOUND, phone_no_x="17000001111", subs_id="100", code="OK", message="OK", request_id="request-1"
    )
    assert body == BOUND_BODY


@pytest.mark.parametrize(
    ("state", "type_"),
    [
        (JobState.BOUND, "bind.succeeded"),
        (JobState.FAILED, "bind.failed"),
        (JobState.IN_DOUBT, "bind.in_doubt"),
        (JobState.EXPIRED, "bind.expired"),
    ],
)
def test_each_end_has_its_type_and_none_shows_the_number(state: JobState, type_: str) -> None:
    body = body_of(state)
    assert body.startswith(f'{{"type":"{type_}",')
    assert "15012345678" not in body


BINDING = {"SubsId": "100", "PhoneNoX": "17000001111", "PoolKey": "FC1"}
UPDATE = {
    "SubsId": "100", "PhoneNoX": "17000001111", "PoolKey": "FC1", "OperateType": "updateNoA", "PhoneNoA": "15012345678",
}  # fmt: skip
UPDATED_BODY = (
    '{"type":"update.succeeded","timestamp":"2026-01-02T03:04:05.678Z","data":{"version":1,"job_id":"k1",'
    '"state":"updated","phone_no_x":"17000001111","subs_id":"100","operate_type":"updateNoA",'
    '"phone_no_a":"150****5678","expiration":"","out_id":"","code":"OK","message":"","request_id":"","attempts":1}}'
)
UNBIND = {"SubsId": "100", "SecretNo": "17000001111", "PoolKey": "FC1"}
EXPIRED_UNBIND_BODY = (
    '{"type":"unbind.expired","timestamp":"2026-01-02T03:04:05.678Z","data":{"version":1,"job_id":"k1",'
    '"state":"expired","phone_no_x":"17000001111","subs_id":"100","code":"deadline.passed","message":"",'
    '"request_id":"","attempts":1}}'
)


@pytest.mark.parametrize(
    ("kind", "state", "parameters", "code", "body"),
    [
        (JobKind.UPDATE, JobState.UPDATED, UPDATE, "OK", UPDATED_BODY),
        (JobKind.UNBIND, JobState.EXPIRED, UNBIND, "deadline.passed", EXPIRED_UNBIND_BODY),
    ],
    ids=["an update", "an unbind"],
)
def test_the_body_of_a_change_names_its_binding(
    kind: JobKind, state: JobState, parameters: dict[str, str], code: str, body: str
) -> None:
    made = ended_body(
        kind=kind,
        job_id="k1",
        state=state,
        unix_ms=1_767_323_045_678,
        attempts=1,
        parameters=parameters,
        fields={"code": code},
    )
    assert made == body


@pytest.mark.parametrize(
    ("operate_type", "name", "value", "field"),
    [
        ("updateExpire", "Expiration", "2099-01-01 00:00:00", "expiration"),
        ("updateOutId", "OutId", "客户-7", "out_id"),
    ],
)
def test_an_update_tells_what_it_set(operate_type: str, name: str, value: str, field: str) -> None:
    data = change_of(JobKind.UPDATE, JobState.UPDATED, {**BINDING, "OperateType": operate_type, name: value})["data"]
    assert (data["operate_type"], data[field]) == (operate_type, value)


def test_a_new_b_is_not_told_at_all() -> None:
    event = change_of(
        JobKind.UPDATE, JobState.UPDATED, {**BINDING, "OperateType": "updateNoB", "PhoneNoB": "15012345678"}
    )
    assert "5678" not in json.dumps(event)


@pytest.mark.parametrize("kind", [JobKind.UPDATE, JobKind.UNBIND])
@pytest.mark.parametrize("state", [JobState.FAILED, JobState.EXPIRED])
def test_a_change_that_was_not_made_has_its_type_also_where_its_request_was_refused(
    kind: JobKind, state: JobState
) -> None:
    event = change_of(kind, state, {})
    assert event["type"] == f"{kind.value}.{state.value}"
    assert (event["data"]["subs_id"], event["data"]["phone_no_x"]) == ("", "")


def change_of(kind: JobKind, state: JobState, parameters: dict[str, str]) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(
        ended_body(kind=kind, job_id="k1", state=state, unix_ms=1, attempts=1, parameters=parameters, fields={})
    )
    return event
