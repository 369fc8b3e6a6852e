import base64
import hashlib
import hmac
import re
from random import Random
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.provider.signing import (
    authorization_v3,
    canonical_query,
    canonical_request_v3,
    percent_encode,
    sign_v1,
    sign_v3,
    signed_headers_v3,
    string_to_sign_v1,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PARAMETERS = st.dictionaries(TEXT, TEXT, max_size=8)

COMMON_V1 = {
    "AccessKeyId": "testid",
    "Format": "JSON",
    "RegionId": "cn-hangzhou",
    "SignatureMethod": "HMAC-SHA1",
    "SignatureNonce": "00112233445566778899aabbccddeeff",
    "SignatureVersion": "1.0",
    "Timestamp": "2026-01-02T03:04:05Z",
    "Version": "2017-05-25",
}
BIND = {
    "PoolKey": "FC123456",
    "PhoneNoA": "15000000000",
    "Expiration": "2026-01-02 12:00:00",
    "ExpectCity": "上海",
    "OutId": "a b*c~d/e+f&g=h",
    "IsRecordingEnabled": "true",
}
UNBIND = {"PoolKey": "FC123456", "SecretNo": "17000000000", "SubsId": "1000000768798832"}
SET_D = {**COMMON_V1, "Action": "BindAxn", **BIND}

#: Published by the provider for other products.
REGIONS = {
    "AccessKeyId": "testid",
    "Action": "DescribeRegions",
    "Format": "XML",
    "SignatureMethod": "HMAC-SHA1",
    "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
    "SignatureVersion": "1.0",
    "Timestamp": "2016-02-23T12:46:24Z",
    "Version": "2014-05-26",
}
SMS = {
    "AccessKeyId": "testId",
    "Action": "SendSms",
    "Format": "XML",
    "OutId": "123",
    "PhoneNumbers": "15300000001",
    "RegionId": "cn-hangzhou",
    "SignName": "阿里云短信测试专用",
    "SignatureMethod": "HMAC-SHA1",
    "SignatureNonce": "45e25e9b-0a6f-4070-8c85-2956eda1b466",
    "SignatureVersion": "1.0",
    "TemplateCode": "SMS_71390007",
    "TemplateParam": '{"customer":"test"}',
    "Timestamp": "2017-07-12T02:42:19Z",
    "Version": "2017-05-25",
}
HOSTS = {
    "AccessKeyId": "testid",
    "Action": "DescribeDedicatedHosts",
    "Format": "JSON",
    "RegionId": "cn-beijing",
    "SignatureMethod": "HMAC-SHA1",
    "SignatureNonce": "edb2b34af0af9a6d14deaf7c1a5315eb",
    "SignatureVersion": "1.0",
    "Timestamp": "2023-03-13T08:34:30Z",
    "Version": "2014-05-26",
}


@pytest.mark.parametrize(
    ("method", "parameters", "secret", "signature"),
    [
        pytest.param("GET", REGIONS, "testsecret", "OLeaidS1JvxuMvnyHOwuJ+uX5qY=", id="A"),
        pytest.param("GET", SMS, "testSecret", "zJDF+Lrzhj/ThnlvIToysFRq6t4=", id="B"),
        pytest.param("GET", HOSTS, "testsecret", "9NaGiOspFP5UPcwX8Iwt2YJXXuk=", id="C"),
        pytest.param("GET", SET_D, "testsecret", "J4hL7O8fu91ZBwdx9ME47oMU6II=", id="D1"),
        pytest.param("POST", SET_D, "testsecret", "Zy9oUd7wwoY2kjTmJP7KUMBOMbQ=", id="D2"),
        pytest.param(
            "POST",
            SET_D | {"SecurityToken": "STSTOKEN+/="},
            "testsecret",
            "+9bFF1edxh05vviz3ewQx6HWx5Y=",
            id="E",
        ),
        pytest.param(
            "POST",
            COMMON_V1 | {"Action": "UnbindSubscription"} | UNBIND,
            "testsecret",
            "WcHrMZ6yw/c8BLmex3wRZk1tJYc=",
            id="F",
        ),
        pytest.param("POST", SET_D | {"SignatureType": ""}, "testsecret", "9OKFmTMleVIhXciZkcNVVFj1lCI=", id="G1"),
        pytest.param("GET", SET_D | {"SignatureType": ""}, "testsecret", "wtHp6/o58UU/Anfk/mX8z2cPXV4=", id="G2"),
    ],
)
def test_v1_signatures_are_the_published_ones(
    method: str,
    parameters: dict[str, str],
    secret: str,
    signature: str,
) -> None:
    assert sign_v1(method=method, parameters=parameters, secret=secret) == signature
    assert sign_v1(method=method, parameters=parameters | {"Signature": "old"}, secret=secret) == signature


def test_the_published_v1_string_to_sign_comes_out() -> None:
    assert string_to_sign_v1(method="GET", parameters=REGIONS) == (
        "GET&%2F&AccessKeyId%3Dtestid%26Action%3DDescribeRegions%26Format%3DXML%26SignatureMethod%3DHMAC-SHA1"
        "%26SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf%26SignatureVersion%3D1.0"
        "%26Timestamp%3D2016-02-23T12%253A46%253A24Z%26Version%3D2014-05-26"
    )


def test_the_v1_query_and_string_to_sign_of_a_bind_come_out() -> None:
    assert canonical_query(SET_D) == (
        "AccessKeyId=testid&Action=BindAxn&ExpectCity=%E4%B8%8A%E6%B5%B7&Expiration=2026-01-02%2012%3A00%3A00"
        "&Format=JSON&IsRecordingEnabled=true&OutId=a%20b%2Ac~d%2Fe%2Bf%26g%3Dh&PhoneNoA=15000000000"
        "&PoolKey=FC123456&RegionId=cn-hangzhou&SignatureMethod=HMAC-SHA1"
        "&SignatureNonce=00112233445566778899aabbccddeeff&SignatureVersion=1.0"
        "&Timestamp=2026-01-02T03%3A04%3A05Z&Version=2017-05-25"
    )
    assert string_to_sign_v1(method="POST", parameters=SET_D) == (
        "POST&%2F&AccessKeyId%3Dtestid%26Action%3DBindAxn%26ExpectCity%3D%25E4%25B8%258A%25E6%25B5%25B7"
        "%26Expiration%3D2026-01-02%252012%253A00%253A00%26Format%3DJSON%26IsRecordingEnabled%3Dtrue"
        "%26OutId%3Da%2520b%252Ac~d%252Fe%252Bf%2526g%253Dh%26PhoneNoA%3D15000000000%26PoolKey%3DFC123456"
        "%26RegionId%3Dcn-hangzhou%26SignatureMethod%3DHMAC-SHA1"
        "%26SignatureNonce%3D00112233445566778899aabbccddeeff%26SignatureVersion%3D1.0"
        "%26Timestamp%3D2026-01-02T03%253A04%253A05Z%26Version%3D2017-05-25"
    )


EMPTY = hashlib.sha256(b"").hexdigest()
FORM = (
    b"ExpectCity=%E4%B8%8A%E6%B5%B7&Expiration=2026-01-02+12%3A00%3A00&IsRecordingEnabled=true"
    b"&OutId=a+b%2Ac~d%2Fe%2Bf%26g%3Dh&PhoneNoA=15000000000&PoolKey=FC123456"
)


def v3_headers(action: str = "BindAxn", body: bytes = b"", **more: str) -> dict[str, str]:
    return {
        "host": "dyplsapi.aliyuncs.com",
        "x-acs-action": action,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-acs-date": "2026-01-02T03:04:05Z",
        "x-acs-signature-nonce": "00112233445566778899aabbccddeeff",
        "x-acs-version": "2017-05-25",
    } | {name.replace("_", "-"): value for name, value in more.items()}


RUN_INSTANCES = {
    "host": "ecs.cn-shanghai.aliyuncs.com",
    "x-acs-action": "RunInstances",
    "x-acs-content-sha256": EMPTY,
    "x-acs-date": "2023-10-26T10:22:32Z",
    "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
    "x-acs-version": "2014-05-26",
}
IMAGE = {"ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd", "RegionId": "cn-shanghai"}
SDK_AGENT = "AlibabaCloud (Linux; x86_64) Python/3.11.7 Core/0.4.3 TeaDSL/2"


@pytest.mark.parametrize(
    ("method", "parameters", "headers", "secret", "expected"),
    [
        pytest.param(
            "POST",
            IMAGE,
            RUN_INSTANCES,
            "YourAccessKeySecret",
            (
                "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259",
                "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
            ),
            id="published",
        ),
        pytest.param(
            "POST",
            BIND,
            v3_headers(),
            "testsecret",
            (
                "b328b8230acb6fa5d7f4fde122aa57624e2b25dc1e189193551717d604e4aa68",
                "8f68a77ca7e1568aec9240a868db4fdc11942d7b9a72a29cf1eb74e6a6f29d12",
            ),
            id="1",
        ),
        pytest.param(
            "POST",
            BIND,
            v3_headers(x_acs_accesskey_id="testid", x_acs_security_token="STSTOKEN+/="),
            "testsecret",
            (
                "072d4937cf2d6c40d3e4a999343c699a989272b341d0dd4601ac06f5da3d7f31",
                "727182d121106a8f18683e09fe4c7400e6ca87ace8880637c4333295f69a44c7",
            ),
            id="2",
        ),
        pytest.param(
            "POST",
            {},
            v3_headers(body=FORM, content_type="application/x-www-form-urlencoded"),
            "testsecret",
            (
                "a7345c1d8e7862af0076b4707a5aca76c21656002bcf12123a54f4335a1463ad",
                "13b3810b7ebe5b9b44499a37f4d7cebf63e674dbff60c57014b36e41978ee1dd",
            ),
            id="3",
        ),
        pytest.param(
            "GET",
            UNBIND,
            v3_headers("UnbindSubscription"),
            "testsecret",
            (
                "a7bc48b978b4dffc60343507d077afe93e0c5eddef861a62602ebac15f2c1bcf",
                "d5e81377662d93b1c9b8c2e3d2b14217ae128adef558f8553ada46dd9731e4e7",
            ),
            id="4",
        ),
        pytest.param(
            "POST",
            BIND | {"IsRecordingEnabled": "True"},
            v3_headers(accept="application/json", user_agent=SDK_AGENT, x_acs_credentials_provider="static_ak"),
            "testsecret",
            (
                "6591efdf2ebd3f4de791057f3872ef3bd1902bc948e62f4c06df28e2cab1c1d4",
                "8f10476865b7ec36350dd2e5c3a11531dcdf62719ea8c8f9edf5ef8720ae0824",
            ),
            id="5",
        ),
    ],
)
def test_v3_signatures_are_the_published_ones(
    method: str,
    parameters: dict[str, str],
    headers: dict[str, str],
    secret: str,
    expected: tuple[str, str],
) -> None:
    query, digest = canonical_query(parameters), headers["x-acs-content-sha256"]
    request = canonical_request_v3(method=method, query=query, headers=headers, content_sha256=digest)
    signature = sign_v3(method=method, query=query, headers=headers, content_sha256=digest, secret=secret)
    assert (hashlib.sha256(request.encode()).hexdigest(), signature) == expected


def test_the_v3_canonical_request_of_a_bind_comes_out() -> None:
    query = canonical_query(BIND)
    assert canonical_request_v3(method="POST", query=query, headers=v3_headers(), content_sha256=EMPTY) == (
        "POST\n/\n"
        "ExpectCity=%E4%B8%8A%E6%B5%B7&Expiration=2026-01-02%2012%3A00%3A00&IsRecordingEnabled=true"
        "&OutId=a%20b%2Ac~d%2Fe%2Bf%26g%3Dh&PhoneNoA=15000000000&PoolKey=FC123456\n"
        "host:dyplsapi.aliyuncs.com\n"
        "x-acs-action:BindAxn\n"
        f"x-acs-content-sha256:{EMPTY}\n"
        "x-acs-date:2026-01-02T03:04:05Z\n"
        "x-acs-signature-nonce:00112233445566778899aabbccddeeff\n"
        "x-acs-version:2017-05-25\n\n"
        "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version\n"
        f"{EMPTY}"
    )


def test_the_authorization_header_has_no_blanks_after_its_commas() -> None:
    assert authorization_v3(access_key_id="testid", headers={"X-B": "", "host": ""}, signature="ab") == (
        "ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=host;x-b,Signature=ab"
    )


def test_v3_signs_header_values_without_blanks_at_their_ends_and_names_in_lower_case() -> None:
    spaced = canonical_request_v3(method="POST", query="", headers={"Host": " h "}, content_sha256=EMPTY)
    plain = canonical_request_v3(method="POST", query="", headers={"host": "h"}, content_sha256=EMPTY)
    assert spaced == plain


@given(TEXT)
def test_percent_encoding_can_be_undone_and_keeps_to_its_alphabet(text: str) -> None:
    encoded = percent_encode(text)
    assert unquote(encoded) == text
    assert re.fullmatch(r"(?:[A-Za-z0-9\-_.~]|%[0-9A-F]{2})*", encoded)


@given(PARAMETERS, st.randoms(use_true_random=False))
def test_signatures_do_not_depend_on_the_order_of_parameters(parameters: dict[str, str], random: Random) -> None:
    shuffled = list(parameters.items())
    random.shuffle(shuffled)
    assert canonical_query(dict(shuffled)) == canonical_query(parameters)
    assert sign_v1(method="POST", parameters=dict(shuffled), secret="s") == sign_v1(
        method="POST", parameters=parameters, secret="s"
    )


@given(PARAMETERS)
def test_parameters_are_sorted_by_the_bytes_of_their_names(parameters: dict[str, str]) -> None:
    query = canonical_query(parameters)
    names = [unquote(pair.partition("=")[0]).encode() for pair in query.split("&")] if parameters else []
    assert names == sorted(name.encode() for name in parameters)


@given(PARAMETERS, TEXT, TEXT)
def test_one_more_parameter_is_another_signature(parameters: dict[str, str], name: str, value: str) -> None:
    changed = parameters | {name: value}
    signatures = {sign_v1(method="POST", parameters=each, secret="s") for each in (parameters, changed)}
    assert len(signatures) == (1 if changed == parameters or name == "Signature" else 2)


@given(PARAMETERS)
def test_v1_is_what_its_page_says_step_by_step(parameters: dict[str, str]) -> None:
    signed = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    query = "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in signed)
    text = "&".join(["GET", percent_encode("/"), percent_encode(query)])
    expected = base64.b64encode(hmac.new(b"s&", text.encode(), "sha1").digest()).decode()
    assert sign_v1(method="GET", parameters=parameters, secret="s") == expected


def test_signed_headers_are_sorted_whatever_their_case() -> None:
    assert signed_headers_v3({"X-Acs-B": "", "host": "", "x-acs-a": ""}) == "host;x-acs-a;x-acs-b"
