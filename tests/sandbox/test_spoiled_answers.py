"""Answers that are not the true one, or do not come through whole; and what was done all the same."""

import time
from typing import Any

import pytest
from aiohttp import ClientError, ClientPayloadError

from worker.sandbox.magic import OUTCOMES

from .conftest import POOL, Sandbox, Start

EITHER = [False, True]


async def effects(sandbox: Sandbox, order: str = "") -> tuple[int, int]:
    _, body = await sandbox.client.admin("GET", f"effects?out_order_id={order}")
    return body["ever_made"], body["live"]


async def raw(sandbox: Sandbox, **changes: str) -> tuple[int, str, bytes]:
    """Bind and read the answer as it came, without following a redirect."""
    prepared = sandbox.client.v3("BindAxn", sandbox.binding(**changes))
    async with sandbox.client.session.post(prepared.url, headers=prepared.headers, allow_redirects=False) as response:
        return response.status, response.headers.get("Location", ""), await response.read()


@pytest.mark.parametrize("after", EITHER)
@pytest.mark.parametrize(
    ("kind", "status", "location", "start_of_body"),
    [
        ("html_502", 502, "", b"<html>"),
        ("garbage", 200, "", b"\x00\xff"),
        ("redirect", 302, "/_sandbox/health", b""),
        ("http_503", 503, "", b'{"RequestId"'),
        ("throttle", 400, "", b'{"RequestId"'),
    ],
)
async def test_another_answer_comes_before_or_after_the_effect(
    sandbox: Sandbox, kind: str, status: int, location: str, start_of_body: bytes, *, after: bool
) -> None:
    await sandbox.fault(kind=kind, count=1, after_effect=after)
    found = await raw(sandbox)
    assert found[:2] == (status, location)
    assert found[2].startswith(start_of_body)
    assert await effects(sandbox) == ((1, 1) if after else (0, 0))


@pytest.mark.parametrize("after", EITHER)
async def test_a_business_code_comes_before_or_after_the_effect(sandbox: Sandbox, after: bool) -> None:
    await sandbox.fault(kind="business", code="isp.SYSTEM_ERROR", count=1, after_effect=after)
    assert await sandbox.bind_code() == (200, "isp.SYSTEM_ERROR")
    assert await effects(sandbox) == ((1, 1) if after else (0, 0))
    assert await sandbox.bind_code() == (200, "OK")


async def test_a_business_code_has_its_probability(start: Start) -> None:
    sandbox = await start(seed=7)
    await sandbox.fault(kind="business", code="isp.DAO_EXCEPTION", probability=0.5)
    codes = [(await sandbox.bind_code(PhoneNoX="17099999999"))[1] for _ in range(100)]
    assert 30 < codes.count("isp.DAO_EXCEPTION") < 70
    assert set(codes) == {"isp.DAO_EXCEPTION", "isv.FORBIDDEN_ACTION"}


async def test_half_an_answer_breaks_off_after_the_effect(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="half_answer", count=1)
    with pytest.raises(ClientPayloadError):
        await raw(sandbox)
    assert await effects(sandbox) == (1, 1)


async def test_slow_headers_take_their_time_and_then_the_answer_is_whole(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="slow_headers", count=1, hold_ms=300)
    began = time.monotonic()
    assert await sandbox.bind_code() == (200, "OK")
    assert 0.25 < time.monotonic() - began < 5


