"""The rate limit: what any one second holds, and how the rest is refused."""

from worker.sandbox.config import Limit

from .conftest import Sandbox, Start

LIMITS = (Limit("BindAxn", 2),)


async def bind_codes(sandbox: Sandbox, times: int) -> list[tuple[int, str]]:
    return [await sandbox.bind_code() for _ in range(times)]


async def test_a_second_holds_as_many_as_allowed_and_then_slides(start: Start) -> None:
    sandbox = await start(limits=LIMITS)
    assert await bind_codes(sandbox, 1) == [(200, "OK")]
    sandbox.clock.advance(0.6)
    assert await bind_codes(sandbox, 2) == [(200, "OK"), (400, "Throttling.User")]
    sandbox.clock.advance(0.4)
    assert await bind_codes(sandbox, 2) == [(200, "OK"), (400, "Throttling.User")]


async def test_other_actions_are_not_limited(start: Start) -> None:
    sandbox = await start(limits=LIMITS)
    for _ in range(5):
        reply = await sandbox.client.call("QuerySubsId", PoolKey="FC999999", PhoneNoX="1")
        assert reply.code == "isv.NO_NOT_EXIST"


async def test_no_limit_is_the_default(sandbox: Sandbox) -> None:
    assert [code for _, code in await bind_codes(sandbox, 5)] == ["OK"] * 5


async def test_the_product_may_refuse_instead_and_say_when_to_come_back(start: Start) -> None:
    sandbox = await start(limits=LIMITS, throttle_style="business", retry_after_ms=250)
    await bind_codes(sandbox, 2)
    reply = await sandbox.client.call("BindAxn", **sandbox.binding())
    assert (reply.status, reply.code, reply.headers["x-acs-retry-after"]) == (200, "isv.FLOW_LIMIT", "250")


async def test_without_a_setting_no_time_to_come_back_is_said(start: Start) -> None:
    sandbox = await start(limits=(Limit("BindAxn", 1),))
    await sandbox.bind()
    reply = await sandbox.client.call("BindAxn", **sandbox.binding())
    assert "x-acs-retry-after" not in reply.headers


async def test_a_request_with_a_bad_signature_takes_no_room(start: Start) -> None:
    sandbox = await start(limits=(Limit("BindAxn", 1),))
    sandbox.client.secret = "wrong"
    assert await sandbox.bind_code() == (400, "SignatureDoesNotMatch")
    sandbox.client.secret = "testsecret"
    assert await sandbox.bind_code() == (200, "OK")
