"""The life of a binding: detail, look-up by X, update, unbind, expiry."""

from typing import Any

import pytest

from worker.sandbox.config import parse_pool

from .conftest import PHONE_A, PHONE_B, POOL, Sandbox, Start
from .signing_client import Reply

OTHER = "15022222222"


async def ask(sandbox: Sandbox, action: str, bound: dict[str, str], **changes: str) -> Reply:
    """Call an action on a binding; an empty change leaves a parameter out."""
    number = "SecretNo" if action == "UnbindSubscription" else "PhoneNoX"
    named = {"PoolKey": POOL, number: bound["SecretNo"], "SubsId": bound["SubsId"]} | changes
    return await sandbox.client.call(action, **{name: value for name, value in named.items() if value})


async def detail_of(sandbox: Sandbox, bound: dict[str, str]) -> dict[str, Any]:
    reply = await ask(sandbox, "QuerySubscriptionDetail", bound)
    assert (reply.status, reply.code) == (200, "OK")
    detail: dict[str, Any] = reply.body["SecretBindDetailDTO"]
    return detail


async def test_detail_shows_parties_and_times_but_no_out_id(sandbox: Sandbox) -> None:
    bound = await sandbox.bind(PhoneNoB=PHONE_B, OutId="out", OutOrderId="order")
    assert await detail_of(sandbox, bound) == {
        "PhoneNoA": PHONE_A,
        "PhoneNoX": bound["SecretNo"],
        "PhoneNoB": PHONE_B,
        "ExpireDate": sandbox.clock.shanghai(3600),
        "GmtCreate": "2026-01-02 11:04:05",
        "Status": 1,
        "SubsId": bound["SubsId"],
        "NeedRecord": False,
    }


async def test_detail_shows_what_was_set(sandbox: Sandbox) -> None:
    bound = await sandbox.bind(CallRestrict="CONTROL_AX_DISABLE", ASRStatus="True", ASRModelId="model")
    detail = await detail_of(sandbox, bound)
    assert (detail["CallRestrict"], detail["ASRStatus"], detail["ASRModelId"]) == ("CONTROL_AX_DISABLE", True, "model")


async def test_an_x_is_looked_up_and_is_empty_once_unbound(sandbox: Sandbox) -> None:
    bound = await sandbox.bind()
    found = await sandbox.client.call("QuerySubsId", PoolKey=POOL, PhoneNoX=bound["SecretNo"])
    assert (found.code, found.body["SubsId"]) == ("OK", bound["SubsId"])
    unbound = await ask(sandbox, "UnbindSubscription", bound)
    assert (unbound.code, unbound.body["ChargeId"]) == ("OK", "true")
    gone = await sandbox.client.call("QuerySubsId", PoolKey=POOL, PhoneNoX=bound["SecretNo"])
    assert (gone.code, gone.body["SubsId"]) == ("OK", "")


async def test_looking_up_in_an_unknown_pool_is_a_gateway_error(sandbox: Sandbox) -> None:
    reply = await sandbox.client.call("QuerySubsId", PoolKey="FC0", PhoneNoX="17000000000")
    assert (reply.status, reply.code, reply.body["Message"]) == (400, "POOLKEY_NOT_EXIST", "poolKey not exsit.")


async def test_looking_up_a_number_the_pool_has_not_is_refused(sandbox: Sandbox) -> None:
    reply = await sandbox.client.call("QuerySubsId", PoolKey=POOL, PhoneNoX="15000000000")
    assert (reply.status, reply.code) == (200, "isv.NO_NOT_EXIST")


@pytest.mark.parametrize("action", ["UnbindSubscription", "QuerySubscriptionDetail"])
@pytest.mark.parametrize(
    "changes", [{"SubsId": "1000000000009999"}, {"PhoneNoX": "1", "SecretNo": "1"}, {"PoolKey": "FC999999"}]
)
async def test_a_binding_is_named_by_id_number_and_pool_together(
    sandbox: Sandbox, action: str, changes: dict[str, str]
) -> None:
    reply = await ask(sandbox, action, await sandbox.bind(), **changes)
    assert (reply.status, reply.code) == (200, "isv.SUBS_NOT_EXIST")
    assert [binding["live"] for binding in await sandbox.bindings()] == [True]


