"""What is not known of the provider can be played either way."""

from dataclasses import replace
from typing import Any

import pytest

from worker.sandbox.config import parse_access_key, parse_limit, parse_pool
from worker.sandbox.server import build_app
from worker.sandbox.unknowns import Unknowns

from .conftest import CONFIG, PHONE_A, PHONE_B, POOL, Sandbox, Start
from .signing_client import SigningClient

OTHER_A = "15000000001"


async def subs_id(sandbox: Sandbox, bound: dict[str, str]) -> str:
    reply = await sandbox.client.call("QuerySubsId", PoolKey=POOL, PhoneNoX=bound["SecretNo"])
    return str(reply.body["SubsId"])


async def detail(sandbox: Sandbox, bound: dict[str, str]) -> tuple[str, dict[str, Any]]:
    names = {"PoolKey": POOL, "PhoneNoX": bound["SecretNo"], "SubsId": bound["SubsId"]}
    reply = await sandbox.client.call("QuerySubscriptionDetail", **names)
    return reply.code, reply.body.get("SecretBindDetailDTO", {})


async def update(sandbox: Sandbox, bound: dict[str, str], **changes: str) -> str:
    names = {"PoolKey": POOL, "PhoneNoX": bound["SecretNo"], "SubsId": bound["SubsId"]}
    return (await sandbox.client.call("UpdateSubscription", **names, **changes)).code


async def unbind(sandbox: Sandbox, bound: dict[str, str]) -> None:
    names = {"PoolKey": POOL, "SecretNo": bound["SecretNo"], "SubsId": bound["SubsId"]}
    assert (await sandbox.client.call("UnbindSubscription", **names)).code == "OK"


@pytest.mark.parametrize(("strict", "code"), [((), "OK"), ((POOL,), "isv.NO_AVAILABLE_NUMBER")])
async def test_a_pool_may_be_strict_about_cities(start: Start, strict: tuple[str, ...], code: str) -> None:
    sandbox = await start(unknowns=Unknowns(strict_city=strict))
    assert (await sandbox.bind_code(ExpectCity="广州"))[1] == code
    assert (await sandbox.bind_code(ExpectCity="北京"))[1] == "OK"
    assert (await sandbox.bind_code())[1] == "OK"


@pytest.mark.parametrize(("same_a", "code"), [("second_x", "OK"), ("refuse", "isv.NO_AVAILABLE_NUMBER")])
async def test_an_a_may_have_one_number_or_many(start: Start, same_a: Any, code: str) -> None:
    sandbox = await start(unknowns=Unknowns(same_a=same_a))
    await sandbox.bind()
    assert (await sandbox.bind_code())[1] == code
    assert (await sandbox.bind_code(PoolKey="FC999999"))[1] == "OK"


async def test_an_a_that_may_have_one_number_is_free_after_its_binding_or_an_update(start: Start) -> None:
    sandbox = await start(unknowns=Unknowns(same_a="refuse"))
    bound = await sandbox.bind()
    assert await update(sandbox, bound, OperateType="updateNoA", PhoneNoA=OTHER_A) == "OK"
    assert (await sandbox.bind_code())[1] == "OK"
    assert (await sandbox.bind_code(PhoneNoA=OTHER_A))[1] == "isv.NO_AVAILABLE_NUMBER"
    await unbind(sandbox, bound)
    assert (await sandbox.bind_code(PhoneNoA=OTHER_A))[1] == "OK"
    assert (await sandbox.bind_code(PhoneNoX=bound["SecretNo"]))[1] == "isv.NO_AVAILABLE_NUMBER"


async def test_a_named_number_that_is_bound_is_a_conflict_whatever_a_has(start: Start) -> None:
    sandbox = await start(unknowns=Unknowns(same_a="refuse"))
    bound = await sandbox.bind()
    assert (await sandbox.bind_code(PhoneNoX=bound["SecretNo"]))[1] == "isv.BIND_CONFLICT"


