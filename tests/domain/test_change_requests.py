"""Updates and unbinds: how they name a binding, and what an update sets."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.any_request import REQUEST_TYPES
from worker.domain.bind_request import BindRequest
from worker.domain.change_request import ChangeRequest
from worker.domain.job import JobKind, Lane
from worker.domain.job_ids import job_id_for_key
from worker.domain.rebind_request import RebindRequest
from worker.domain.unbind_request import UnbindRequest
from worker.domain.update_request import UpdateRequest
from worker.errors import InvalidRequestError

A = "15000000000"
X = "17000000001"
NOON = datetime(2026, 12, 1, 4, tzinfo=UTC)
BIND_JOB_ID = job_id_for_key("order-1")
NAMED: dict[str, Any] = {"subs_id": "1000000768798832", "phone_no_x": X}
OURS: dict[str, Any] = {
    "callback_url": "https://h/axn", "idempotency_key": "k", "deadline": timedelta(seconds=30), "lane": Lane.BATCH,
}  # fmt: skip
ASPECTS: dict[str, tuple[str, Any]] = {
    "phone_no_a": ("PhoneNoA", A),
    "phone_no_b": ("PhoneNoB", "057188888888"),
    "expiration": ("Expiration", "2026-12-01 12:00:00"),
    "group_id": ("GroupId", "7"),
    "call_restrict": ("CallRestrict", "CONTROL_CLEAR_DISABLE"),
    "call_display_type": ("CallDisplayType", "1"),
    "out_id": ("OutId", "o 1"),
    "is_recording_enabled": ("IsRecordingEnabled", "False"),
}
ALL: list[tuple[type[ChangeRequest], dict[str, Any]]] = [
    (UnbindRequest, {}), (UpdateRequest, {"out_id": "o"}), (RebindRequest, {"new_pool_key": "FC2"}),
]  # fmt: skip
of_all = pytest.mark.parametrize(("request_type", "aspect"), ALL, ids=["unbind", "update", "rebind"])


def faults_of(request_type: type[ChangeRequest], **given_: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        request_type(**given_)
    assert len({fault.field for fault in caught.value.faults}) == len(caught.value.faults)
    return {fault.field: fault.rule for fault in caught.value.faults}


def test_each_kind_has_its_request() -> None:
    assert {kind: request_type.kind for kind, request_type in REQUEST_TYPES.items()} == {kind: kind for kind in JobKind}


@of_all
def test_a_binding_is_named_by_its_bind_job_or_its_order_or_as_the_provider_does(
    request_type: type[ChangeRequest], aspect: dict[str, Any]
) -> None:
    by_job = request_type(bind_job_id=BIND_JOB_ID, **aspect)
    assert (by_job.bind_job_id, by_job.names_confirmed_binding) == (BIND_JOB_ID, True)
    by_order = request_type.from_mapping({"OutOrderId": "order-42", **aspect})
    assert (by_order.out_order_id, by_order.names_confirmed_binding) == ("order-42", True)
    by_name = request_type(**NAMED, pool_key="FC1", **aspect, **OURS)
    assert (by_name.subs_id, by_name.phone_no_x, by_name.pool_key) == ("1000000768798832", X, "FC1")
    assert {name: getattr(by_name, name) for name in OURS} == OURS
    assert not by_name.names_confirmed_binding
    assert request_type(**NAMED | {"is_confirmed": "true"}, **aspect).names_confirmed_binding


@of_all
@pytest.mark.parametrize("x_name", ["PhoneNoX", "SecretNo", "phone_no_x"])
def test_wire_names_and_snake_case_mean_the_same(
    request_type: type[ChangeRequest], aspect: dict[str, Any], x_name: str
) -> None:
    given_ = {"SubsId": NAMED["subs_id"], x_name: X, "ProductType": "AXN_170", **aspect}
    assert request_type(**given_) == request_type(**NAMED, product_type="AXN_170", **aspect)


@of_all
def test_a_product_type_is_the_caller_s_word_and_confirms_nothing(
    request_type: type[ChangeRequest], aspect: dict[str, Any]
) -> None:
    for named in ({"bind_job_id": BIND_JOB_ID}, {"out_order_id": "o"}):
        given = {**named, "product_type": "AXN_170", **aspect}
        assert not request_type.from_mapping(given).names_confirmed_binding


WRONGLY_NAMED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"bind_job_id": "is required (or out_order_id, or subs_id and phone_no_x)"}),
    (
        {"bind_job_id": None, "pool_key": "FC1"},
        {"bind_job_id": "is required (or out_order_id, or subs_id and phone_no_x)"},
    ),
    ({"subs_id": "1"}, {"phone_no_x": "is required (or bind_job_id for all three)"}),
    ({"SecretNo": X}, {"subs_id": "is required (or bind_job_id for all three)"}),
    *(
        (
            {"bind_job_id": BIND_JOB_ID, **beside},
            {"bind_job_id": "give either bind_job_id, or out_order_id, or subs_id, phone_no_x and pool_key"},
        )
        for beside in (NAMED, {"SubsId": "1"}, {"SecretNo": X}, {"pool_key": "FC1"}, {"OutOrderId": "o"})
    ),
    (
        {"out_order_id": "o", "pool_key": "FC1"},
        {"out_order_id": "give either bind_job_id, or out_order_id, or subs_id, phone_no_x and pool_key"},
    ),
    ({**NAMED, "PoolKey": "FC1", "product_type": "AXN_170"}, {"product_type": "give either pool_key or product_type"}),
    ({**NAMED, "SecretNo": X}, {"phone_no_x": "is given twice, also as SecretNo"}),
    ({"subs_id": "1", "PhoneNoX": X, "SecretNo": X}, {"phone_no_x": "is given twice, also as SecretNo"}),
]


@of_all
@pytest.mark.parametrize(("named", "faults"), WRONGLY_NAMED)
def test_a_binding_must_be_named_in_exactly_one_way(
    request_type: type[ChangeRequest], aspect: dict[str, Any], named: dict[str, Any], faults: dict[str, str]
) -> None:
    assert faults_of(request_type, **named, **aspect) == faults


BAD_BY_FIELD: dict[str, Any] = {
    "subs_id": "1x", "phone_no_x": "+8617000000001", "pool_key": "", "is_confirmed": "maybe",
    "callback_url": "ftp://h", "idempotency_key": "k" * 257, "deadline": "2026-12-01T00:00:00", "lane": "renewal",
}  # fmt: skip
BAD_ASPECTS: dict[str, Any] = {
    "phone_no_a": "150 0000 0000", "phone_no_b": 5, "expiration": "2026-02-30 00:00:00", "group_id": "",
    "call_restrict": "CONTROL", "call_display_type": 4, "out_id": "a\nb", "is_recording_enabled": "maybe",
    "expires_in": "soon",
}  # fmt: skip


@of_all
def test_all_faults_are_named_at_once(request_type: type[ChangeRequest], aspect: dict[str, Any]) -> None:
    assert list(faults_of(request_type, **BAD_BY_FIELD, **aspect)) == list(BAD_BY_FIELD)


@of_all
@pytest.mark.parametrize("bad", ["x", "K" * 26, "1" * 25, 5])
def test_only_an_id_names_a_bind_job(request_type: type[ChangeRequest], aspect: dict[str, Any], bad: object) -> None:
    assert list(faults_of(request_type, bind_job_id=bad, **aspect)) == ["bind_job_id"]


@of_all
@pytest.mark.parametrize("bad", ["", "１２", "-1", "1 ", "1" * 33, 1000000768798832, "{p00}"])
def test_a_subs_id_is_digits_as_text(request_type: type[ChangeRequest], aspect: dict[str, Any], bad: object) -> None:
    assert list(faults_of(request_type, subs_id=bad, phone_no_x=X, **aspect)) == ["subs_id"]


@pytest.mark.parametrize(("aspect", "on_the_wire"), ASPECTS.items())
def test_an_update_sets_one_aspect_given_by_either_name(aspect: str, on_the_wire: tuple[str, Any]) -> None:
    name, value = on_the_wire
    request = UpdateRequest(**NAMED, **{aspect: value})
    assert request == UpdateRequest(**NAMED, **{name: value})
    assert request.aspect == aspect


def test_a_span_until_the_expiration_sets_the_expiration() -> None:
    assert UpdateRequest(**NAMED, expires_in="2h").aspect == "expiration"


@pytest.mark.parametrize("value", [False, "false", 0])
def test_what_is_set_to_false_is_set(value: object) -> None:
    request = UpdateRequest(**NAMED, is_recording_enabled=value)
    assert (request.aspect, request.is_recording_enabled) == ("is_recording_enabled", False)


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({}, "is_recording_enabled"),
        ({"out_id": None}, "is_recording_enabled"),
        ({"PhoneNoA": A, "out_id": "o"}, "(given: phone_no_a, out_id)"),
        ({"expiration": NOON, "expires_in": "2h"}, "(given: expiration, expires_in)"),
    ],
)
def test_an_update_sets_exactly_one_aspect(given_: dict[str, Any], told: str) -> None:
    rule = faults_of(UpdateRequest, **NAMED, **given_)["request"]
    assert rule.startswith("give exactly one of phone_no_a, phone_no_b, expiration, ")
    assert rule.endswith(told)


@pytest.mark.parametrize("aspect", BAD_ASPECTS)
def test_a_bad_aspect_is_named(aspect: str) -> None:
    assert list(faults_of(UpdateRequest, **NAMED, **{aspect: BAD_ASPECTS[aspect]})) == [aspect]


def test_an_unbind_has_no_aspects() -> None:
    assert faults_of(UnbindRequest, **NAMED, Expiration=NOON) == {"Expiration": "is no field of an unbind request"}
    rule = faults_of(UpdateRequest, **NAMED, out_id="o", phone_no_c=A)["phone_no_c"]
    assert rule.startswith("is no field of an update request; did you mean phone_no_")


@pytest.mark.parametrize("request_type", [UnbindRequest, UpdateRequest, RebindRequest])
@given(number=st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), data=st.data())
@settings(max_examples=50)
def test_an_error_never_holds_a_whole_phone_number(
    request_type: type[ChangeRequest], number: str, data: st.DataObject
) -> None:
    field = data.draw(st.sampled_from(sorted(request_type.model_fields)))
    for bad in (f"{number[:3]} {number[3:7]}-{number[7:]}", [number], {number: number}, int(number), f"x{number}"):
        try:
            request_type(**{**NAMED, "zz": 1, field: bad})
        except InvalidRequestError as invalid:
            assert number not in re.sub(r"[^\d*;]", "", str(invalid))  # noqa: PT017 - some are valid there


@pytest.mark.parametrize("given_", [[], "x", None, {1: "x"}])
def test_only_a_mapping_of_names_is_a_request(given_: object) -> None:
    with pytest.raises(InvalidRequestError, match="request: must be a mapping of field names to values"):
        UnbindRequest.from_mapping(given_)


def test_the_digest_tells_requests_apart_whatever_their_kind_and_forgets_the_key() -> None:
    requests = [
        BindRequest(phone_no_a=A, expires_in="2h"),
        UnbindRequest(**NAMED),
        UnbindRequest(**NAMED, is_confirmed=True),
        UnbindRequest(bind_job_id=BIND_JOB_ID),
        RebindRequest(**NAMED),
        RebindRequest(**NAMED, mode="same-x"),
        RebindRequest(**NAMED, phone_no_a=A),
        UpdateRequest(**NAMED, phone_no_a=A),
        UpdateRequest(**NAMED, phone_no_b=A),
        UpdateRequest(**NAMED, expires_in="2h"),
        UpdateRequest(**NAMED, is_recording_enabled=True),
        UpdateRequest(**NAMED, is_recording_enabled=False),
        UpdateRequest(bind_job_id=BIND_JOB_ID, phone_no_a=A),
    ]
    assert len({request.digest() for request in requests}) == len(requests)
    assert UnbindRequest(**NAMED, idempotency_key="k").digest() == UnbindRequest(**NAMED).digest()


def test_the_digest_is_the_same_in_every_release() -> None:
    assert UnbindRequest(**NAMED, pool_key="FC1").digest() == "fb8fe0c144660363f938ba5e6a9a5ca5"
    assert UpdateRequest(**NAMED, expiration=NOON, deadline="30s").digest() == "4c226982c2d97236711c99bbe49bca5a"


def test_an_error_about_any_text_can_be_printed() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        UpdateRequest.from_mapping(json.loads('{"out_id": "\\ud800", "\\ud800": 1}'))
    assert str(caught.value).encode()
