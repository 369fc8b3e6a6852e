from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.provider.requests import Call, Credentials, Endpoint, build_v1, build_v3, timestamp_text
from worker.provider.signing import sign_v1

NONCE = "00112233445566778899aabbccddeeff"
BIND = {
    "PoolKey": "FC123456",
    "PhoneNoA": "15000000000",
    "Expiration": "2026-01-02 12:00:00",
    "ExpectCity": "上海",
    "OutId": "a b*c~d/e+f&g=h",
    "IsRecordingEnabled": "true",
}
CALL = Call("BindAxn", BIND, NONCE, "2026-01-02T03:04:05Z")
ENDPOINT = Endpoint.parse("https://dyplsapi.aliyuncs.com")
KEY = Credentials("testid", "testsecret")
STS_KEY = Credentials("testid", "testsecret", "STSTOKEN+/=")


def test_v3_is_laid_out_and_signed_as_the_official_sdk_does() -> None:
    request = build_v3(CALL, endpoint=ENDPOINT, credentials=KEY, answer_format="json")
    assert request.content == b""
    assert request.url.startswith("https://dyplsapi.aliyuncs.com/?ExpectCity=%E4%B8%8A%E6%B5%B7&")
    assert dict(parse_qsl(urlsplit(request.url).query)) == BIND
    assert request.headers == {
        "host": "dyplsapi.aliyuncs.com",
        "accept": "application/json",
        "x-acs-action": "BindAxn",
        "x-acs-version": "2017-05-25",
        "x-acs-date": "2026-01-02T03:04:05Z",
        "x-acs-signature-nonce": NONCE,
        "x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "authorization": (
            "ACS3-HMAC-SHA256 Credential=testid,"
            "SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,"
            "Signature=8f68a77ca7e1568aec9240a868db4fdc11942d7b9a72a29cf1eb74e6a6f29d12"
        ),
    }


def test_v3_signs_the_security_token_and_its_key() -> None:
    headers = build_v3(CALL, endpoint=ENDPOINT, credentials=STS_KEY, answer_format="xml").headers
    assert headers["accept"] == "application/xml"
    assert (headers["x-acs-security-token"], headers["x-acs-accesskey-id"]) == ("STSTOKEN+/=", "testid")
    assert headers["authorization"].endswith("727182d121106a8f18683e09fe4c7400e6ca87ace8880637c4333295f69a44c7")


@pytest.mark.parametrize(
    ("credentials", "signature"),
    [(KEY, "Zy9oUd7wwoY2kjTmJP7KUMBOMbQ="), (STS_KEY, "+9bFF1edxh05vviz3ewQx6HWx5Y=")],
    ids=["plain", "sts"],
)
def test_v1_puts_everything_into_the_form_body(credentials: Credentials, signature: str) -> None:
    call = Call("BindAxn", BIND | {"RegionId": "cn-hangzhou"}, NONCE, "2026-01-02T03:04:05Z")
    request = build_v1(call, endpoint=ENDPOINT, credentials=credentials, answer_format="json")
    assert request.url == "https://dyplsapi.aliyuncs.com/"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    form = dict(parse_qsl(request.content.decode()))
    assert form.items() >= BIND.items()
    assert form["Signature"] == signature
    assert form.get("SecurityToken", "") == credentials.security_token


@pytest.mark.parametrize(("answer_format", "named"), [("json", "JSON"), ("xml", "XML")])
def test_v1_always_names_the_format(answer_format: str, named: str) -> None:
    request = build_v1(CALL, endpoint=ENDPOINT, credentials=KEY, answer_format=answer_format)  # type: ignore[arg-type]
    assert dict(parse_qsl(request.content.decode()))["Format"] == named


def test_a_business_parameter_cannot_take_the_place_of_a_common_one() -> None:
    call = Call("BindAxn", {"Action": "BuySecretNo", "Signature": "mine"}, NONCE, "2026-01-02T03:04:05Z")
    form = dict(parse_qsl(build_v1(call, endpoint=ENDPOINT, credentials=KEY, answer_format="json").content.decode()))
    assert form["Action"] == "BindAxn"
    assert form["Signature"] == sign_v1(method="POST", parameters=form, secret="testsecret")


NAMES = st.text(max_size=8).map("x".__add__)  # none of the common ones, which outrank the business's


@given(st.dictionaries(NAMES, st.text(max_size=20), max_size=5))
def test_every_text_survives_the_wire_in_both_versions(parameters: dict[str, str]) -> None:
    call = Call("BindAxn", parameters, NONCE, "2026-01-02T03:04:05Z")
    query = urlsplit(build_v3(call, endpoint=ENDPOINT, credentials=KEY, answer_format="json").url).query
    assert dict(parse_qsl(query, keep_blank_values=True)) == parameters
    form = build_v1(call, endpoint=ENDPOINT, credentials=KEY, answer_format="json").content.decode()
    assert dict(parse_qsl(form, keep_blank_values=True)).items() >= parameters.items()


@pytest.mark.parametrize(
    ("text", "origin", "host"),
    [
        ("https://dyplsapi.aliyuncs.com", "https://dyplsapi.aliyuncs.com", "dyplsapi.aliyuncs.com"),
        ("https://dyplsapi.aliyuncs.com/", "https://dyplsapi.aliyuncs.com", "dyplsapi.aliyuncs.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
    ],
)
def test_an_endpoint_is_scheme_host_and_port(text: str, origin: str, host: str) -> None:
    assert Endpoint.parse(text) == Endpoint(origin, host)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dyplsapi.aliyuncs.com",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://a?b=c",
        "https://a#b",
        "https://u:p@a",
    ],
)
def test_anything_else_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match="endpoint must be"):
        Endpoint.parse(text)


def test_nothing_secret_and_no_number_shows_in_a_repr() -> None:
    request = build_v3(CALL, endpoint=ENDPOINT, credentials=STS_KEY, answer_format="json")
    shown = f"{STS_KEY!r} {CALL!r} {request!r}"
    assert "testid" in shown
    for hidden in ("testsecret", "STSTOKEN", "15000000000"):
        assert hidden not in shown


def test_timestamps_are_utc_to_the_second() -> None:
    assert timestamp_text(1_767_323_045_999) == "2026-01-02T03:04:05Z"
