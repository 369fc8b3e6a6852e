"""Both algorithms give the signatures of the provider's documents and of its official clients."""

import hashlib

import pytest

from worker.sandbox import signatures

DOCUMENTED = {
    "SignatureMethod": "HMAC-SHA1",
    "SignatureVersion": "1.0",
}
REGIONS = DOCUMENTED | {
    "AccessKeyId": "testid",
    "Action": "DescribeRegions",
    "Format": "XML",
    "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
    "Timestamp": "2016-02-23T12:46:24Z",
    "Version": "2014-05-26",
}
SEND_SMS = DOCUMENTED | {
    "AccessKeyId": "testId",
    "Action": "SendSms",
    "Format": "XML",
    "OutId": "123",
    "PhoneNumbers": "15300000001",
    "RegionId": "cn-hangzhou",
    "SignName": "阿里云短信测试专用",
    "SignatureNonce": "45e25e9b-0a6f-4070-8c85-2956eda1b466",
    "TemplateCode": "SMS_71390007",
    "TemplateParam": '{"customer":"test"}',
    "Timestamp": "2017-07-12T02:42:19Z",
    "Version": "2017-05-25",
}
HOSTS = DOCUMENTED | {
    "AccessKeyId": "testid",
    "Action": "DescribeDedicatedHosts",
    "Format": "JSON",
    "RegionId": "cn-beijing",
    "SignatureNonce": "edb2b34af0af9a6d14deaf7c1a5315eb",
    "Timestamp": "2023-03-13T08:34:30Z",
    "Version": "2014-05-26",
}
COMMON = DOCUMENTED | {
    "AccessKeyId": "testid",
    "Format": "JSON",
    "RegionId": "cn-hangzhou",
    "SignatureNonce": "00112233445566778899aabbccddeeff",
    "Timestamp": "2026-01-02T03:04:05Z",
    "Version": "2017-05-25",
}
BINDING = {
    "PoolKey": "FC123456",
    "PhoneNoA": "15000000000",
    "Expiration": "2026-01-02 12:00:00",
    "ExpectCity": "上海",
    "OutId": "a b*c~d/e+f&g=h",
    "IsRecordingEnabled": "true",
}
UNBINDING = {"PoolKey": "FC123456", "SecretNo": "17000000000", "SubsId": "1000000768798832"}
BIND = COMMON | BINDING | {"Action": "BindAxn"}
UNBIND = COMMON | UNBINDING | {"Action": "UnbindSubscription"}

RPC_VECTORS = {
    "A": ("testsecret", "GET", REGIONS, "OLeaidS1JvxuMvnyHOwuJ+uX5qY="),
    "B": ("testSecret", "GET", SEND_SMS, "zJDF+Lrzhj/ThnlvIToysFRq6t4="),
    "C": ("testsecret", "GET", HOSTS, "9NaGiOspFP5UPcwX8Iwt2YJXXuk="),
    "D1": ("testsecret", "GET", BIND, "J4hL7O8fu91ZBwdx9ME47oMU6II="),
    "D2": ("testsecret", "POST", BIND, "Zy9oUd7wwoY2kjTmJP7KUMBOMbQ="),
    "E": ("testsecret", "POST", BIND | {"SecurityToken": "STSTOKEN+/="}, "+9bFF1edxh05vviz3ewQx6HWx5Y="),
    "F": ("testsecret", "POST", UNBIND, "WcHrMZ6yw/c8BLmex3wRZk1tJYc="),
    "G1": ("testsecret", "POST", BIND | {"SignatureType": ""}, "9OKFmTMleVIhXciZkcNVVFj1lCI="),
    "G2": ("testsecret", "GET", BIND | {"SignatureType": ""}, "wtHp6/o58UU/Anfk/mX8z2cPXV4="),
}


@pytest.mark.parametrize("name", RPC_VECTORS)
def test_v1_vectors_hold(name: str) -> None:
    secret, method, parameters, expected = RPC_VECTORS[name]
    string_to_sign = signatures.rpc_string_to_sign(method, parameters.items())
    assert signatures.rpc_signature(secret, string_to_sign) == expected


def test_v1_string_to_sign_is_the_documented_one() -> None:
    assert signatures.rpc_string_to_sign("GET", REGIONS.items()) == (
        "GET&%2F&AccessKeyId%3Dtestid%26Action%3DDescribeRegions%26Format%3DXML%26SignatureMethod%3DHMAC-SHA1"
        "%26SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf%26SignatureVersion%3D1.0"
        "%26Timestamp%3D2016-02-23T12%253A46%253A24Z%26Version%3D2014-05-26"
    )


def test_v1_does_not_sign_the_signature_itself() -> None:
    with_signature = [*BIND.items(), ("Signature", "anything")]
    assert signatures.rpc_string_to_sign("GET", with_signature) == signatures.rpc_string_to_sign("GET", BIND.items())


