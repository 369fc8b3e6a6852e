import json

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


UNBIND = {"SubsId": "100", "SecretNo": "17000001111", "PoolKey": "FC1"}
UPDATE = {"SubsId": "100", "PhoneNoX": "17000001111", "PoolKey": "FC1"}


def body_of_change(kind: JobKind, state: JobState, parameters: dict[str, str], **fields: str | int) -> str:
    return ended_body(
        kind=kind,
        job_id="k1",
        state=state,
        unix_ms=1_767_323_045_678,
        attempts=2,
        parameters=parameters,
        fields={"possible_orphans": 0, **fields},
    )


def test_the_body_of_an_unbind_is_this_text() -> None:
    told = {"code": "OK", "message": "OK", "request_id": "request-1"}
    assert body_of_change(JobKind.UNBIND, JobState.UNBOUND, UNBIND, **told) == (
        '{"type":"unbind.succeeded","timestamp":"2026-01-02T03:04:05.678Z","data":{"version":1,"job_id":"k1",'
        '"state":"unbound","phone_no_x":"17000001111","subs_id":"100","code":"OK","message":"OK",'
        '"request_id":"request-1","attempts":2}}'
    )


def test_the_body_of_an_update_is_this_text_and_shows_of_a_new_a_only_a_masked_form() -> None:
    parameters = {**UPDATE, "OperateType": "updateNoA", "PhoneNoA": "15012345678"}
    assert body_of_change(JobKind.UPDATE, JobState.UPDATED, parameters) == (
        '{"type":"update.succeeded","timestamp":"2026-01-02T03:04:05.678Z","data":{"version":1,"job_id":"k1",'
        '"state":"updated","phone_no_x":"17000001111","subs_id":"100","operate_type":"updateNoA",'
        '"phone_no_a":"150****5678","expiration":"","out_id":"","code":"","message":"","request_id":"","attempts":2}}'
    )


@pytest.mark.parametrize(
    ("operate_type", "name", "value", "field"),
    [
        ("updateExpire", "Expiration", "2099-01-01 00:00:00", "expiration"),
        ("updateOutId", "OutId", "客户-7", "out_id"),
    ],
)
def test_an_update_tells_what_it_set(operate_type: str, name: str, value: str, field: str) -> None:
    parameters = {**UPDATE, "OperateType": operate_type, name: value}
    data = json.loads(body_of_change(JobKind.UPDATE, JobState.UPDATED, parameters))["data"]
    assert (data["operate_type"], data[field]) == (operate_type, value)


def test_a_new_b_is_not_told_at_all() -> None:
    parameters = {**UPDATE, "OperateType": "updateNoB", "PhoneNoB": "15012345678"}
    assert "5678" not in body_of_change(JobKind.UPDATE, JobState.UPDATED, parameters)


@pytest.mark.parametrize("kind", [JobKind.UPDATE, JobKind.UNBIND])
@pytest.mark.parametrize("state", [JobState.FAILED, JobState.EXPIRED])
def test_a_change_that_was_not_made_has_its_type_also_where_its_request_was_refused(
    kind: JobKind, state: JobState
) -> None:
    event = json.loads(body_of_change(kind, state, {}, code="request.invalid", message="subs_id: is required"))
    assert event["type"] == f"{kind.value}.{state.value}"
    assert (event["data"]["code"], event["data"]["subs_id"]) == ("request.invalid", "")
