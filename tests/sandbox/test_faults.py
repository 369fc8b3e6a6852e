"""Faults: each does what it says, and no more often than asked."""

import asyncio
import time
from typing import Any

import pytest
from aiohttp import ClientConnectionError

from worker.sandbox.faults import Fault, Faults

from .conftest import Sandbox, Start


async def live(sandbox: Sandbox) -> int:
    return len([binding for binding in await sandbox.bindings() if binding["live"]])


async def test_close_before_does_nothing_and_hangs_up(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="close_before", count=1)
    with pytest.raises(ClientConnectionError):
        await sandbox.bind_code()
    assert await live(sandbox) == 0
    assert await sandbox.bind_code() == (200, "OK")


@pytest.mark.parametrize(("kind", "code"), [("close_before", "OK"), ("close_after", "SignatureNonceUsed")])
async def test_only_a_request_that_arrived_leaves_its_nonce_used(sandbox: Sandbox, kind: str, code: str) -> None:
    await sandbox.fault(kind=kind, count=1)
    sent = sandbox.client.v3("BindAxn", sandbox.binding())
    with pytest.raises(ClientConnectionError):
        await sandbox.client.send(sent)
    assert (await sandbox.client.send(sent)).code == code
    assert await live(sandbox) == 1


async def test_close_after_binds_and_hangs_up(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="close_after", count=1)
    with pytest.raises(ClientConnectionError):
        await sandbox.bind_code()
    assert await live(sandbox) == 1


async def test_timeout_after_binds_and_says_nothing_until_the_client_gives_up(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="timeout_after", count=1)
    with pytest.raises(TimeoutError):
        await sandbox.client.send(sandbox.client.v3("BindAxn", sandbox.binding()), timeout_s=0.1)
    assert await live(sandbox) == 1


async def test_timeout_after_hangs_up_when_its_bound_is_reached(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="timeout_after", count=1, hold_ms=20)
    with pytest.raises(ClientConnectionError):
        await sandbox.bind_code()
    assert await live(sandbox) == 1


async def test_http_503_refuses_and_does_nothing(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="http_503", count=1)
    assert await sandbox.bind_code() == (503, "ServiceUnavailable")
    assert await live(sandbox) == 0


@pytest.mark.parametrize(
    ("style", "expected"), [("gateway", (400, "Throttling.User")), ("business", (200, "isv.FLOW_LIMIT"))]
)
async def test_throttle_refuses_in_the_style_set_and_does_nothing(
    start: Start, style: str, expected: tuple[int, str]
) -> None:
    sandbox = await start(throttle_style=style)
    await sandbox.fault(kind="throttle", count=1, retry_after_ms=700)
    reply = await sandbox.client.call("BindAxn", **sandbox.binding())
    assert (reply.status, reply.code) == expected
    assert reply.headers["x-acs-retry-after"] == "700"
    assert await live(sandbox) == 0


async def test_latency_waits_before_the_answer_and_adds_to_the_setting(start: Start) -> None:
    sandbox = await start(latency_ms=20)
    await sandbox.fault(kind="latency", latency_ms=30, count=1)
    began = time.monotonic()
    assert await sandbox.bind_code() == (200, "OK")
    assert time.monotonic() - began >= 0.05


async def test_the_binding_is_there_while_its_answer_still_waits(start: Start) -> None:
    sandbox = await start(latency_ms=60_000)
    waiting = asyncio.create_task(sandbox.bind())
    async with asyncio.timeout(5):
        while not await live(sandbox):
            pass
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await live(sandbox) == 1


async def test_a_fault_may_meet_one_action_only(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="http_503", action="QuerySubsId")
    assert await sandbox.bind_code() == (200, "OK")
    assert (await sandbox.client.call("QuerySubsId", PoolKey="FC999999", PhoneNoX="1")).status == 503


async def test_a_fault_does_not_hide_a_bad_signature(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="http_503", count=1)
    sandbox.client.secret = "wrong"
    assert await sandbox.bind_code() == (400, "SignatureDoesNotMatch")
    assert (await sandbox.client.admin("GET", "faults"))[1]["faults"][0]["count"] == 1


