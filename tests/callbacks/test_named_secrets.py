"""A secret that a request names, from its acceptance to the signature of its callback."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from typing import Any

import pytest
from redis.asyncio import Redis
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.attempt.bench import DONE, URL, Bench
from tests.intake.test_intake import RecordingPublisher, intake_on
from tests.ledger.support import callback_record_of, claimed, ledger_of, put, record_of
from tests.provider.loopback import always, answer, serving
from worker.attempt.found_bindings import FoundBindingsDesk
from worker.attempt.resolution import Resolutions
from worker.callbacks.guard import ReceiverRules, guarded_socket_factory
from worker.callbacks.keyring import SharedKeyring
from worker.callbacks.receivers import receiver_of
from worker.callbacks.rotation import Rotation, Rotations, host_owner, named_owner
from worker.callbacks.sender import CallbackSender
from worker.callbacks.signature import HmacKey
from worker.clock import SystemClock
from worker.domain.bind_request import BindRequest
from worker.domain.job import JobKind, JobState
from worker.domain.job_ids import job_id_for_key
from worker.errors import InvalidRequestError, LedgerUnavailableError
from worker.http import HttpClient
from worker.intake.intake import Intake
from worker.ledger.audit import Audit
from worker.ledger.callback_secrets import CallbackSecrets
from worker.ledger.callbacks import CallbackLedger
from worker.ledger.keys import job_keys
from worker.redis_scripts import connect

REQUEST: dict[str, Any] = {"phone_no_a": "15012345678", "expires_in": "2h", "callback_url": "https://8.8.8.8/axn"}


@pytest.fixture
def intake(redis: Redis) -> Iterator[Intake]:
    with ThreadPoolExecutor(1) as executor:
        yield intake_on(redis, RecordingPublisher(), executor)


@pytest.fixture
async def orders(redis: Redis) -> Rotation:
    return await Rotations(CallbackSecrets(redis)).rotate(named_owner("orders"), grace_ms=0)


async def test_a_name_that_has_no_key_is_refused_and_nothing_stored(intake: Intake, redis: Redis) -> None:
    request = BindRequest(**REQUEST, callback_secret_name="ordres")
    rule = r"callback_secret_name: no such secret; `axn callbacks rotate --name` makes one.* \(given: ordres\)"
    with pytest.raises(InvalidRequestError, match=f"^{rule}"):
        await intake.submit(request)
    with pytest.raises(InvalidRequestError, match=rf"^\[1\]\.{rule}"):
        await intake.submit_many([BindRequest(**REQUEST), request])
    assert await redis.keys("*") == []


async def test_where_redis_is_away_nothing_is_said_of_the_name() -> None:
    away = connect("redis://127.0.0.1:1/0", timeout_ms=200)
    with pytest.raises(LedgerUnavailableError, match="cannot be reached"):
        await CallbackSecrets(away).unknown_names(["orders"])
    await away.aclose()


async def test_the_name_stands_in_the_job_and_makes_it_another_request(
    intake: Intake, redis: Redis, orders: Rotation
) -> None:
    request = BindRequest(**REQUEST, callback_secret_name="orders")
    job_id = await intake.submit(request)
    assert (await record_of(redis, job_id))["callback_secret_name"] == "orders"
    assert (await claimed(ledger_of(redis), job_id)).callback_secret_name == "orders"
    assert request.digest() != BindRequest(**REQUEST).digest()


@pytest.mark.parametrize(("name", "kept"), [("orders", "orders"), ("ordres", None), ("a b", None), (7, None)])
async def test_a_refused_message_is_told_with_the_secret_it_names_if_there_is_one(
    intake: Intake, redis: Redis, orders: Rotation, name: object, kept: str | None
) -> None:
    given = {**REQUEST, "phone_no_a": "x", "callback_secret_name": name}
    await intake.file_message(given, task_id="task-1", kind=JobKind.BIND)
    record = await record_of(redis, job_id_for_key("task-1"))
    assert record.get("callback_secret_name") == kept
    assert record["callback_url"] == REQUEST["callback_url"]


async def test_every_callback_of_a_job_carries_its_secrets_name(redis: Redis) -> None:
    bench = Bench(redis)
    bench.provider.answers = [DONE]
    job = await bench.opened(callback_secret_name="orders")
    await bench.attempt(job)
    (started,) = bench.courier.started
    assert started.secret == (await callback_record_of(redis, started.webhook_id))["secret"] == "orders"

    held = await bench.opened(key="2", callback_secret_name="orders")
    claim = await claimed(bench.ledger, held.job_id)
    in_doubt = {"state": JobState.IN_DOUBT.value, "token": "", "lease_until": "0"}
    await put(redis, job_keys(held.job_id).job, **in_doubt)
    desk = FoundBindingsDesk(bench.ledger, bench.clock, 1_000)
    resolutions = Resolutions(
        bench.ledger, desk, Audit(redis), bench.replacements, bench.clock, 1_000, full_phone_no_a=True
    )
    await resolutions.not_bound(held.job_id, by="me")
    resolved = await callback_record_of(redis, f"{held.job_id}-{claim.fence + 1}")
    assert resolved["secret"] == "orders"
    assert '"phone_no_a":"15012345678"' in resolved["body"]

    await desk.report(await bench.ledger.claim_of_ended(held.job_id), "17000002222", "900")
    orphaned = await callback_record_of(redis, f"{held.job_id}-orphan-900")
    assert (orphaned["secret"], orphaned["url"]) == ("orders", URL)
    assert '"state":"failed","phone_no_a":"150****5678"' in orphaned["body"]
    taken = await CallbackLedger(redis).claim(f"{held.job_id}-orphan-900", receiver_of(URL), token="t", lease_ms=1_000)
    assert taken is not None
    assert taken.secret == "orders"


async def test_a_callback_is_signed_with_its_requests_secret_else_its_receivers(redis: Redis, orders: Rotation) -> None:
    default = HmacKey(bytes(24))
    shop = await Rotations(CallbackSecrets(redis)).rotate(host_owner("127.0.0.1"), grace_ms=0)
    rules = ReceiverRules(allow_http=True, allow_nets=[ip_network("127.0.0.0/8")], ports=())
    http = HttpClient(
        max_connections=2,
        max_answer_bytes=1_000,
        connect_timeout_ms=1_000,
        socket_factory=guarded_socket_factory(rules),
    )
    keyring = SharedKeyring(CallbackSecrets(redis), default=[default], clock=SystemClock())
    sender = CallbackSender(http, keyring=keyring, timeout_ms=2_000, clock=SystemClock())
    async with serving(always(answer())) as receiver:
        for secret in ("", "orders"):
            assert (await sender.send(url=receiver.url, webhook_id="k1-1", body="{}", secret=secret)).is_delivered
        lost = await sender.send(url=receiver.url, webhook_id="k1-1", body="{}", secret="ordres")
        await http.aclose()
    assert not lost.is_delivered
    assert lost.error == "no_secret"
    assert lost.lack == "the secret ordres has no key that can be used here"
    assert len(receiver.requests) == 2
    for request, key in zip(receiver.requests, (shop.key, orders.key), strict=True):
        Webhook(key.secret).verify(request.body, request.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(default.secret).verify(request.body, request.headers)
