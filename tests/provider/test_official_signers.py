"""Our signatures beside those of the provider's own packages, over random parameters."""

from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from worker.provider.requests import Call, Credentials, Endpoint, build_v1, build_v3
from worker.provider.signing import authorization_v3, canonical_query, sign_v1, sign_v3, string_to_sign_v1

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")

SETS = 400
#: What the encoders of this world treat in different ways, and anything else.
AWKWARD = st.sampled_from([*"*~+ %&=/?#;:@!'()-_.,\"\\\n\t", "%20", "%7E", "%2B", "é", "上海", "😀", "\x00", "\xad"])
TEXT = st.lists(AWKWARD | st.characters(exclude_categories=["Cs"]), max_size=12).map("".join)
PARAMETERS = st.dictionaries(TEXT.filter(bool), TEXT, max_size=8)
#: In V3 the current client does not encode names, against the signature's own page; the API's names need no encoding.
PLAIN_NAMES = st.text("AZaz09-_.~", min_size=1, max_size=12)
PLAIN_PARAMETERS = st.dictionaries(PLAIN_NAMES, TEXT, max_size=8)
PLAIN_AT_ONCE = {"Z": "*~+ %", "A": "", "a.b": "~*", "a": "上海😀", "Aa": "a+b c%20"}
ALL_AT_ONCE = {"a b": "*~+ %", "A": "", "~": "~*", "é": "上海😀", "a": "a+b c%20", "Z/": "=&"}
#: Headers are ASCII; blanks at their ends are no part of their value.
TOKEN = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
MANY = settings(max_examples=SETS, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)

NONCE, STAMP = "00112233445566778899aabbccddeeff", "2026-01-02T03:04:05Z"
ENDPOINT = Endpoint.parse("https://dyplsapi.aliyuncs.com")


@pytest.fixture(scope="module")
def current() -> Any:
    """The signing half of the current client."""
    return pytest.importorskip("alibabacloud_tea_openapi.utils", exc_type=ImportError).Utils


@pytest.fixture(scope="module")
def older() -> ModuleType:
    """The V1 composer of the older client."""
    composer: ModuleType = pytest.importorskip("aliyunsdkcore.auth.composer.rpc_signature_composer")
    return composer


@pytest.fixture(scope="module")
def request_class() -> Any:
    return pytest.importorskip("darabonba.request").DaraRequest


@MANY
@given(parameters=PARAMETERS, secret=SECRET, method=st.sampled_from(["GET", "POST"]))
@example(parameters=ALL_AT_ONCE, secret="testsecret", method="POST")
def test_v1_is_signed_as_the_current_client_signs(
    current: Any, parameters: dict[str, str], secret: str, method: str
) -> None:
    parameters.pop("Signature", None)
    official = current.get_rpcsignature(parameters, method, secret)
    assert sign_v1(method=method, parameters=parameters, secret=secret) == official


@MANY
@given(parameters=PARAMETERS, secret=SECRET)
@example(parameters=ALL_AT_ONCE, secret="testsecret")
def test_v1_is_signed_as_the_older_client_signs(older: ModuleType, parameters: dict[str, str], secret: str) -> None:
    helper = older.helper
    with (
        patch.object(helper, "get_iso_8061_date", return_value=STAMP),
        patch.object(helper, "get_uuid", return_value=NONCE),
    ):
        signed = dict(parameters)
        _, text = older.get_signed_url(signed, "testid", secret, "JSON", "POST", {})
    assert string_to_sign_v1(method="POST", parameters=signed) == text
    assert sign_v1(method="POST", parameters=signed, secret=secret) == signed["Signature"]


@MANY
@given(parameters=PLAIN_PARAMETERS, headers=st.dictionaries(st.sampled_from(["host", "x-acs-a", "x-acs-b"]), TOKEN))
@example(parameters=PLAIN_AT_ONCE, headers={"host": "h"})
def test_v3_is_signed_as_the_current_client_signs(
    current: Any, request_class: Any, parameters: dict[str, str], headers: dict[str, str]
) -> None:
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    official = official_authorization(current, request_class(), parameters, headers, digest)
    signature = sign_v3(
        method="POST", query=canonical_query(parameters), headers=headers, content_sha256=digest, secret="testsecret"
    )
    assert authorization_v3(access_key_id="testid", headers=headers, signature=signature) == official


@MANY
@given(parameters=PLAIN_PARAMETERS, token=TOKEN)
@example(parameters=PLAIN_AT_ONCE, token="STSTOKEN+/=")
def test_whole_requests_are_signed_as_the_current_client_signs(
    current: Any, request_class: Any, parameters: dict[str, str], token: str
) -> None:
    parameters.pop("Signature", None)
    call = Call("BindAxn", parameters, NONCE, STAMP)
    keys = Credentials("testid", "testsecret", token)
    v3 = build_v3(call, endpoint=ENDPOINT, credentials=keys, answer_format="json").headers
    signed = {name: value for name, value in v3.items() if name not in {"accept", "authorization"}}
    digest = v3["x-acs-content-sha256"]
    assert v3["authorization"] == official_authorization(current, request_class(), parameters, signed, digest)
    v1 = build_v1(call, endpoint=ENDPOINT, credentials=keys, answer_format="json").content.decode()
    common = {
        "AccessKeyId": "testid",
        "Action": "BindAxn",
        "Format": "JSON",
        "SecurityToken": token,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": NONCE,
        "SignatureVersion": "1.0",
        "Timestamp": STAMP,
        "Version": "2017-05-25",
    }
    official = current.get_rpcsignature({**parameters, **common}, "POST", "testsecret")
    assert canonical_query({"Signature": official}) in v1.split("&")


def official_authorization(
    current: Any, request: Any, parameters: dict[str, str], headers: dict[str, str], digest: str
) -> str:
    request.method, request.pathname = "POST", "/"
    request.query, request.headers = dict(parameters), dict(headers)
    authorization: str = current.get_authorization(request, "ACS3-HMAC-SHA256", digest, "testid", "testsecret")
    return authorization