QUERY = (
    "ExpectCity=%E4%B8%8A%E6%B5%B7&Expiration=2026-01-02%2012%3A00%3A00&IsRecordingEnabled=true"
    "&OutId=a%20b%2Ac~d%2Fe%2Bf%26g%3Dh&PhoneNoA=15000000000&PoolKey=FC123456"
)
FORM_BODY = QUERY.replace("%20", "+").encode()
EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HEADERS = {
    "host": "dyplsapi.aliyuncs.com",
    "x-acs-action": "BindAxn",
    "x-acs-content-sha256": EMPTY_HASH,
    "x-acs-date": "2026-01-02T03:04:05Z",
    "x-acs-signature-nonce": "00112233445566778899aabbccddeeff",
    "x-acs-version": "2017-05-25",
}
SDK_HEADERS = {
    "accept": "application/json",
    "user-agent": "AlibabaCloud (Linux; x86_64) Python/3.11.7 Core/0.4.3 TeaDSL/2",
    "x-acs-credentials-provider": "static_ak",
}
FORM_HEADERS = {
    "content-type": "application/x-www-form-urlencoded",
    "x-acs-content-sha256": "549bf69ff44e4f0f9d4389a08c8db2eb8a196350ebbff5f110e9b090e136b8d4",
}
RUN_INSTANCES = {
    "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
    "RegionId": "cn-shanghai",
}
RUN_HEADERS = {
    "host": "ecs.cn-shanghai.aliyuncs.com",
    "x-acs-action": "RunInstances",
    "x-acs-content-sha256": EMPTY_HASH,
    "x-acs-date": "2023-10-26T10:22:32Z",
    "x-acs-signature-nonce": "3156853299f313e23d1673dc12e1703d",
    "x-acs-version": "2014-05-26",
}

# name: method, query, headers, body, secret, hash of the canonical request, signature
ACS3_VECTORS: dict[str, tuple[str, dict[str, str], dict[str, str], bytes, str, str, str]] = {
    "RunInstances": (
        "POST",
        RUN_INSTANCES,
        RUN_HEADERS,
        b"",
        "YourAccessKeySecret",
        "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259",
        "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
    ),
    "1": (
        "POST",
        BINDING,
        HEADERS,
        b"",
        "testsecret",
        "b328b8230acb6fa5d7f4fde122aa57624e2b25dc1e189193551717d604e4aa68",
        "8f68a77ca7e1568aec9240a868db4fdc11942d7b9a72a29cf1eb74e6a6f29d12",
    ),
    "2": (
        "POST",
        BINDING,
        HEADERS | {"x-acs-accesskey-id": "testid", "x-acs-security-token": "STSTOKEN+/="},
        b"",
        "testsecret",
        "072d4937cf2d6c40d3e4a999343c699a989272b341d0dd4601ac06f5da3d7f31",
        "727182d121106a8f18683e09fe4c7400e6ca87ace8880637c4333295f69a44c7",
    ),
    "3": (
        "POST",
        {},
        HEADERS | FORM_HEADERS,
        FORM_BODY,
        "testsecret",
        "a7345c1d8e7862af0076b4707a5aca76c21656002bcf12123a54f4335a1463ad",
        "13b3810b7ebe5b9b44499a37f4d7cebf63e674dbff60c57014b36e41978ee1dd",
    ),
    "4": (
        "GET",
        UNBINDING,
        HEADERS | {"x-acs-action": "UnbindSubscription"},
        b"",
        "testsecret",
        "a7bc48b978b4dffc60343507d077afe93e0c5eddef861a62602ebac15f2c1bcf",
        "d5e81377662d93b1c9b8c2e3d2b14217ae128adef558f8553ada46dd9731e4e7",
    ),
    "5": (
        "POST",
        BINDING | {"IsRecordingEnabled": "True"},
        HEADERS | SDK_HEADERS,
        b"",
        "testsecret",
        "6591efdf2ebd3f4de791057f3872ef3bd1902bc948e62f4c06df28e2cab1c1d4",
        "8f10476865b7ec36350dd2e5c3a11531dcdf62719ea8c8f9edf5ef8720ae0824",
    ),
}


@pytest.mark.parametrize("name", ACS3_VECTORS)
def test_v3_vectors_hold(name: str) -> None:
    method, query, headers, body, secret, expected_hash, expected = ACS3_VECTORS[name]
    canonical = signatures.acs3_canonical_request(
        method,
        "/",
        query.items(),
        headers=headers.items(),
        signed_names=headers,
        body_hash=signatures.body_hash(body),
    )
    string_to_sign = signatures.acs3_string_to_sign(canonical)
    assert string_to_sign == f"ACS3-HMAC-SHA256\n{expected_hash}"
    assert signatures.acs3_signature(secret, string_to_sign) == expected


def test_v3_canonical_request_is_the_one_of_the_official_client() -> None:
    canonical = signatures.acs3_canonical_request(
        "POST", "/", BINDING.items(), headers=HEADERS.items(), signed_names=HEADERS, body_hash=EMPTY_HASH
    )
    lines = [f"{name}:{value}" for name, value in HEADERS.items()]
    assert canonical.split("\n") == ["POST", "/", QUERY, *lines, "", ";".join(HEADERS), EMPTY_HASH]


def test_the_form_body_of_vector_3_is_the_documented_one() -> None:
    assert hashlib.sha256(FORM_BODY).hexdigest() == FORM_HEADERS["x-acs-content-sha256"]


def test_v3_joins_the_sorted_values_of_a_repeated_header() -> None:
    received = [("x-acs-tag", " b "), ("host", "h"), ("x-acs-tag", "a")]
    canonical = signatures.acs3_canonical_request(
        "GET", "/", [], headers=received, signed_names=["x-acs-tag"], body_hash="0"
    )
    assert canonical == "GET\n/\n\nx-acs-tag:a,b\n\nx-acs-tag\n0"


def test_a_signature_that_is_not_ascii_is_only_different() -> None:
    assert not signatures.same("é\udc80", "abc")
    assert signatures.same("abc", "abc")
