"""A bind request: its forms, its rules, its faults."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.bind_request import BindRequest
from worker.domain.job import Lane, OnDoubt
from worker.errors import InvalidRequestError

A = "15000000000"
NOON = datetime(2026, 12, 1, 4, tzinfo=UTC)
MINIMUM: dict[str, Any] = {"phone_no_a": A, "expires_in": "2h"}

FULL_BY_WIRE_NAME: dict[str, Any] = {
    "PhoneNoA": A, "PoolKey": "FC1", "Expiration": "2026-12-01 12:00:00", "PhoneNoB": "057188888888",
    "PhoneNoX": "95013812345678", "ExpectCity": "上海", "IsRecordingEnabled": "True", "OutId": "o 1",
    "OutOrderId": "order-1", "NoType": "AXB_170", "CallDisplayType": "1", "CallRestrict": "CONTROL_AX_DISABLE",
    "CallTimeout": "20", "ASRStatus": False, "ASRModelId": "m", "RingConfig": {"AXNRing_A": "1", "AXNRing_N": "你"},
    "Extend": "e", "OwnerId": 5, "ResourceOwnerId": "6", "ResourceOwnerAccount": "acc",
}  # fmt: skip
FULL_ON_THE_WIRE = FULL_BY_WIRE_NAME | {
    "IsRecordingEnabled": "true", "ASRStatus": "false", "RingConfig": '{"AXNRing_A":"1","AXNRing_N":"你"}',
    "OwnerId": "5",
}  # fmt: skip
NAMES = {field.alias: name for name, field in BindRequest.model_fields.items() if field.alias}
FULL = {NAMES[wire_name]: value for wire_name, value in FULL_BY_WIRE_NAME.items()}


def faults_of(**given_: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        BindRequest(**given_)
    return {fault.field: fault.rule for fault in caught.value.faults}


def test_wire_names_and_snake_case_mean_the_same() -> None:
    assert set(FULL_BY_WIRE_NAME) == set(NAMES)
    assert BindRequest(**FULL_BY_WIRE_NAME) == BindRequest(**FULL) == BindRequest.from_mapping(FULL)


def test_the_wire_gets_every_parameter_as_text() -> None:
    assert BindRequest(**FULL).wire_parameters(pool_key="FC1", expiration=NOON) == FULL_ON_THE_WIRE


def test_the_wire_gets_nothing_that_was_not_given() -> None:
    request = BindRequest(**MINIMUM, idempotency_key="k", callback_url="https://h", deadline="5s", lane="batch")
    assert request.wire_parameters(pool_key="FC2", expiration=NOON) == {
        "PoolKey": "FC2",
        "Expiration": "2026-12-01 12:00:00",
        "PhoneNoA": A,
    }
    assert "PoolKey" not in request.wire_parameters(pool_key="", expiration=NOON)


def test_a_field_under_both_its_names_is_refused_beside_other_faults() -> None:
    assert faults_of(**MINIMUM, PhoneNoA=A, lane="x") == {
        "phone_no_a": "is given twice, also as PhoneNoA",
        "lane": "must be 'checkout' or 'batch'",
    }


@pytest.mark.parametrize(
    ("unknown", "hint"),
    [("PhoneNA", "did you mean PhoneNoA?"), ("phone_no_bb", "did you mean phone_no_b?"), ("expire_in", "expires_in?")],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(unknown: str, hint: str) -> None:
    rule = faults_of(**MINIMUM, **{unknown: "x"})[unknown]
    assert rule.startswith("is no field of a bind request")
    assert hint in rule


def test_an_unknown_field_unlike_any_other_is_refused_without_a_guess() -> None:
    assert faults_of(**MINIMUM, zzzz=1) == {"zzzz": "is no field of a bind request"}


BAD_BY_FIELD: dict[str, Any] = {
    "renew": "x",
    "phone_no_a": "150 0000 0000", "expiration": "2026-02-30 00:00:00", "phone_no_b": "+8615000000000",
    "expect_city": "a\nb", "is_recording_enabled": "maybe", "out_id": "x" * 1025,
    "no_type": b"x", "call_display_type": 4, "call_restrict": "CONTROL_CLEAR_DISABLE",
    "call_timeout": 0, "asr_status": 2, "asr_model_id": [], "ring_config": "[1]", "extend": "\ud800", "owner_id": "-1",
    "resource_owner_id": "x", "resource_owner_account": "\x00", "on_doubt": "ask", "pool_key": "",
    "phone_no_x": 15000000000, "out_order_id": 7, "callback_url": "ftp://h",
    "idempotency_key": "k" * 257, "callback_deadline": "tomorrow", "callback_order_key": "o" * 257,
    "deadline": "2026-12-01T00:00:00", "lane": "renewal",
}  # fmt: skip


def test_all_faults_are_named_at_once_by_their_snake_case_names() -> None:
    assert list(faults_of(**BAD_BY_FIELD)) == list(BAD_BY_FIELD)
    wire_names = {name: wire_name for wire_name, name in NAMES.items()}
    assert list(faults_of(**{wire_names.get(name, name): bad for name, bad in BAD_BY_FIELD.items()})) == list(
        BAD_BY_FIELD
    )


def test_missing_fields_are_named_together() -> None:
    assert faults_of() == {"phone_no_a": "is required", "expiration": "give either expiration or expires_in"}


def test_rules_are_said_in_words_of_ours() -> None:
    for rule in faults_of(**BAD_BY_FIELD).values():
        assert re.match(r"must (be|not|hold)|is (required|given)", rule), rule
        assert "<" not in rule


@pytest.mark.parametrize(
    "both", [{"expiration": "2026-12-01 12:00:00", "expires_in": "2h"}, {"Expiration": NOON, "expires_in": 1}, {}]
)
def test_exactly_one_of_expiration_and_expires_in_is_given(both: dict[str, Any]) -> None:
    assert faults_of(phone_no_a=A, **both) == {"expiration": "give either expiration or expires_in"}


def test_none_counts_as_not_given() -> None:
    assert BindRequest(**MINIMUM, expiration=None, out_id=None).out_id is None
    assert faults_of(phone_no_a=A, expires_in=None)["expiration"] == "give either expiration or expires_in"


@pytest.mark.parametrize("given_", [[], "x", None, {1: "x"}, [("phone_no_a", A)]])
def test_only_a_mapping_of_names_is_a_request(given_: object) -> None:
    with pytest.raises(InvalidRequestError, match="request: must be a mapping of field names to values"):
        BindRequest.from_mapping(given_)


@pytest.mark.parametrize("field", sorted(set(BindRequest.model_fields)))
@given(
    number=st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True),
    frame=st.sampled_from(["{}", "{}x", "T{}", "-{}", "+86{}", '["{}"]', "ftp://{}/", "{} "]),
    separator=st.sampled_from(["", " ", "-", "_", ","]),
)
@settings(max_examples=25)
def test_an_error_never_holds_a_whole_phone_number(field: str, number: str, frame: str, separator: str) -> None:
    written = frame.format(separator.join((number[:3], number[3:7], number[7:])))
    for bad in (written, [written], {"a": {written}}, {written: number}, int(number), [int(number)]):
        try:
            BindRequest(**{**MINIMUM, "zz": 1, field: bad})
        except InvalidRequestError as invalid:
            assert number not in re.sub(r"[^\d*;]", "", str(invalid))  # noqa: PT017 - some are valid there


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True))
def test_an_unknown_fields_name_is_masked_too(number: str) -> None:
    assert list(faults_of(**MINIMUM, **{number: "x"})) == [f"{number[:3]}****{number[-4:]}"]


@pytest.mark.parametrize("truth", [True, "true", "True", "1", 1, "yes", "on"])
def test_true_may_be_written_in_any_form(truth: object) -> None:
    assert BindRequest(**MINIMUM, is_recording_enabled=truth).is_recording_enabled is True


@pytest.mark.parametrize("falsehood", [False, "false", "False", "0", 0, "no", "off"])
def test_false_may_be_written_in_any_form_and_is_sent(falsehood: object) -> None:
    request = BindRequest(**MINIMUM, asr_status=falsehood)
    assert request.wire_parameters(pool_key="P", expiration=NOON)["ASRStatus"] == "false"


@pytest.mark.parametrize("config", [{"AXNRing_A": "铃"}, '{"AXNRing_A": "铃"}', '{"AXNRing_A":"\\u94c3"}'])
def test_a_ring_config_is_a_mapping_or_its_json(config: object) -> None:
    assert BindRequest(**MINIMUM, ring_config=config).ring_config == '{"AXNRing_A":"铃"}'


@pytest.mark.parametrize(
    "config", ["", "x", "[1]", 5, [], {"a": object()}, {"a": {1, 2}}, {"a": float("nan")}, '{"a":NaN}', "[" * 100_000]
)
def test_what_is_no_json_object_is_no_ring_config(config: object) -> None:
    assert faults_of(**MINIMUM, ring_config=config)["ring_config"].startswith("must be a JSON object")


@pytest.mark.parametrize("number", [2, "2"])
def test_whole_numbers_may_be_written_as_text(number: object) -> None:
    request = BindRequest(**MINIMUM, call_display_type=number, call_timeout=number)
    assert (request.call_display_type, request.call_timeout) == (2, 2)


@pytest.mark.parametrize("deadline", ["30s", 30, "30", timedelta(seconds=30)])
def test_a_deadline_is_a_span(deadline: object) -> None:
    assert BindRequest(**MINIMUM, deadline=deadline).deadline == timedelta(seconds=30)


@pytest.mark.parametrize("deadline", ["2026-12-01T04:00:00Z", "2026-12-01 12:00:00+08:00", "20261201T040000Z", NOON])
def test_a_deadline_is_a_moment_with_its_zone(deadline: object) -> None:
    assert BindRequest(**MINIMUM, deadline=deadline).deadline == NOON


@pytest.mark.parametrize(
    "deadline",
    ["2026-12-01T00:00:00", datetime(2026, 12, 1), "T", "", "x", True, -1, float("inf"), "9999-12-31T23:59-12:00"],  # noqa: DTZ001
)
def test_anything_else_is_no_deadline(deadline: object) -> None:
    assert faults_of(**MINIMUM, deadline=deadline)["deadline"].startswith("must")


def test_by_default_a_person_waits_and_a_doubt_is_held() -> None:
    request = BindRequest(**MINIMUM)
    assert (request.lane, request.on_doubt) == (Lane.CHECKOUT, OnDoubt.HOLD)
    other = BindRequest(**MINIMUM, lane="batch", on_doubt="rebind")
    assert (other.lane, other.on_doubt) == (Lane.BATCH, OnDoubt.REBIND)


def test_equal_requests_have_equal_digests_however_they_are_written() -> None:
    assert BindRequest(**FULL).digest() == BindRequest(**FULL_BY_WIRE_NAME).digest()
    assert BindRequest(**FULL).digest() == BindRequest(**FULL | {"expiration": NOON, "owner_id": "5"}).digest()
    assert BindRequest(**MINIMUM).digest() == BindRequest(phone_no_a=A, expires_in=7200, lane="checkout").digest()


def test_a_deadlines_zone_does_not_change_the_digest() -> None:
    one, other = (BindRequest(**MINIMUM, deadline=text) for text in ("2026-12-01T04:00Z", "2026-12-01T12:00+08:00"))
    assert one == other
    assert one.digest() == other.digest()


def test_the_digest_is_the_same_in_every_release() -> None:
    assert BindRequest(**FULL).digest() == "16a16414d027b3b9444dd1e32beb36ed"


@given(
    text=st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20),
    owner=st.integers(1, 9),
    seconds=st.integers(0, 10**9),
)
def test_the_digest_is_of_what_was_given_in_sorted_compact_json(text: str, owner: int, seconds: int) -> None:
    moment = NOON + timedelta(seconds=seconds)
    request = BindRequest(phone_no_a=A, expiration=moment, out_id=text, owner_id=owner, lane="batch")
    expiration = (moment + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S")
    given_ = f'"lane":"batch","out_id":{json.dumps(text, ensure_ascii=False)},"owner_id":{owner},"phone_no_a":"{A}"'
    canonical = f'{{"expiration":"{expiration}",{given_}}}'
    assert request.digest() == hashlib.sha256(canonical.encode()).hexdigest()[:32]


def test_the_idempotency_key_is_no_part_of_the_digest() -> None:
    assert BindRequest(**MINIMUM, idempotency_key="a").digest() == BindRequest(**MINIMUM).digest()


OTHER: dict[str, Any] = {
    "phone_no_a": "15000000001", "pool_key": "P", "expires_in": "3h", "phone_no_b": A, "phone_no_x": A,
    "expect_city": "北京", "is_recording_enabled": False, "out_id": "1", "out_order_id": "1", "no_type": "1",
    "call_display_type": 1, "call_restrict": "CONTROL_BX_DISABLE", "call_timeout": 1, "asr_status": True,
    "asr_model_id": "1", "ring_config": {}, "extend": "1", "owner_id": 1, "resource_owner_id": 1,
    "resource_owner_account": "1", "callback_url": "https://h", "callback_secret_name": "s", "callback_deadline": 1,
    "callback_order_key": "o", "deadline": 1, "on_doubt": "rebind", "lane": "batch",
    "renew": {"while": "open"},
}  # fmt: skip


def test_every_other_field_changes_the_digest() -> None:
    assert {*OTHER, "idempotency_key", "expiration"} == set(BindRequest.model_fields)
    digests = {BindRequest(**MINIMUM | {name: value}).digest() for name, value in OTHER.items()}
    digests |= {BindRequest(**MINIMUM).digest(), BindRequest(phone_no_a=A, expiration=NOON).digest()}
    assert len(digests) == len(OTHER) + 2


def test_a_request_cannot_be_changed_and_its_error_can_be_printed() -> None:
    with pytest.raises(Exception, match="frozen"):
        BindRequest(**MINIMUM).phone_no_a = "x"  # type: ignore[misc]
    with pytest.raises(InvalidRequestError) as caught:
        BindRequest.from_mapping(json.loads('{"out_id": "\\ud800", "\\ud800": 1}'))
    assert str(caught.value).encode()
