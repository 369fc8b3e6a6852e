"""The sandbox's own face."""

import pytest
from aiohttp import ClientConnectionError

from .conftest import PHONE_A, PHONE_B, POOL, Sandbox


async def test_health_is_ok(sandbox: Sandbox) -> None:
    assert await sandbox.client.admin("GET", "health") == (200, {"status": "ok"})


async def test_a_binding_is_shown_whole(sandbox: Sandbox) -> None:
    parameters = sandbox.binding(PhoneNoB=PHONE_B, OutId="out", OutOrderId="order")
    sent = sandbox.client.v1("BindAxn", parameters, common={"SignatureNonce": "once"})
    reply = await sandbox.client.send(sent)
    assert await sandbox.bindings() == [
        {
            "SubsId": reply.body["SecretBindDTO"]["SubsId"],
            "PhoneNoA": PHONE_A,
            "PhoneNoX": reply.body["SecretBindDTO"]["SecretNo"],
            "PhoneNoB": PHONE_B,
            "PoolKey": POOL,
            "OutId": "out",
            "OutOrderId": "order",
            "ExpireDate": "2026-01-02 12:04:05",
            "GmtCreate": "2026-01-02 11:04:05",
            "live": True,
            "ended": None,
            "RequestId": reply.body["RequestId"],
            "SignatureNonce": "once",
        }
    ]


async def test_bindings_are_narrowed_by_both_outer_ids(sandbox: Sandbox) -> None:
    for out_id, order in (("a", "1"), ("a", "2"), ("b", "1")):
        await sandbox.bind(OutId=out_id, OutOrderId=order)

    async def found(query: str) -> list[tuple[str, str]]:
        return [(binding["OutId"], binding["OutOrderId"]) for binding in await sandbox.bindings(query)]

    assert await found("?out_id=a") == [("a", "1"), ("a", "2")]
    assert await found("?out_order_id=1") == [("a", "1"), ("b", "1")]
    assert await found("?out_id=a&out_order_id=2") == [("a", "2")]
    assert await found("?out_id=c") == []


async def test_ended_bindings_stay_visible_with_how_they_ended(sandbox: Sandbox) -> None:
    await sandbox.bind(Expiration=sandbox.clock.shanghai(100))
    bound = await sandbox.bind()
    await sandbox.client.call("UnbindSubscription", PoolKey=POOL, SecretNo=bound["SecretNo"], SubsId=bound["SubsId"])
    sandbox.clock.advance(100)
    ends = [(binding["live"], binding["ended"]) for binding in await sandbox.bindings()]
    assert ends == [(False, "expired"), (False, "unbound")]


async def test_stats_count_codes_and_requests_per_second(sandbox: Sandbox) -> None:
    second = int(sandbox.clock())
    await sandbox.bind()
    await sandbox.bind(Expiration=sandbox.clock.shanghai(100))
    sandbox.clock.advance(2)
    await sandbox.bind_code(PhoneNoA="1")
    await sandbox.client.call("Nonsense")
    _, stats = await sandbox.client.admin("GET", "stats")
    assert stats == {
        "actions": {
            "BindAxn": {
                "total": 3,
                "codes": {"OK": 2, "isv.MOBILE_NUMBER_ILLEGAL": 1},
                "per_second": [[second, 2], [second + 2, 1]],
            },
            "(unknown)": {"total": 1, "codes": {"InvalidAction.NotFound": 1}, "per_second": [[second + 2, 1]]},
        },
        "bindings": {"ever_made": 2, "live": 2},
    }


async def test_stats_remember_ten_minutes_of_seconds_and_all_totals(sandbox: Sandbox) -> None:
    await sandbox.bind(Expiration=sandbox.clock.shanghai(100))
    sandbox.clock.advance(599)
    assert (await sandbox.client.admin("GET", "stats"))[1]["actions"]["BindAxn"]["per_second"] != []
    sandbox.clock.advance(1)
    _, stats = await sandbox.client.admin("GET", "stats")
    assert stats["actions"]["BindAxn"] == {"total": 1, "codes": {"OK": 1}, "per_second": []}
    assert stats["bindings"] == {"ever_made": 1, "live": 0}


async def test_a_request_that_got_no_answer_is_counted_by_its_fault_or_its_effect(sandbox: Sandbox) -> None:
    await sandbox.fault(kind="close_before", count=1, action="QuerySubsId")
    await sandbox.fault(kind="close_after", count=1, action="BindAxn")
    for action, parameters in (("QuerySubsId", {}), ("BindAxn", sandbox.binding())):
        with pytest.raises(ClientConnectionError):
            await sandbox.client.call(action, **parameters)
    _, stats = await sandbox.client.admin("GET", "stats")
    assert {action: counted["codes"] for action, counted in stats["actions"].items()} == {
        "QuerySubsId": {"close_before": 1},
        "BindAxn": {"OK": 1},
    }