@pytest.mark.parametrize(("lapsed", "code"), [("status_0", "OK"), ("not_exist", "isv.SUBS_NOT_EXIST")])
async def test_a_lapsed_binding_may_be_told_or_denied(start: Start, lapsed: Any, code: str) -> None:
    sandbox = await start(unknowns=Unknowns(lapsed_detail=lapsed))
    bound = await sandbox.bind(Expiration=sandbox.clock.shanghai(100))
    sandbox.clock.advance(100)
    assert (await detail(sandbox, bound))[0] == code


@pytest.mark.parametrize(("unbound", "code"), [("status_0", "OK"), ("not_exist", "isv.SUBS_NOT_EXIST")])
async def test_an_unbound_binding_may_be_told_or_denied(start: Start, unbound: Any, code: str) -> None:
    sandbox = await start(unknowns=Unknowns(unbound_detail=unbound))
    bound = await sandbox.bind()
    await unbind(sandbox, bound)
    found, told = await detail(sandbox, bound)
    assert (found, told.get("Status", 0)) == (code, 0)


@pytest.mark.parametrize("shown", [False, True])
async def test_a_lapsed_id_may_still_be_named(start: Start, shown: bool) -> None:
    sandbox = await start(unknowns=Unknowns(lapsed_ids_shown=shown))
    bound = await sandbox.bind(Expiration=sandbox.clock.shanghai(100))
    sandbox.clock.advance(100)
    assert await subs_id(sandbox, bound) == (bound["SubsId"] if shown else "")


async def test_queries_lag_behind_a_binding_its_update_and_its_end(start: Start) -> None:
    sandbox = await start(unknowns=Unknowns(read_lag_ms=2000))
    bound = await sandbox.bind()
    sandbox.clock.advance(1.9)
    assert (await subs_id(sandbox, bound), (await detail(sandbox, bound))[0]) == ("", "isv.SUBS_NOT_EXIST")
    sandbox.clock.advance(0.2)
    assert (await subs_id(sandbox, bound), (await detail(sandbox, bound))[0]) == (bound["SubsId"], "OK")
    await update(sandbox, bound, OperateType="updateNoB", PhoneNoB=PHONE_B)
    assert (await detail(sandbox, bound))[1]["PhoneNoB"] == ""
    sandbox.clock.advance(2)
    assert (await detail(sandbox, bound))[1]["PhoneNoB"] == PHONE_B
    await unbind(sandbox, bound)
    assert await subs_id(sandbox, bound) == bound["SubsId"]
    sandbox.clock.advance(2)
    assert await subs_id(sandbox, bound) == ""


async def test_a_lagging_query_still_sees_the_earlier_binding_of_a_number(start: Start) -> None:
    sandbox = await start(unknowns=Unknowns(read_lag_ms=2000))
    first = await sandbox.bind()
    sandbox.clock.advance(5)
    await unbind(sandbox, first)
    second = await sandbox.bind(PhoneNoX=first["SecretNo"])
    assert await subs_id(sandbox, first) == first["SubsId"]
    sandbox.clock.advance(2)
    assert await subs_id(sandbox, first) == second["SubsId"] != first["SubsId"]


@pytest.mark.parametrize(
    ("burned_by", "after_throttling", "after_bad_signature"),
    [
        ("received", "SignatureNonceUsed", "SignatureNonceUsed"),
        ("signed", "SignatureNonceUsed", "OK"),
        ("accepted", "OK", "OK"),
    ],
)
async def test_whose_nonce_is_used_up(
    start: Start, burned_by: Any, after_throttling: str, after_bad_signature: str
) -> None:
    sandbox = await start(limits=(parse_limit("BindAxn=1"),), unknowns=Unknowns(nonce_burned_by=burned_by))
    await sandbox.bind()
    throttled = sandbox.client.v3("BindAxn", sandbox.binding())
    assert (await sandbox.client.send(throttled)).code == "Throttling.User"
    sandbox.clock.advance(1)
    assert (await sandbox.client.send(throttled)).code == after_throttling
    sandbox.clock.advance(1)
    nonce = {"x-acs-signature-nonce": "once"}
    good = sandbox.client.v3("BindAxn", sandbox.binding(), headers=nonce)
    sandbox.client.secret = "wrong"
    bad = sandbox.client.v3("BindAxn", sandbox.binding(), headers=nonce)
    assert (await sandbox.client.send(bad)).code == "SignatureDoesNotMatch"
    assert (await sandbox.client.send(good)).code == after_bad_signature
    assert (await sandbox.client.send(good)).code == "SignatureNonceUsed"