async def test_a_product_type_does_instead_of_a_pool_but_one_must_be_given(sandbox: Sandbox) -> None:
    bound = await sandbox.bind()
    assert (await ask(sandbox, "QuerySubscriptionDetail", bound, PoolKey="", ProductType="AXN_170")).code == "OK"
    neither = await ask(sandbox, "QuerySubscriptionDetail", bound, PoolKey="")
    assert (neither.status, neither.code) == (400, "MissingPoolKey")


async def test_an_unknown_pool_is_named_so_whatever_the_action(sandbox: Sandbox) -> None:
    reply = await ask(sandbox, "UnbindSubscription", await sandbox.bind(), PoolKey="FC0")
    assert (reply.status, reply.code) == (200, "isv.POOLKEY_NOT_EXISTS")


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("UnbindSubscription", "SubsId"),
        ("UnbindSubscription", "SecretNo"),
        ("QuerySubscriptionDetail", "PhoneNoX"),
        ("UpdateSubscription", "SubsId"),
        ("UpdateSubscription", "PhoneNoX"),
        ("UpdateSubscription", "OperateType"),
    ],
)
async def test_mandatory_parameters_are_missed_at_the_gateway(sandbox: Sandbox, action: str, name: str) -> None:
    reply = await ask(
        sandbox, action, await sandbox.bind(), **{"OperateType": "updateNoA", "PhoneNoA": OTHER, name: ""}
    )
    assert (reply.status, reply.code) == (400, f"Missing{name}")


async def test_what_was_unbound_has_vanished(sandbox: Sandbox) -> None:
    bound = await sandbox.bind()
    await ask(sandbox, "UnbindSubscription", bound)
    again = await ask(sandbox, "UnbindSubscription", bound)
    assert (again.status, again.code, again.body["Message"]) == (200, "isv.ILLEGAL_ARGUMENT", "subs not exist")
    update = await ask(sandbox, "UpdateSubscription", bound, OperateType="updateNoA", PhoneNoA=OTHER)
    assert (update.code, update.body["Message"]) == ("isv.ILLEGAL_ARGUMENT", "subs not exist")
    assert (await ask(sandbox, "QuerySubscriptionDetail", bound)).code == "isv.SUBS_NOT_EXIST"


@pytest.mark.parametrize(
    ("operate_type", "given", "field", "shown"),
    [
        ("updateNoA", {"PhoneNoA": OTHER}, "PhoneNoA", OTHER),
        ("updateNoB", {"PhoneNoB": OTHER}, "PhoneNoB", OTHER),
        ("updateExpire", {"Expiration": "2026-03-01 00:00:00"}, "ExpireDate", "2026-03-01 00:00:00"),
        ("updateCallRestrict", {"CallRestrict": "CONTROL_BX_DISABLE"}, "CallRestrict", "CONTROL_BX_DISABLE"),
        ("updateCallRestrict", {"CallRestrict": "CONTROL_CLEAR_DISABLE"}, "CallRestrict", None),
        ("updateIsRecordingEnabled", {"IsRecordingEnabled": "True"}, "NeedRecord", True),
        ("updateCallDisplayType", {"CallDisplayType": "1"}, "Status", 1),
    ],
)
async def test_an_update_sets_one_aspect(
    sandbox: Sandbox, operate_type: str, given: dict[str, str], field: str, shown: object
) -> None:
    bound = await sandbox.bind(CallRestrict="CONTROL_AX_DISABLE")
    reply = await ask(sandbox, "UpdateSubscription", bound, OperateType=operate_type, **given)
    assert (reply.status, sorted(reply.body), reply.code) == (200, ["Code", "Message", "RequestId"], "OK")
    assert (await detail_of(sandbox, bound)).get(field) == shown


async def test_an_update_of_the_out_id_is_seen_by_the_admin(sandbox: Sandbox) -> None:
    bound = await sandbox.bind(OutId="old")
    await ask(sandbox, "UpdateSubscription", bound, OperateType="updateOutId", OutId="new")
    assert [binding["SubsId"] for binding in await sandbox.bindings("?out_id=new")] == [bound["SubsId"]]


