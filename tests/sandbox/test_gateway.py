"""The gateway: both signatures, every place and form of a request, every refusal before the product is reached."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from worker.sandbox.refusals import GatewayError
from worker.sandbox.requests import WireRequest, decode

from .conftest import POOL, Sandbox, Start
from .signing_client import Prepared, SigningClient

TRICKY = "a b*c~d/e+f&g=h 上海"


@pytest.mark.parametrize("form", [False, True])
async def test_v1_is_accepted_by_post_from_query_and_form(sandbox: Sandbox, form: bool) -> None:
    prepared = sandbox.client.v1("BindAxn", sandbox.binding(OutId=TRICKY), form=form)
    assert (await sandbox.client.send(prepared)).code == "OK"
    assert [binding["OutId"] for binding in await sandbox.bindings()] == [TRICKY]


@pytest.mark.parametrize("form", [False, True])
async def test_v3_is_accepted_by_post_from_query_and_form(sandbox: Sandbox, form: bool) -> None:
    prepared = sandbox.client.v3("BindAxn", sandbox.binding(OutId=TRICKY), form=form)
    assert (await sandbox.client.send(prepared)).code == "OK"
    assert [binding["OutId"] for binding in await sandbox.bindings()] == [TRICKY]


async def test_both_are_accepted_by_get(sandbox: Sandbox) -> None:
    assert (await sandbox.client.send(sandbox.client.v1("BindAxn", sandbox.binding(), method="GET"))).code == "OK"
    assert (await sandbox.client.send(sandbox.client.v3("BindAxn", sandbox.binding(), method="GET"))).code == "OK"


async def test_a_plus_is_a_space_though_20_was_signed(sandbox: Sandbox) -> None:
    for sign in (sandbox.client.v1, sandbox.client.v3):
        prepared = sign("BindAxn", sandbox.binding(OutId="a b"))
        assert (await sandbox.client.send(prepared.but(url=prepared.url.replace("%20", "+")))).code == "OK"
    assert [binding["OutId"] for binding in await sandbox.bindings()] == ["a b", "a b"]


async def test_blank_and_unknown_parameters_are_signed_too(sandbox: Sandbox) -> None:
    prepared = sandbox.client.v1(
        "BindAxn", sandbox.binding(), common={"SignatureType": "", "RegionId": "cn-hangzhou", "Other": "1"}
    )
    assert (await sandbox.client.send(prepared)).code == "OK"
    blank = sandbox.client.v3("BindAxn", sandbox.binding() | {"PhoneNoB": "", "ExpectCity": ""})
    assert (await sandbox.client.send(blank)).code == "OK"


async def test_the_headers_an_official_client_signs_are_accepted(sandbox: Sandbox) -> None:
    extra = {
        "accept": "application/json",
        "user-agent": "AlibabaCloud (Linux; x86_64) Python/3.11.7",
        "x-acs-credentials-provider": "static_ak",
    }
    assert (await sandbox.client.send(sandbox.client.v3("BindAxn", sandbox.binding(), headers=extra))).code == "OK"


async def test_json_is_the_default_and_xml_is_given_on_request(sandbox: Sandbox) -> None:
    client = sandbox.client
    plain = await client.send(client.v1("BindAxn", sandbox.binding(), common={"Format": None}))
    assert plain.headers["Content-Type"] == "application/json;charset=utf-8"
    for prepared in (
        client.v1("BindAxn", sandbox.binding(), common={"Format": "xml"}),
        client.v3("BindAxn", sandbox.binding(), headers={"accept": "application/xml"}),
    ):
        reply = await client.send(prepared)
        assert (reply.headers["Content-Type"], reply.root) == ("text/xml;charset=utf-8", "BindAxnResponse")
        assert sorted(reply.body["SecretBindDTO"]) == ["Extension", "SecretNo", "SubsId"]


async def test_xml_writes_booleans_and_numbers_as_text(sandbox: Sandbox) -> None:
    bound = await sandbox.bind()
    named = {"PoolKey": POOL, "PhoneNoX": bound["SecretNo"], "SubsId": bound["SubsId"]}
    reply = await sandbox.client.send(sandbox.client.v1("QuerySubscriptionDetail", named, common={"Format": "XML"}))
    detail = reply.body["SecretBindDetailDTO"]
    assert (detail["NeedRecord"], detail["Status"]) == ("false", "1")


FIVE_FIELDS = ["Code", "HostId", "Message", "Recommend", "RequestId"]


async def test_a_gateway_error_has_five_fields_in_json_and_xml(sandbox: Sandbox) -> None:
    client = sandbox.client
    for wanted in ("JSON", "XML"):
        reply = await client.send(client.v1("BindAxn", sandbox.binding(PoolKey=""), common={"Format": wanted}))
        assert (reply.status, sorted(reply.body)) == (400, FIVE_FIELDS)
        assert reply.root == ("Error" if wanted == "XML" else "")
        assert "Keyword=MissingPoolKey&source=PopGw" in reply.body["Recommend"]
    assert reply.headers["Content-Type"] == "text/xml;charset=utf-8"


async def test_a_business_failure_in_xml_is_under_the_response_root(sandbox: Sandbox) -> None:
    reply = await sandbox.client.send(
        sandbox.client.v1("BindAxn", sandbox.binding(PhoneNoA="1"), common={"Format": "XML"})
    )
    assert (reply.status, reply.root, reply.code) == (200, "BindAxnResponse", "isv.MOBILE_NUMBER_ILLEGAL")


async def test_v1_mismatch_tells_the_servers_string_to_sign(sandbox: Sandbox) -> None:
    sandbox.client.secret = "wrong"
    reply = await sandbox.client.send(sandbox.client.v1("BindAxn", sandbox.binding()))
    assert (reply.status, reply.code) == (400, "SignatureDoesNotMatch")
    before, colon, string_to_sign = reply.body["Message"].partition(":")
    assert (before.endswith("server string to sign is"), colon) == (True, ":")
    assert string_to_sign.startswith("POST&%2F&AccessKeyId%3Dtestid%26Action%3DBindAxn")


async def test_v3_mismatch_tells_the_servers_string_to_sign(sandbox: Sandbox) -> None:
    sandbox.client.secret = "wrong"
    reply = await sandbox.client.call("BindAxn", **sandbox.binding())
    assert (reply.status, reply.code) == (400, "SignatureDoesNotMatch")
    assert "server string to sign is:ACS3-HMAC-SHA256\n" in reply.body["Message"]


Spoil = Callable[[Prepared], Prepared]

SPOILS: dict[str, Spoil] = {
    "a parameter changed": lambda sent: sent.but(url=sent.url.replace("15000000000", "15000000001")),
    "a parameter added": lambda sent: sent.but(url=f"{sent.url}&OutId=1"),
    "another method": lambda sent: sent.but(method="GET"),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
async def test_a_signed_request_changed_on_the_way_does_not_match(sandbox: Sandbox, spoil: Spoil) -> None:
    for sign in (sandbox.client.v1, sandbox.client.v3):
        reply = await sandbox.client.send(spoil(sign("BindAxn", sandbox.binding())))
        assert (reply.status, reply.code) == (400, "SignatureDoesNotMatch")
    assert await sandbox.bindings() == []


async def test_v3_recomputes_the_hash_of_the_body(sandbox: Sandbox) -> None:
    sent = sandbox.client.v3("BindAxn", sandbox.binding(), form=True)
    reply = await sandbox.client.send(sent.but(body=sent.body.replace(b"15000000000", b"15000000001")))
    assert reply.code == "SignatureDoesNotMatch"


async def test_v3_refuses_a_hash_header_that_is_not_the_bodys(sandbox: Sandbox) -> None:
    wrong = {"x-acs-content-sha256": hashlib.sha256(b"another body").hexdigest()}
    reply = await sandbox.client.send(sandbox.client.v3("BindAxn", sandbox.binding(), headers=wrong))
    assert reply.code == "SignatureDoesNotMatch"


async def test_v3_refuses_an_acs_header_that_was_not_signed(sandbox: Sandbox) -> None:
    sent = sandbox.client.v3("BindAxn", sandbox.binding())
    reply = await sandbox.client.send(sent.but(headers=sent.headers | {"x-acs-extra": "1"}))
    assert (reply.status, reply.code) == (400, "IncompleteSignature")
    assert "x-acs-extra" in reply.body["Message"]


@pytest.mark.parametrize("rest", ["", " Credential=testid", " Credential=testid,SignedHeaders=host,Signature="])
async def test_v3_refuses_an_authorization_header_that_lacks_a_part(sandbox: Sandbox, rest: str) -> None:
    sent = sandbox.client.v3("BindAxn", sandbox.binding())
    reply = await sandbox.client.send(sent.but(headers=sent.headers | {"authorization": f"ACS3-HMAC-SHA256{rest}"}))
    assert (reply.status, reply.code) == (400, "IncompleteSignature")


async def test_v3_refuses_another_algorithm(sandbox: Sandbox) -> None:
    sent = sandbox.client.v3("BindAxn", sandbox.binding())
    other = sent.headers["authorization"].replace("ACS3-HMAC-SHA256", "ACS3-HMAC-SM3")
    reply = await sandbox.client.send(sent.but(headers=sent.headers | {"authorization": other}))
    assert (reply.status, reply.code) == (400, "InvalidSignatureMethod")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-acs-action": None}, 400, "MissingAction"),
        ({"x-acs-action": "BindNothing"}, 404, "InvalidAction.NotFound"),
        ({"x-acs-version": None}, 400, "MissingVersion"),
        ({"x-acs-version": "2014-05-26"}, 400, "InvalidVersion"),
        ({"x-acs-date": None}, 400, "IllegalTimestamp"),
        ({"x-acs-date": "2026-01-02 03:04:05"}, 400, "InvalidTimeStamp.Format"),
        ({"x-acs-signature-nonce": None}, 400, "MissingSignatureNonce"),
        ({"x-acs-content-sha256": None}, 400, "IncompleteSignature"),
    ],
)
async def test_v3_names_the_common_header_at_fault(
    sandbox: Sandbox, headers: dict[str, str | None], status: int, code: str
) -> None:
    reply = await sandbox.client.send(sandbox.client.v3("BindAxn", sandbox.binding(), headers=headers))
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.parametrize(
    ("common", "status", "code"),
    [
        ({"Action": None}, 400, "MissingAction"),
        ({"Action": "BindNothing"}, 404, "InvalidAction.NotFound"),
        ({"Version": None}, 400, "MissingVersion"),
        ({"Version": "2014-05-26"}, 400, "InvalidVersion"),
        ({"AccessKeyId": None}, 400, "MissingAccessKeyId"),
        ({"AccessKeyId": "nobody"}, 404, "InvalidAccessKeyId.NotFound"),
        ({"SignatureMethod": None}, 400, "MissingSignatureMethod"),
        ({"SignatureMethod": "HMAC-MD5"}, 400, "InvalidSignatureMethod"),
        ({"SignatureVersion": "2.0"}, 400, "InvalidSignatureVersion"),
        ({"SignatureNonce": None}, 400, "MissingSignatureNonce"),
        ({"Timestamp": None}, 400, "IllegalTimestamp"),
        ({"Timestamp": "2026-02-30T00:00:00Z"}, 400, "InvalidTimeStamp.Format"),
        ({"Format": "YAML"}, 400, "InvalidParameter.Format"),
    ],
)
async def test_v1_names_the_common_parameter_at_fault(
    sandbox: Sandbox, common: dict[str, str | None], status: int, code: str
) -> None:
    reply = await sandbox.client.send(sandbox.client.v1("BindAxn", sandbox.binding(), common=common))
    assert (reply.status, reply.code) == (status, code)


async def test_v1_without_a_signature_is_incomplete(sandbox: Sandbox) -> None:
    sent = sandbox.client.v1("BindAxn", sandbox.binding())
    reply = await sandbox.client.send(sent.but(url=sent.url.replace("&Signature=", "&Unsigned=")))
    assert (reply.status, reply.code) == (400, "IncompleteSignature")


async def test_other_methods_and_paths_are_refused(sandbox: Sandbox) -> None:
    sent = sandbox.client.v1("BindAxn", sandbox.binding())
    put = await sandbox.client.send(sent.but(method="PUT"))
    assert (put.status, put.code) == (400, "UnsupportedHTTPMethod")
    elsewhere = await sandbox.client.send(sent.but(url=sent.url.replace("/?", "/v2?")))
    assert (elsewhere.status, elsewhere.code) == (404, "InvalidApi.NotFound")


async def test_parameters_that_are_not_utf_8_are_refused(sandbox: Sandbox) -> None:
    sent = sandbox.client.v1("BindAxn", sandbox.binding())
    for spoiled in (sent.but(url=f"{sent.url}&OutId=%FF"), sent.but(url=f"{sent.url}" + "&a=1" * 200)):
        reply = await sandbox.client.send(spoiled)
        assert (reply.status, reply.code) == (400, "InvalidParameter")


def test_raw_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(GatewayError) as refused:
        decode(WireRequest("GET", "/?OutId=\udcff", (), b""))
    assert (refused.value.status, refused.value.code) == (400, "InvalidParameter")


@pytest.mark.parametrize(("offset_s", "code"), [(-900, "OK"), (900, "OK"), (-901, "late"), (901, "late")])
async def test_a_timestamp_may_be_off_by_15_minutes_either_way(sandbox: Sandbox, offset_s: int, code: str) -> None:
    moment = datetime.fromtimestamp(sandbox.clock() + offset_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    client = sandbox.client
    expected = (200, "OK") if code == "OK" else (400, "InvalidTimeStamp.Expired")
    for prepared in (
        client.v1("BindAxn", sandbox.binding(), common={"Timestamp": moment}),
        client.v3("BindAxn", sandbox.binding(), headers={"x-acs-date": moment}),
    ):
        reply = await client.send(prepared)
        assert (reply.status, reply.code) == expected


async def test_the_clock_skew_is_a_setting(start: Start) -> None:
    sandbox = await start(clock_skew_s=10)
    sent = sandbox.client.v3("BindAxn", sandbox.binding())
    sandbox.clock.advance(11)
    assert (await sandbox.client.send(sent)).code == "InvalidTimeStamp.Expired"


async def test_a_nonce_is_used_once_even_between_keys_and_signatures(sandbox: Sandbox) -> None:
    client = sandbox.client
    sent = client.v1("BindAxn", sandbox.binding(), common={"SignatureNonce": "once"})
    assert (await client.send(sent)).code == "OK"
    replayed = await client.send(sent)
    assert (replayed.status, replayed.code) == (400, "SignatureNonceUsed")
    assert replayed.body["Message"] == "Specified signature nonce was used already."
    other = SigningClient(client.session, client.base, client.now, "stsid", "stssecret", "STSTOKEN+/=")
    reply = await other.send(other.v3("BindAxn", sandbox.binding(), headers={"x-acs-signature-nonce": "once"}))
    assert reply.code == "SignatureNonceUsed"
    assert len(await sandbox.bindings()) == 1


async def test_a_nonce_is_forgotten_after_31_minutes(sandbox: Sandbox) -> None:
    async def code() -> str:
        again = sandbox.client.v1("BindAxn", sandbox.binding(), common={"SignatureNonce": "once"})
        return (await sandbox.client.send(again)).code

    assert await code() == "OK"
    sandbox.clock.advance(1859)
    assert await code() == "SignatureNonceUsed"
    sandbox.clock.advance(1)
    assert await code() == "OK"


async def test_a_request_with_a_bad_signature_does_not_burn_its_nonce(sandbox: Sandbox) -> None:
    sent = sandbox.client.v1("BindAxn", sandbox.binding(), common={"SignatureNonce": "once"})
    spoiled = sent.but(url=sent.url.replace("15000000000", "15000000001"))
    assert (await sandbox.client.send(spoiled)).code == "SignatureDoesNotMatch"
    assert (await sandbox.client.send(sent)).code == "OK"


async def test_a_temporary_key_needs_its_token(sandbox: Sandbox) -> None:
    client = sandbox.client
    client.key_id, client.secret = "stsid", "stssecret"
    for token, status, code in (
        ("STSTOKEN+/=", 200, "OK"),
        ("", 400, "MissingSecurityToken"),
        ("another", 400, "InvalidSecurityToken.MismatchWithAccessKey"),
    ):
        client.token = token
        for prepared in (client.v1("BindAxn", sandbox.binding()), client.v3("BindAxn", sandbox.binding())):
            reply = await client.send(prepared)
            assert (reply.status, reply.code) == (status, code)


async def test_a_token_with_a_lasting_key_does_not_belong(sandbox: Sandbox) -> None:
    sandbox.client.token = "STSTOKEN+/="
    assert await sandbox.bind_code() == (400, "InvalidSecurityToken.MismatchWithAccessKey")