async def test_faults_are_listed_with_what_they_met_and_cleared_together(sandbox: Sandbox) -> None:
    _, first = await sandbox.client.admin("POST", "faults", {"kind": "throttle", "count": 1})
    _, second = await sandbox.client.admin("POST", "faults", {"kind": "latency", "latency_ms": 1})
    assert first["id"] != second["id"]
    assert (await sandbox.bind_code())[1] == "Throttling.User"
    assert (await sandbox.bind_code())[1] == "OK"
    listed = (await sandbox.client.admin("GET", "faults"))[1]["faults"]
    assert [(fault["kind"], fault["count"], fault["applied"]) for fault in listed] == [
        ("throttle", 0, 1),
        ("latency", None, 2),
    ]
    assert await sandbox.client.admin("DELETE", "faults") == (200, {"removed": 2})
    assert (await sandbox.client.admin("GET", "faults"))[1] == {"faults": []}


@pytest.mark.parametrize(
    ("payload", "field", "fix"),
    [
        ({"kind": "earthquake"}, "kind", "one of latency, throttle, http_503, close_before"),
        ({"probability": 1}, "kind", "one of latency"),
        ({"kind": "throttle", "probability": 1.5}, "probability", "a number from 0 to 1"),
        ({"kind": "throttle", "probability": True}, "probability", "a number from 0 to 1"),
        ({"kind": "throttle", "count": 0}, "count", "null for no end"),
        ({"kind": "throttle", "count": True}, "count", "null for no end"),
        ({"kind": "throttle", "action": "BindAx"}, "action", "name one, or null for all"),
        ({"kind": "throttle", "action": 5}, "action", "null for all"),
        ({"kind": "throttle", "retry_after_ms": 0}, "retry_after_ms", "milliseconds from 1"),
        ({"kind": "latency"}, "latency_ms", "e.g. 500"),
        ({"kind": "latency", "latency_ms": 120_001}, "latency_ms", "milliseconds from 0 to 120000"),
        ({"kind": "timeout_after", "hold_ms": 0}, "hold_ms", "milliseconds from 1"),
        ({"kind": "throttle", "often": 1}, "often", "use kind, probability, count"),
        ({"kind": ["latency"]}, "kind", "one of latency"),
        (["throttle"], "body", "send a JSON object"),
    ],
)
async def test_a_bad_fault_is_refused_with_field_and_fix(
    sandbox: Sandbox, payload: object, field: str, fix: str
) -> None:
    status, body = await sandbox.client.admin("POST", "faults", payload)
    assert status == 400
    assert body["error"].startswith(f"{field}: ")
    assert fix in body["error"]


async def test_a_fault_that_is_not_json_is_refused(sandbox: Sandbox) -> None:
    url = f"{sandbox.client.base}/_sandbox/faults"
    async with sandbox.client.session.post(url, data=b"{") as response:
        assert (response.status, (await response.json())["error"][:6]) == (400, "body: ")


def drawn(seed: int, **fault: Any) -> list[bool]:
    faults = Faults(seed=seed)
    faults.add(Fault(**fault))
    return [faults.draw("BindAxn")[1] is not None for _ in range(2000)]


def test_probability_is_a_share_and_the_seed_repeats_it() -> None:
    met = drawn(7, kind="throttle", probability=0.25)
    assert 400 < sum(met) < 600
    assert met == drawn(7, kind="throttle", probability=0.25) != drawn(8, kind="throttle", probability=0.25)
    assert not any(drawn(7, kind="throttle", probability=0.0))


def test_the_oldest_fault_decides_and_the_younger_is_not_used_up() -> None:
    faults = Faults(seed=0)
    younger = Fault(kind="throttle", count=1)
    faults.add(Fault(kind="http_503", count=1, latency_ms=5))
    faults.add(younger)
    wait_ms, fate = faults.draw("BindAxn")
    assert (wait_ms, fate and fate.kind, younger.count) == (5, "http_503", 1)