async def test_a_temporary_key_ends(start: Start) -> None:
    sandbox = await start(access_keys=(parse_access_key("sts:hush:TOKEN@1767323145"),))
    sandbox.client = SigningClient(
        sandbox.client.session, sandbox.client.base, sandbox.clock, "sts", "hush", token="TOKEN"
    )
    assert await sandbox.bind_code() == (200, "OK")
    sandbox.clock.advance(100)
    assert await sandbox.bind_code() == (400, "InvalidSecurityToken.Expired")


def test_only_figures_after_an_at_sign_end_a_key() -> None:
    ends = {text: parse_access_key(f"i:s:{text}") for text in ("t@o@12", "t@o", "@12")}
    assert [(key.token, key.expires_at) for key in ends.values()] == [("t@o", 12.0), ("t@o", None), ("@12", None)]


async def test_a_burst_is_allowed_after_a_rest_and_the_rate_in_the_long_run(start: Start) -> None:
    sandbox = await start(limits=(parse_limit("BindAxn=2:4"),), pools=(parse_pool(f"{POOL}=20"),))
    assert [(await sandbox.bind_code())[1] for _ in range(5)] == ["OK"] * 4 + ["Throttling.User"]
    sandbox.clock.advance(0.5)
    assert [(await sandbox.bind_code())[1] for _ in range(2)] == ["OK", "Throttling.User"]
    sandbox.clock.advance(60)
    assert [(await sandbox.bind_code())[1] for _ in range(5)] == ["OK"] * 4 + ["Throttling.User"]


@pytest.mark.parametrize("text", ["BindAxn=2:", "BindAxn=2:0", "BindAxn=:4"])
def test_a_bad_burst_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"same_a": "third_x"}, "same_a: 'third_x' is not known; use 'second_x' or 'refuse'"),
        ({"lapsed_detail": "x"}, "lapsed_detail"),
        ({"unbound_detail": "x"}, "unbound_detail"),
        ({"nonce_burned_by": "x"}, "nonce_burned_by: 'x' is not known; use 'received' or"),
        ({"read_lag_ms": -1}, "read_lag_ms: must be 0 or more"),
    ],
)
def test_a_switch_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Unknowns(**changes)


def test_a_strict_pool_must_exist() -> None:
    with pytest.raises(ValueError, match="strict_city: 'FC0' is not a pool of this sandbox; use FC123456"):
        build_app(replace(CONFIG, unknowns=Unknowns(strict_city=("FC0",))))


async def test_the_clock_moves_bindings_to_their_end_but_not_signatures(sandbox: Sandbox) -> None:
    await sandbox.bind(Expiration=sandbox.clock.shanghai(3600))
    moved = await sandbox.client.admin("POST", "clock", {"advance_s": 3600})
    assert moved == (200, {"now": "2026-01-02 12:04:05"})
    assert [binding["ended"] for binding in await sandbox.bindings()] == ["expired"]
    assert (await sandbox.bind_code(Expiration=sandbox.clock.shanghai(3600)))[1] == "isv.EXPIRE_DATE_ILLEGAL"
    assert (await sandbox.bind_code(Expiration=sandbox.clock.shanghai(3800)))[1] == "OK"


async def test_the_clock_of_signatures_moves_on_demand(sandbox: Sandbox) -> None:
    await sandbox.client.admin("POST", "clock", {"advance_s": 1000, "signatures": True})
    assert await sandbox.bind_code(PhoneNoA=PHONE_A) == (400, "InvalidTimeStamp.Expired")


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "advance_s"),
        ([], "advance_s"),
        ({"advance_s": -1}, "advance_s"),
        ({"advance_s": True}, "advance_s"),
        ({"advance_s": "1"}, "advance_s"),
        ({"advance_s": 1, "signatures": 1}, "signatures"),
    ],
)
async def test_a_bad_move_of_the_clock_is_refused(sandbox: Sandbox, payload: object, field: str) -> None:
    status, body = await sandbox.client.admin("POST", "clock", payload)
    assert (status, body["error"].split(":")[0]) == (400, field)