async def test_slow_headers_outlast_a_client_that_gives_up(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="slow_headers", count=1)
    with pytest.raises(TimeoutError):
        await sandbox.client.send(sandbox.client.v3("BindAxn", sandbox.binding()), timeout_s=0.2)
    assert await effects(sandbox) == (1, 1)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"kind": "business"}, "code"),
        ({"kind": "business", "code": 5}, "code"),
        ({"kind": "garbage", "code": "isp.X"}, "code"),
        ({"kind": "close_before", "after_effect": True}, "after_effect"),
        ({"kind": "garbage", "after_effect": 1}, "after_effect"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(sandbox: Sandbox, payload: object, field: str) -> None:
    status, body = await sandbox.client.admin("POST", "faults", payload)
    assert (status, body["error"].split(":")[0]) == (400, field)


async def test_effects_count_the_bindings_of_an_order(sandbox: Sandbox) -> None:
    for order in ("42", "42", "43"):
        bound = await sandbox.bind(OutOrderId=order)
    await sandbox.client.call("UnbindSubscription", PoolKey=POOL, SecretNo=bound["SecretNo"], SubsId=bound["SubsId"])
    assert [await effects(sandbox, order) for order in ("42", "43", "44")] == [(2, 2), (1, 0), (0, 0)]
    _, body = await sandbox.client.admin("GET", "effects?out_order_id=43")
    assert [binding["SubsId"] for binding in body["bindings"]] == [bound["SubsId"]]


async def test_effects_need_an_order(sandbox: Sandbox) -> None:
    assert (await sandbox.client.admin("GET", "effects"))[0] == 400


async def test_a_reset_leaves_nothing_behind(start: Start) -> None:
    sandbox = await start()
    sent = sandbox.client.v3("BindAxn", sandbox.binding())
    first = (await sandbox.client.send(sent)).body["SecretBindDTO"]
    await sandbox.fault(kind="throttle")
    await sandbox.client.admin("POST", "clock", {"advance_s": 1000, "signatures": True})
    await sandbox.client.admin("POST", "clock", {"advance_s": 1000})
    assert await sandbox.client.admin("POST", "reset") == (200, {"status": "ok"})
    assert await sandbox.bindings() == []
    assert (await sandbox.client.admin("GET", "stats"))[1]["actions"] == {}
    assert (await sandbox.client.send(sent)).body["SecretBindDTO"] == first


def magic(prefix: str, outcome: str) -> dict[str, Any]:
    return {"PhoneNoA": f"{prefix}{outcome}"}


@pytest.mark.parametrize(
    ("outcome", "expected", "made"),
    [
        ("2001", (200, "isv.NO_AVAILABLE_NUMBER"), 0),
        ("2002", (200, "isv.BIND_CONFLICT"), 0),
        ("2004", (200, "isv.FLOW_LIMIT"), 0),
        ("2010", (200, "isp.SYSTEM_ERROR"), 0),
        ("2011", (200, "isp.SYSTEM_ERROR"), 1),
        ("4000", (400, "Throttling.User"), 0),
        ("5030", (503, "ServiceUnavailable"), 0),
        ("5031", (503, "ServiceUnavailable"), 1),
        ("0000", (200, "OK"), 1),
    ],
)
async def test_the_last_digits_of_a_choose_the_outcome(
    sandbox: Sandbox, outcome: str, expected: tuple[int, str], made: int
) -> None:
    for times in (1, 2):
        assert await sandbox.bind_code(**magic("1990000", outcome)) == expected
        assert (await effects(sandbox))[0] == made * times


@pytest.mark.parametrize("outcome", sorted(OUTCOMES.keys() - {"6003", "7004"}))
async def test_every_magic_outcome_spoils_one_answer_where_asked_to(sandbox: Sandbox, outcome: str) -> None:
    try:
        status, _, body = await raw(sandbox, **magic("1990001", outcome))
    except ClientError:
        status, body = 0, b""
    assert (status, b'"Code": "OK"' in body) != (200, True)
    assert await sandbox.bind_code(**magic("1990001", outcome)) == (200, "OK")


@pytest.mark.parametrize("outcome", ["6003", "7004"])
async def test_magic_keeps_a_client_waiting(sandbox: Sandbox, outcome: str) -> None:
    prepared = sandbox.client.v3("BindAxn", sandbox.binding(**magic("1990001", outcome)))
    with pytest.raises(TimeoutError):
        await sandbox.client.send(prepared, timeout_s=0.2)
    assert await effects(sandbox) == (1, 1)


async def test_magic_can_be_switched_off(start: Start) -> None:
    sandbox = await start(magic_numbers=False)
    assert await sandbox.bind_code(**magic("1990000", "2001")) == (200, "OK")
