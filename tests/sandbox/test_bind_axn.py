"""BindAxn: what is given, what is refused, and with which Code."""

import re

import pytest

from worker.sandbox.config import parse_pool

from .conftest import PHONE_A, PHONE_B, POOL, Sandbox, Start


async def test_a_binding_gives_a_number_of_the_pool_and_a_growing_id(sandbox: Sandbox) -> None:
    first, second = await sandbox.bind(), await sandbox.bind()
    assert re.fullmatch(r"170\d{8}", first["SecretNo"])
    assert first["SecretNo"] != second["SecretNo"]
    assert re.fullmatch(r"\d{16}", first["SubsId"])
    assert int(second["SubsId"]) > int(first["SubsId"])


async def test_extension_is_b_or_the_time_in_milliseconds(sandbox: Sandbox) -> None:
    assert (await sandbox.bind(PhoneNoB=PHONE_B))["Extension"] == PHONE_B
    assert (await sandbox.bind())["Extension"] == str(int(sandbox.clock() * 1000))


async def test_every_reply_has_an_upper_case_request_id(sandbox: Sandbox) -> None:
    for changes in ({}, {"PhoneNoA": "1"}, {"PoolKey": ""}):
        reply = await sandbox.client.call("BindAxn", **sandbox.binding(**changes))
        assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", reply.body["RequestId"])


async def test_a_named_x_is_honoured_and_then_conflicts(sandbox: Sandbox) -> None:
    bound = await sandbox.bind()
    await sandbox.client.call("UnbindSubscription", PoolKey=POOL, SecretNo=bound["SecretNo"], SubsId=bound["SubsId"])
    again = await sandbox.bind(PhoneNoX=bound["SecretNo"])
    assert again["SecretNo"] == bound["SecretNo"]
    reply = await sandbox.client.call("BindAxn", **sandbox.binding(PhoneNoX=bound["SecretNo"]))
    assert (reply.status, reply.code, reply.body["Message"]) == (200, "isv.BIND_CONFLICT", "isv.BIND_CONFLICT")


async def test_an_x_of_another_pool_is_forbidden_at_the_step_create_subs(sandbox: Sandbox) -> None:
    other = await sandbox.bind(PoolKey="FC999999")
    reply = await sandbox.client.call("BindAxn", **sandbox.binding(PhoneNoX=other["SecretNo"]))
    assert (reply.status, reply.code, reply.body["Message"]) == (200, "isv.FORBIDDEN_ACTION", "createSubs")


async def test_the_expected_city_is_preferred_but_not_insisted_on(start: Start) -> None:
    sandbox = await start(pools=(parse_pool(f"{POOL}=2@上海,1@北京"),))
    [beijing] = [(await sandbox.bind(ExpectCity="北京"))["SecretNo"]]
    others = {(await sandbox.bind(ExpectCity="北京"))["SecretNo"], (await sandbox.bind(ExpectCity="广州"))["SecretNo"]}
    assert len({beijing} | others) == 3
    assert await sandbox.bind_code() == (200, "isv.NO_AVAILABLE_NUMBER")


@pytest.mark.parametrize("phone", ["15000000000", "057112345678", "0101234567"])
async def test_mobile_and_landline_numbers_are_good(sandbox: Sandbox, phone: str) -> None:
    assert await sandbox.bind_code(PhoneNoA=phone, PhoneNoB=phone) == (200, "OK")


@pytest.mark.parametrize("name", ["PhoneNoA", "PhoneNoB"])
@pytest.mark.parametrize(
    "phone", ["1500000000", "+8615000000000", "0571-12345678", "１５０００００００００", "15000000000\n"]
)
async def test_other_numbers_are_illegal(sandbox: Sandbox, name: str, phone: str) -> None:
    assert await sandbox.bind_code(**{name: phone}) == (200, "isv.MOBILE_NUMBER_ILLEGAL")


async def test_an_x_with_other_than_digits_is_illegal(sandbox: Sandbox) -> None:
    assert await sandbox.bind_code(PhoneNoX="170-0000") == (200, "isv.MOBILE_NUMBER_ILLEGAL")


async def test_expiry_must_be_more_than_a_minute_ahead_in_beijing_time(sandbox: Sandbox) -> None:
    assert await sandbox.bind_code(Expiration=sandbox.clock.shanghai(61)) == (200, "OK")
    reply = await sandbox.client.call("BindAxn", **sandbox.binding(Expiration=sandbox.clock.shanghai(60)))
    assert (reply.status, reply.code) == (200, "isv.EXPIRE_DATE_ILLEGAL")
    assert reply.body["Message"] == "expireDate less than 1 minutes from now"


@pytest.mark.parametrize(
    "text", ["2099-1-31 23:59:59", "2099-01-31T23:59:59", "2099-02-30 00:00:00", "4102444799", "2099-01-31 23:59:59 "]
)
async def test_expiry_in_another_shape_is_illegal(sandbox: Sandbox, text: str) -> None:
    assert await sandbox.bind_code(Expiration=text) == (200, "isv.EXPIRE_DATE_ILLEGAL")


async def test_an_unknown_pool_is_named_so(sandbox: Sandbox) -> None:
    assert await sandbox.bind_code(PoolKey="FC0") == (200, "isv.POOLKEY_NOT_EXISTS")


@pytest.mark.parametrize("name", ["PoolKey", "PhoneNoA", "Expiration"])
async def test_a_mandatory_parameter_is_missed_at_the_gateway(sandbox: Sandbox, name: str) -> None:
    assert await sandbox.bind_code(**{name: ""}) == (400, f"Missing{name}")


@pytest.mark.parametrize("value", ["true", "True", "TRUE", "false", "False"])
async def test_booleans_come_in_any_case(sandbox: Sandbox, value: str) -> None:
    bound = await sandbox.bind(IsRecordingEnabled=value)
    detail = await sandbox.client.call(
        "QuerySubscriptionDetail", PoolKey=POOL, PhoneNoX=bound["SecretNo"], SubsId=bound["SubsId"]
    )
    assert detail.body["SecretBindDetailDTO"]["NeedRecord"] is (value.lower() == "true")


@pytest.mark.parametrize(
    "changes",
    [
        {"IsRecordingEnabled": "yes"},
        {"ASRStatus": "1"},
        {"CallRestrict": "CONTROL_CLEAR_DISABLE"},
        {"CallDisplayType": "4"},
        {"CallTimeout": "soon"},
        {"RingConfig": "[]"},
        {"RingConfig": "{"},
    ],
)
async def test_a_setting_in_a_bad_format_is_an_invalid_parameter(sandbox: Sandbox, changes: dict[str, str]) -> None:
    assert await sandbox.bind_code(**changes) == (200, "isv.INVALID_PARAMETERS")


async def test_a_refused_binding_takes_no_number(start: Start) -> None:
    sandbox = await start(pools=(parse_pool(f"{POOL}=1"),))
    for changes in ({"PhoneNoA": "1"}, {"PhoneNoB": "1"}, {"ASRStatus": "?"}, {"CallRestrict": "?"}):
        assert (await sandbox.bind_code(**changes))[1] != "OK"
    assert await sandbox.bind_code() == (200, "OK")


async def test_the_same_a_gets_a_second_number(sandbox: Sandbox) -> None:
    await sandbox.bind(PhoneNoA=PHONE_A)
    await sandbox.bind(PhoneNoA=PHONE_A)
    assert len({binding["PhoneNoX"] for binding in await sandbox.bindings()}) == 2
