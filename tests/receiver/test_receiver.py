import asyncio
import base64
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks.webhooks import Webhook

from worker.receiver.config import ReceiverConfig
from worker.receiver.events import Call
from worker.receiver.server import Receiver, serve
from worker.receiver.verifier import Verifier

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "QUJD" * 8
PHONE = "13800001111"
BODY = json.dumps({"type": "bind.succeeded", "timestamp": "2026-01-01T00:00:00Z", "data": {"phone": PHONE}})
MIB = 1024 * 1024


class Caller:
    """A sender of callbacks that may also do it wrong."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def call(
        self, body: str = BODY, *, webhook_id: str = "msg_1", secret: str = SECRET, age: timedelta = timedelta()
    ) -> httpx.Response:
        return await self.post(body.encode(), signed(body, webhook_id=webhook_id, secret=secret, age=age))

    async def post(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        # As bytes: httpx refuses to send other text than ASCII, others do not.
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        return await self.client.post("/hooks/axn", content=body, headers=raw)

    async def stats(self) -> dict[str, int]:
        stats: dict[str, int] = (await self.client.get("/_receiver/stats")).json()
        return stats

    async def events(self, event_type: str | None = None) -> list[dict[str, Any]]:
        query = {} if event_type is None else {"type": event_type}
        events: list[dict[str, Any]] = (await self.client.get("/_receiver/events", params=query)).json()
        return events


def signed(
    body: str = BODY, *, webhook_id: str = "msg_1", secret: str = SECRET, age: timedelta = timedelta()
) -> dict[str, str]:
    when = datetime.now(UTC) - age
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, when, body),
    }


@asynccontextmanager
async def receiver(**options: Any) -> AsyncIterator[Caller]:
    async with receiver_of(ReceiverConfig(**{"secrets": (SECRET,)} | options)) as caller:
        yield caller


@asynccontextmanager
async def receiver_of(config: ReceiverConfig, listening: Receiver | None = None) -> AsyncIterator[Caller]:
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(config, on_ready=url.set_result, receiver=listening))
    try:
        async with asyncio.timeout(10), httpx.AsyncClient(base_url=await url) as client:
            yield Caller(client)
    finally:
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with receiver() as caller:
        yield caller


async def assert_refused(caller: Caller, answer: httpx.Response, reason: str) -> None:
    assert answer.status_code == 401
    assert reason in answer.text
    stats = await caller.stats()
    assert (stats["received"], stats["verified"], stats["refused"]) == (1, 0, 1)


# --- Verifying ---


async def test_a_call_signed_with_the_secret_is_verified_and_kept(caller: Caller) -> None:
    answer = await caller.call()
    assert (answer.status_code, answer.content) == (204, b"")
    assert await caller.stats() == {
        "received": 1, "verified": 1, "refused": 0, "events": 1, "duplicates": 0, "bodies_differ": 0,
    }  # fmt: skip
    assert await caller.events() == [
        {"webhook_id": "msg_1", "type": "bind.succeeded", "received": 1, "verified": 1, "data": {"phone": PHONE}}
    ]


async def test_the_wrong_secret_is_refused(caller: Caller) -> None:
    await assert_refused(caller, await caller.call(secret=OTHER_SECRET), "No matching signature found")
    assert await caller.events() == [{"webhook_id": "msg_1", "type": None, "received": 1, "verified": 0, "data": None}]
    assert (await caller.stats())["events"] == 0


async def test_a_body_changed_on_its_way_is_refused(caller: Caller) -> None:
    answer = await caller.post(BODY.replace(PHONE, "13900002222").encode(), signed())
    await assert_refused(caller, answer, "No matching signature found")


@pytest.mark.parametrize(("age", "reason"), [(timedelta(minutes=6), "too old"), (-timedelta(minutes=6), "too new")])
async def test_a_stale_or_future_timestamp_is_refused(caller: Caller, age: timedelta, reason: str) -> None:
    await assert_refused(caller, await caller.call(age=age), reason)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_a_missing_header_is_refused(caller: Caller, missing: str) -> None:
    headers = signed()
    del headers[missing]
    await assert_refused(caller, await caller.post(BODY.encode(), headers), "Missing required headers")


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("webhook-signature", "v1", "Malformed"),
        ("webhook-signature", "v1,a,b", "Malformed"),
        ("webhook-signature", "v1,A", "Malformed"),
        ("webhook-signature", "v1,é", "Malformed"),
        ("webhook-signature", "v1a,AAAA", "No matching signature found"),
        ("webhook-id", "é", "No matching signature found"),
        ("webhook-timestamp", "yesterday", "Invalid Signature Headers"),
        ("webhook-timestamp", "nan", "Invalid Signature Headers"),
        ("webhook-timestamp", "1e400", "Invalid Signature Headers"),
    ],
)
async def test_a_malformed_header_is_refused(caller: Caller, header: str, value: str, reason: str) -> None:
    answer = await caller.post(BODY.encode(), signed() | {header: value})
    await assert_refused(caller, answer, reason)


async def test_a_header_that_is_not_utf_8_is_refused(caller: Caller) -> None:
    headers = {name.encode(): value.encode() for name, value in signed().items()} | {b"webhook-id": b"\xff"}
    answer = await caller.client.post("/", content=BODY, headers=list(headers.items()))
    await assert_refused(caller, answer, "Malformed")
    assert [event["verified"] for event in await caller.events()] == [0]


async def test_a_body_that_is_not_utf_8_is_refused(caller: Caller) -> None:
    await assert_refused(caller, await caller.post(b"\xff\xfe", signed()), "Malformed")


async def test_a_body_above_one_mib_is_refused(caller: Caller) -> None:
    assert (await caller.call("x" * MIB)).status_code == 204
    answer = await caller.call("x" * (MIB + 1))
    assert answer.status_code == 413
    assert (await caller.stats())["refused"] == 1


async def test_any_of_several_secrets_verifies() -> None:
    async with receiver(secrets=(OTHER_SECRET, SECRET)) as caller:
        assert (await caller.call(webhook_id="msg_1", secret=SECRET)).status_code == 204
        assert (await caller.call(webhook_id="msg_2", secret=OTHER_SECRET)).status_code == 204


async def test_one_fitting_signature_of_several_is_enough(caller: Caller) -> None:
    headers = signed()
    headers["webhook-signature"] = f"{signed(secret=OTHER_SECRET)['webhook-signature']} {headers['webhook-signature']}"
    assert (await caller.post(BODY.encode(), headers)).status_code == 204


@pytest.mark.parametrize("body", ["no json", "[1]", '{"type": 1}', "[" * 100_000, ""])
async def test_a_verified_body_need_not_be_a_standard_event(caller: Caller, body: str) -> None:
    assert (await caller.call(body)).status_code == 204
    assert [(event["type"], event["data"]) for event in await caller.events()] == [(None, None)]


# --- Keeping ---


async def test_a_second_delivery_counts_as_a_duplicate(caller: Caller) -> None:
    for webhook_id in ("msg_1", "msg_1", "msg_2"):
        await caller.call(webhook_id=webhook_id)
    stats = await caller.stats()
    assert (stats["verified"], stats["events"], stats["duplicates"], stats["bodies_differ"]) == (3, 2, 1, 0)
    assert [(event["received"], event["verified"]) for event in await caller.events()] == [(2, 2), (1, 1)]


async def test_differing_bodies_of_one_webhook_id_are_told(caller: Caller) -> None:
    await caller.call()
    await caller.call(BODY.replace("succeeded", "failed"))
    await caller.call(webhook_id="msg_2")
    assert (await caller.stats())["bodies_differ"] == 1
    assert (await caller.events())[0]["type"] == "bind.failed"


async def test_a_forged_call_does_not_touch_what_is_kept(caller: Caller) -> None:
    await caller.call()
    await caller.call('{"type": "forged"}', secret=OTHER_SECRET)
    stats = await caller.stats()
    assert (stats["bodies_differ"], stats["duplicates"]) == (0, 0)
    assert await caller.events() == [
        {"webhook_id": "msg_1", "type": "bind.succeeded", "received": 2, "verified": 1, "data": {"phone": PHONE}}
    ]


async def test_events_are_listed_by_type(caller: Caller) -> None:
    await caller.call(webhook_id="msg_1")
    await caller.call(BODY.replace("succeeded", "failed"), webhook_id="msg_2")
    assert [event["webhook_id"] for event in await caller.events("bind.failed")] == ["msg_2"]
    assert [event["webhook_id"] for event in await caller.events()] == ["msg_1", "msg_2"]
    assert await caller.events("bind.unknown") == []


async def test_any_path_takes_callbacks_except_the_receivers_own(caller: Caller) -> None:
    for path in ("/", "/a/b?c=d", "/_receiver"):
        assert (await caller.client.post(path, content=BODY, headers=signed())).status_code == 204
    for path in ("/_receiver/stats", "/_receiver/other"):
        assert (await caller.client.post(path, content=BODY, headers=signed())).status_code in {404, 405}
    assert (await caller.client.get("/hooks/axn")).status_code == 405


async def test_it_tells_that_it_is_healthy(caller: Caller) -> None:
    answer = await caller.client.get("/_receiver/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_nothing_of_a_call_is_logged(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await caller.client.post(f"/?phone={PHONE}", content=BODY, headers=signed())
    await caller.client.post(f"/?phone={PHONE}", content=BODY, headers=signed(secret=OTHER_SECRET))
    assert not [record for record in caplog.records if record.name.startswith(("aiohttp", "worker"))]


# --- Failing on purpose ---


async def test_a_call_failed_on_purpose_is_not_delivered() -> None:
    async with receiver(fail_share=1.0) as caller:
        assert (await caller.call()).status_code == 500
        stats = await caller.stats()
    assert stats == {
        "received": 1, "verified": 0, "refused": 0, "events": 0, "duplicates": 0, "bodies_differ": 0,
    }  # fmt: skip


async def test_a_retry_after_a_failure_is_no_duplicate_but_must_carry_the_same_body() -> None:
    async with receiver(fail_share=0.5, seed=1) as caller:
        statuses = [(await caller.call(BODY + " " * attempt)).status_code for attempt in range(6)]
        stats = await caller.stats()
    assert {204, 500} == set(statuses)
    assert stats["duplicates"] == statuses.count(204) - 1
    assert stats["bodies_differ"] == 1


async def test_the_share_of_failures_is_kept_and_repeatable() -> None:
    async def statuses() -> list[int]:
        async with receiver(fail_share=0.3, seed=7) as caller:
            return [(await caller.call(webhook_id=f"msg_{number}")).status_code for number in range(100)]

    first = await statuses()
    assert first == await statuses()
    assert 15 <= first.count(500) <= 45


async def test_the_status_of_a_delivered_call_can_be_chosen() -> None:
    async with receiver(status=410) as caller:
        assert (await caller.call()).status_code == 410
        assert (await caller.stats())["verified"] == 1


async def test_a_call_held_back_is_counted_even_if_the_caller_gives_up() -> None:
    async with receiver(delay_ms=60_000) as caller:
        with pytest.raises(httpx.ReadTimeout):
            await caller.client.post("/", content=BODY, headers=signed(), timeout=0.2)
        assert (await caller.stats())["verified"] == 1


async def test_an_answer_is_held_back_as_long_as_asked() -> None:
    async with receiver(delay_ms=50) as caller:
        answer = await caller.call()
    assert answer.status_code == 204
    assert answer.elapsed >= timedelta(milliseconds=50)


# --- Configuring ---


async def test_the_url_of_an_ipv6_address_is_usable() -> None:
    async with receiver(host="::1") as caller:
        assert (await caller.call()).status_code == 204


async def test_a_taken_port_is_an_error() -> None:
    async with receiver() as caller:
        taken = ReceiverConfig(secrets=(SECRET,), port=caller.client.base_url.port or 0)
        with pytest.raises(OSError, match="address already in use"):
            await serve(taken, on_ready=lambda url: None)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"secrets": ()}, "secrets"),
        ({"fail_share": 1.1}, "fail_share"),
        ({"fail_share": -0.1}, "fail_share"),
        ({"status": 100}, "status"),
        ({"delay_ms": -1}, "delay_ms"),
        ({"redirect": "http://h/", "status": 200}, "status"),
        ({"redirect": "http://h/\r\nx: y"}, "redirect"),
        ({"retry_after": "\n"}, "retry_after"),
    ],
)
def test_a_value_out_of_range_is_named(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        ReceiverConfig(**{"secrets": (SECRET,)} | options)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_A"])
async def test_a_bad_secret_is_told_by_its_place(secret: str) -> None:
    with pytest.raises(ValueError, match="secret number 2"):
        await serve(ReceiverConfig(secrets=(SECRET, secret)), on_ready=lambda url: None)


def test_a_configuration_does_not_show_its_secrets() -> None:
    assert SECRET not in repr(ReceiverConfig(secrets=(SECRET,)))


# --- Ed25519 ---

PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC_SECRET = "whpk_" + base64.b64encode(PRIVATE_KEY.public_key().public_bytes_raw()).decode()


def signed_v1a(
    body: str = BODY, *, age: timedelta = timedelta(), changed: dict[str, str] | None = None
) -> dict[str, str]:
    changed = changed or {}
    timestamp = changed.get("webhook-timestamp") or str(int((datetime.now(UTC) - age).timestamp()))
    signature = base64.b64encode(PRIVATE_KEY.sign(f"msg_1.{timestamp}.{body}".encode())).decode()
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,AAAA v1a,{signature}",
    } | changed


async def test_a_public_key_verifies_beside_a_secret() -> None:
    async with receiver(secrets=(SECRET, PUBLIC_SECRET)) as caller:
        assert (await caller.post(BODY.encode(), signed_v1a())).status_code == 204
        assert (await caller.call()).status_code == 204
        assert (await caller.stats())["verified"] == 2


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"body": BODY + " "}, "No matching signature found"),
        ({"age": timedelta(minutes=6)}, "too old"),
        ({"age": -timedelta(minutes=6)}, "too new"),
        ({"changed": {"webhook-id": "msg_2"}}, "No matching signature found"),
        ({"changed": {"webhook-timestamp": "+1"}}, "Invalid Signature Headers"),
        ({"changed": {"webhook-signature": "v1a,!"}}, "Malformed"),
        ({"changed": {"webhook-signature": "v1a,AAAA"}}, "No matching signature found"),
        ({"changed": {"webhook-signature": ""}}, "Missing required headers"),
    ],
)
async def test_what_a_public_key_does_not_verify_is_refused(wrong: dict[str, Any], reason: str) -> None:
    async with receiver(secrets=(PUBLIC_SECRET,)) as caller:
        await assert_refused(caller, await caller.post(BODY.encode(), signed_v1a(**wrong)), reason)


@pytest.mark.parametrize(
    ("secret", "rule"),
    [("whpk_QUJD", "32 bytes of an ed25519 public key"), ("whpk_A", "empty or not base64"), ("whsk_QUJD", "whpk_")],
)
def test_a_key_that_verifies_nothing_is_told_by_its_place(secret: str, rule: str) -> None:
    with pytest.raises(ValueError, match=f"secret number 2.*{rule}"):
        Verifier((SECRET, secret))


def test_without_cryptography_a_public_key_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(ValueError, match=r"secret number 1 needs .* pip install 'axn-bind-worker\[ed25519\]'"):
        Verifier((PUBLIC_SECRET,))


# --- Answering badly ---


@pytest.mark.parametrize(
    ("options", "status", "headers"),
    [
        ({"retry_after": "5"}, 503, {"retry-after": "5"}),
        ({"retry_after": "5", "status": 429}, 429, {"retry-after": "5"}),
        ({"retry_after": "5", "fail_share": 1.0}, 500, {"retry-after": "5"}),
        ({"retry_after": "5", "status": 200}, 200, {}),
        ({"redirect": "http://127.0.0.1:1/x"}, 302, {"location": "http://127.0.0.1:1/x"}),
        ({"redirect": "http://127.0.0.1:1/x", "status": 308}, 308, {"location": "http://127.0.0.1:1/x"}),
        ({"redirect": "http://127.0.0.1:1/x", "fail_share": 1.0}, 500, {}),
    ],
)
async def test_an_answer_can_be_chosen(options: dict[str, Any], status: int, headers: dict[str, str]) -> None:
    async with receiver(**options) as caller:
        answer = await caller.call()
        refused = await caller.call(secret=OTHER_SECRET)
    assert answer.status_code == status
    found = {name: answer.headers[name] for name in ("retry-after", "location") if name in answer.headers}
    assert found == headers
    assert (refused.status_code, "location" in refused.headers) == (401, False)


# --- Listening in ---


async def test_each_call_is_told_as_it_was_answered() -> None:
    calls: list[Call] = []
    config = ReceiverConfig(secrets=(SECRET,), status=410)
    listening = Receiver(config, calls.append)
    async with receiver_of(config, listening) as caller:
        await caller.call()
        await caller.call(secret=OTHER_SECRET)
        await caller.call(BODY + " ")
        await caller.post(b"x", {})
        await caller.call("x" * (MIB + 1), webhook_id="msg_2")
    told = [(call.webhook_id, call.number, call.refusal, call.status, call.type) for call in calls]
    assert told == [
        ("msg_1", 1, "", 410, "bind.succeeded"),
        ("msg_1", 2, "No matching signature found", 401, None),
        ("msg_1", 3, "", 410, "bind.succeeded"),
        ("", 0, "Missing required headers", 401, None),
        ("msg_2", 1, "Body above 1 MiB", 413, None),
    ]
    assert [call.has_other_body for call in calls] == [False, False, True, False, False]
    assert calls[0].data == {"phone": PHONE}
    assert calls[1].data is None
    assert listening.stats["refused"] == 3
