import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.provider.answers import bound_number, parse_answer

BOUND = {"Extension": "13000000001", "SecretNo": "17000000000", "SubsId": "1000000768798832"}
BIND_JSON = json.dumps({"Code": "OK", "Message": "OK", "RequestId": "R", "SecretBindDTO": BOUND}).encode()
BIND_XML = (
    b'<?xml version="1.0" encoding="UTF-8"?><BindAxnResponse><Message>OK</Message><RequestId>R</RequestId>'
    b"<Code>OK</Code><SecretBindDTO><SubsId>1000000768798832</SubsId><SecretNo> 17000000000 </SecretNo>"
    b"<Extension>13000000001</Extension></SecretBindDTO></BindAxnResponse>"
)


@pytest.mark.parametrize("body", [BIND_JSON, BIND_XML, b"\xef\xbb\xbf" + BIND_JSON, b"\r\n " + BIND_XML + b"\n"])
def test_json_and_xml_come_to_the_same_mapping(body: bytes) -> None:
    assert parse_answer(body) == {"Code": "OK", "Message": "OK", "RequestId": "R", "SecretBindDTO": BOUND}


@pytest.mark.parametrize(
    ("wire", "read"),
    [
        ({"Code": 200}, {"Code": "200"}),
        ({"Amount": 1000000768798832123}, {"Amount": "1000000768798832123"}),
        ({"NeedRecord": True, "ASRStatus": False}, {"NeedRecord": "true", "ASRStatus": "false"}),
        ({"CallRestrict": "CONTROL_AX_DISABLE "}, {"CallRestrict": "CONTROL_AX_DISABLE"}),
        ({"SecretBindDTO": None}, {"SecretBindDTO": ""}),
        ({"SecretBindDTO": {}}, {"SecretBindDTO": {}}),
        ({"code": "X", "message": "m", "requestId": "R"}, {"Code": "X", "Message": "m", "RequestId": "R"}),
        ({"Code": "X", "code": "Y"}, {"Code": "X"}),
        ({"code": "Y", "Code": "X"}, {"Code": "X"}),
        ({"secretBindDTO": {"subsId": 1, "secretNo": 2}}, {"SecretBindDTO": {"SubsId": "1", "SecretNo": "2"}}),
        ({"L": {"remainDTO": [{"City": "上海"}, 1, None]}}, {"L": {"remainDTO": [{"City": "上海"}, "1", ""]}}),
        ({"Message": "\ud800"}, {"Message": "?"}),
    ],
)
def test_json_is_read_leniently(wire: dict[str, Any], read: dict[str, Any]) -> None:
    assert parse_answer(json.dumps(wire).encode()) == read


@pytest.mark.parametrize(
    ("wire", "read"),
    [
        ("<Error><Code>X</Code><HostId/></Error>", {"Code": "X", "HostId": ""}),
        ("<Error xmlns='urn:a'><Code>X</Code></Error>", {"Code": "X"}),
        ("<?xml version='1.0' encoding='GBK'?><Error><Code>X</Code></Error>", {"Code": "X"}),
        ("<AResponse><L><r><C>1</C></r><r><C>2</C></r></L></AResponse>", {"L": {"r": [{"C": "1"}, {"C": "2"}]}}),
        ("<AResponse><r>1</r><r>2</r><r>3</r></AResponse>", {"r": ["1", "2", "3"]}),
        ("<AResponse/>", {}),
    ],
)
def test_xml_is_read_leniently(wire: str, read: dict[str, Any]) -> None:
    assert parse_answer(wire.encode()) == read


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"OK",
        b"[]",
        b'"OK"',
        b"null",
        b'{"Code": "OK"',
        b"<BindAxnResponse><Code>OK</Code>",
        b"<html><body><h1>502 Bad Gateway</h1></body></html>",
        b"<!DOCTYPE html><html></html>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Error><Code>&a;</Code></Error>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Error><Code>X</Code></Error>',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_answer_is_none(body: bytes) -> None:
    assert parse_answer(body) is None


@pytest.mark.parametrize(
    "body", [b"<Error>" + b"<a>" * 5_000 + b"</a>" * 5_000 + b"</Error>", b'{"a":' * 50 + b"1" + b"}" * 50]
)
def test_depth_is_cut_off(body: bytes) -> None:
    assert parse_answer(body) is not None


def test_digits_without_end_are_only_text() -> None:
    digits = "9" * 10_000
    assert parse_answer(f'{{"Amount": {digits}}}'.encode()) == {"Amount": digits}


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_make_the_parser_raise(body: bytes) -> None:
    answer = parse_answer(body)
    assert answer is None or isinstance(bound_number(answer), tuple | None)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["Code", "SecretBindDTO", "secretBindDTO", "x"]), JSON_VALUES))
def test_every_json_object_is_read_and_can_be_stored(wire: dict[str, Any]) -> None:
    answer = parse_answer(json.dumps(wire).encode())
    assert answer is not None
    assert isinstance(bound_number(answer), tuple | None)
    json.dumps(answer, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("dto", "number"),
    [
        (BOUND, ("1000000768798832", "17000000000", "13000000001")),
        ({"SubsId": 1000000768798832, "SecretNo": 17000000000}, ("1000000768798832", "17000000000", "")),
        ({"SubsId": "1", "SecretNo": ""}, None),
        ({"SubsId": " ", "SecretNo": "2"}, None),
        ({"SubsId": {"a": 1}, "SecretNo": "2"}, None),
        ({}, None),
        (None, None),
        ("", None),
        ([BOUND], None),
    ],
)
def test_a_bound_number_needs_subs_id_and_number(dto: Any, number: tuple[str, str, str] | None) -> None:
    answer = parse_answer(json.dumps({"SecretBindDTO": dto}).encode())
    assert answer is not None
    assert bound_number(answer) == number


def test_an_answer_without_a_binding_has_no_number() -> None:
    assert bound_number({"Code": "OK"}) is None