@pytest.mark.parametrize(
    ("operate_type", "name", "value", "code"),
    [
        ("updateNoA", "PhoneNoA", "1", "isv.MOBILE_NUMBER_ILLEGAL"),
        ("updateNoB", "PhoneNoB", "x", "isv.MOBILE_NUMBER_ILLEGAL"),
        ("updateExpire", "Expiration", "2020-01-01 00:00:00", "isv.EXPIRE_DATE_ILLEGAL"),
        ("updateCallRestrict", "CallRestrict", "?", "isv.INVALID_PARAMETERS"),
        ("updateCallDisplayType", "CallDisplayType", "9", "isv.INVALID_PARAMETERS"),
        ("updateIsRecordingEnabled", "IsRecordingEnabled", "on", "isv.INVALID_PARAMETERS"),
        ("updateAxgGroup", "GroupId", "x", "isv.INVALID_PARAMETERS"),
        ("updateAxgGroup", "GroupId", "12", "isv.FORBIDDEN_ACTION"),
        ("updateEverything", "PhoneNoA", OTHER, "isv.INVALID_PARAMETERS"),
    ],
)
async def test_a_bad_update_is_refused_and_changes_nothing(
    sandbox: Sandbox, operate_type: str, name: str, value: str, code: str
) -> None:
    bound = await sandbox.bind()
    before = await detail_of(sandbox, bound)
    reply = await ask(sandbox, "UpdateSubscription", bound, **{"OperateType": operate_type, name: value})
    assert (reply.status, reply.code) == (200, code)
    assert await detail_of(sandbox, bound) == before


async def test_an_update_without_its_own_parameter_is_missed_at_the_gateway(sandbox: Sandbox) -> None:
    reply = await ask(sandbox, "UpdateSubscription", await sandbox.bind(), OperateType="updateIsRecordingEnabled")
    assert (reply.status, reply.code) == (400, "MissingIsRecordingEnabled")


async def test_a_binding_runs_out_by_the_sandboxs_clock(start: Start) -> None:
    sandbox = await start(pools=(parse_pool(f"{POOL}=1"),))
    bound = await sandbox.bind(Expiration=sandbox.clock.shanghai(100))
    sandbox.clock.advance(99)
    assert await sandbox.bind_code() == (200, "isv.NO_AVAILABLE_NUMBER")
    sandbox.clock.advance(1)
    assert (await detail_of(sandbox, bound))["Status"] == 0
    assert (await sandbox.bind())["SecretNo"] == bound["SecretNo"]


@pytest.mark.parametrize(
    ("operate_type", "name", "value", "step"),
    [
        ("updateNoA", "PhoneNoA", OTHER, "updateNoA"),
        ("updateNoB", "PhoneNoB", OTHER, "updateNoB"),
        ("updateExpire", "Expiration", "2099-01-01 00:00:00", "updateEndDate"),
    ],
)
async def test_what_has_run_out_cannot_be_updated(
    sandbox: Sandbox, operate_type: str, name: str, value: str, step: str
) -> None:
    bound = await sandbox.bind(Expiration=sandbox.clock.shanghai(100))
    sandbox.clock.advance(100)
    reply = await ask(sandbox, "UpdateSubscription", bound, **{"OperateType": operate_type, name: value})
    assert (reply.code, reply.body["Message"]) == ("isv.FORBIDDEN_ACTION", step)
    assert (await ask(sandbox, "UnbindSubscription", bound)).code == "isv.ILLEGAL_ARGUMENT"


async def test_a_moved_expiry_counts_instead_of_the_first(sandbox: Sandbox) -> None:
    bound = await sandbox.bind(Expiration=sandbox.clock.shanghai(100))
    later = sandbox.clock.shanghai(200)
    await ask(sandbox, "UpdateSubscription", bound, OperateType="updateExpire", Expiration=later)
    sandbox.clock.advance(199)
    assert (await detail_of(sandbox, bound))["Status"] == 1
    sandbox.clock.advance(1)
    assert (await detail_of(sandbox, bound))["Status"] == 0


async def test_the_expiry_of_an_unbound_binding_leaves_the_next_one_on_its_number_alone(start: Start) -> None:
    sandbox = await start(pools=(parse_pool(f"{POOL}=1"),))
    first = await sandbox.bind(Expiration=sandbox.clock.shanghai(100))
    await ask(sandbox, "UnbindSubscription", first)
    second = await sandbox.bind(PhoneNoX=first["SecretNo"])
    sandbox.clock.advance(100)
    assert (await detail_of(sandbox, second))["Status"] == 1
    assert [binding["ended"] for binding in await sandbox.bindings()] == ["unbound", None]
