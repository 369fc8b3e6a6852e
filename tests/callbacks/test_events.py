import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.callbacks.events import LONGEST_BODY_BYTES, BindingEvent, binding_body, ended_body, orphan_found_body
from worker.domain.bind_request import BindRequest
from worker.domain.job import JobKind, JobState, Orphan

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
    '"state":"updated","phone_no_a":"150****5678","phone_no_x":"17000001111","subs_id":"100","expiration":"",'
    '"out_id":"","out_order_id":"","code":"OK","message":"","request_id":"","attempts":1,"operate_type":"updateNoA"}}'
)
UNBIND = {"SubsId": "100", "SecretNo": "17000001111", "PoolKey": "FC1"}
EXPIRED_UNBIND_BODY = (
    '{"type":"unbind.expired","timestamp":"2026-01-02T03:04:05.678Z","data":{"version":1,"job_id":"k1",'
    '"state":"expired","phone_no_a":"","phone_no_x":"17000001111","subs_id":"100","expiration":"","out_id":"",'
    '"out_order_id":"","code":"deadline.passed","message":"","request_id":"","attempts":1}}'
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


def test_a_chosen_x_that_was_not_bound_is_not_told_as_bound() -> None:
    event = json.loads(
        ended_body(
            kind=JobKind.BIND,
            job_id="k1",
            state=JobState.FAILED,
            unix_ms=1,
            attempts=1,
            parameters={**PARAMETERS, "PhoneNoX": "17000001111"},
            fields={},
        )
    )
    assert (event["data"]["phone_no_x"], event["data"]["subs_id"]) == ("", "")


ORPHAN_BODY = (
    '{"type":"binding.orphaned","timestamp":"1970-01-01T00:00:00.001Z","data":{"version":1,"job_id":"k1",'
    '"state":"bound","phone_no_a":"150****5678","phone_no_x":"17000002222","subs_id":"200",'
    '"expiration":"2099-01-01 00:00:00","out_id":"客户-7","out_order_id":"order-9","unbind_job_id":"u1"}}'
)


def orphan_body(parameters: dict[str, str], *, full_phone_no_a: bool = False) -> str:
    orphan = Orphan("17000002222", "200", "u1")
    return orphan_found_body(
        job_id="k1",
        state=JobState.BOUND,
        unix_ms=1,
        parameters=parameters,
        orphan=orphan,
        full_phone_no_a=full_phone_no_a,
    )


def test_an_orphan_is_told_with_what_its_request_was() -> None:
    assert orphan_body(PARAMETERS) == ORPHAN_BODY


def test_a_itself_is_told_only_where_the_setting_says_so() -> None:
    bind = ended_body(
        kind=JobKind.BIND,
        job_id="k1",
        state=JobState.BOUND,
        unix_ms=1,
        attempts=1,
        parameters=PARAMETERS,
        fields={"message": "A 15012345678 bound"},
        full_phone_no_a=True,
    )
    kept = binding_body(
        BindingEvent.LOST, job_id="k1", unix_ms=1, parameters=PARAMETERS, fields={"message": "15012345678 lost"},
        full_phone_no_a=True,
    )  # fmt: skip
    for body in (bind, orphan_body(PARAMETERS, full_phone_no_a=True), kept):
        assert body.count("15012345678") == 1
        assert json.loads(body)["data"]["phone_no_a"] == "15012345678"


# Control characters, quotes and emoji take the most bytes in JSON; a provider may send half a surrogate pair.
HEAVY = st.text(st.characters(categories=["L", "N", "Cc", "Cs", "So", "Po"]), max_size=200).map(lambda text: text * 40)


@given(
    kind=st.sampled_from(JobKind),
    state=st.sampled_from([JobState.BOUND, JobState.FAILED, JobState.IN_DOUBT, JobState.EXPIRED]),
    parameters=st.dictionaries(
        st.sampled_from(["PhoneNoA", "PhoneNoX", "SubsId", "Expiration", "OutId", "OutOrderId", "OperateType"]), HEAVY
    ),
    fields=st.dictionaries(
        st.sampled_from(["phone_no_x", "subs_id", "code", "message", "request_id"]),
        st.one_of(HEAVY, st.sampled_from(["\x01" * 50_000, "😀" * 50_000, '"' * 50_000, "\ud800" * 50_000])),
    ),
    full=st.booleans(),
)
def test_a_body_is_json_below_20_kb_whatever_was_put_into_it(
    kind: JobKind, state: JobState, parameters: dict[str, str], fields: dict[str, str], full: bool
) -> None:
    bodies = [
        ended_body(
            kind=kind,
            job_id="k1",
            state=state,
            unix_ms=1_767_323_045_678,
            attempts=2,
            parameters=parameters,
            fields=fields,
            full_phone_no_a=full,
        ),
        orphan_body(parameters, full_phone_no_a=full),
        binding_body(
            BindingEvent.REBOUND, job_id="k1", unix_ms=1, parameters=parameters, fields=fields, full_phone_no_a=full
        ),
    ]
    for body in bodies:
        assert len(body.encode()) < LONGEST_BODY_BYTES
        assert json.loads(body)["data"]["version"] == 1


@pytest.mark.parametrize("letter", ["a", '"', "\\", "号", "😀"])
def test_what_a_request_may_say_is_never_cut_and_a_message_at_its_end_only(letter: str) -> None:
    longest = BindRequest(phone_no_a="15012345678", expires_in="2h", out_id=letter * 1024).out_id
    assert longest is not None
    body = ended_body(
        kind=JobKind.BIND,
        job_id="k1",
        state=JobState.FAILED,
        unix_ms=1,
        attempts=1,
        parameters={"OutId": longest, "OutOrderId": longest},
        fields={"message": letter * 50_000},
    )
    data = json.loads(body)["data"]
    assert data["out_id"] == data["out_order_id"] == longest
    assert data["message"].endswith("…")
    assert len(data["message"]) > 1_000
    assert set(data["message"][:-1]) == {letter}
