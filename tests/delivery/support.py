"""A process that delivers, on a real ledger, to receivers on loopback sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from redis.asyncio import Redis

from tests.ledger.support import callback_record_of, claimed, ledger_of, look_at, now_ms, opened, owed, put
from worker.callbacks.guard import ReceiverRules, guarded_socket_factory
from worker.callbacks.keyring import FixedKeyring
from worker.callbacks.results import TryResult
from worker.callbacks.sender import CallbackSender
from worker.callbacks.signature import HmacKey
from worker.clock import SystemClock
from worker.delivery.assembly import DeliveryRules, build_delivery
from worker.delivery.delivery import Delivery
from worker.delivery.tries import Sender
from worker.domain.job import JobState, Lane
from worker.http import HttpClient
from worker.ledger.callback_records import OwedCallback
from worker.ledger.callbacks import DEFAULT_GIVE_UP_MS
from worker.ledger.keys import callback_key, receiver_key, webhook_id_of
from worker.ledger.receivers import ReceiverRules as PlacesRules
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.progress import Progress
from worker.tracing import UNTRACED, Tracer

KEY = bytes(range(24))
SCHEDULE_MS = (10_000, 40_000)
MADE: list[Delivery] = []
"""By the test that runs; ended with it."""
PLACES = PlacesRules(8, lease_ms=40_000)


class LeapingClock(SystemClock):
    """A minute later at each look."""

    def __init__(self) -> None:
        self.at_ms = super().unix_ms() - 180_000

    def unix_ms(self) -> int:
        self.at_ms += 60_000
        return self.at_ms


def delivery_of(
    redis: Redis,
    sender: Sender,
    *,
    share: float = 0.5,
    in_flight: int = 2,
    places: PlacesRules = PLACES,
    schedule_ms: Sequence[int] = SCHEDULE_MS,
    traces: Tracer = UNTRACED,
) -> Delivery:
    """One worker process's."""
    rules = DeliveryRules(
        schedule_ms=schedule_ms, lease_ms=30_000, give_up_ms=DEFAULT_GIVE_UP_MS, in_flight=in_flight, per_receiver=8
    )
    delivery = build_delivery(
        redis,
        sender,
        rules,
        clock=SystemClock(),
        progress=Progress(),
        receivers=places,
        random_share=lambda: share,
        traces=traces,
    )
    MADE.append(delivery)
    return delivery


@asynccontextmanager
async def delivering(
    redis: Redis, *, keys: Sequence[bytes] = (KEY,), nets: Sequence[str] = ("127.0.0.0/8",), **more: Any
) -> AsyncIterator[Delivery]:
    """A process that posts over real HTTP."""
    rules = ReceiverRules(allow_http=True, allow_nets=[ip_network(net) for net in nets], ports=())
    http = HttpClient(
        max_connections=64,
        max_answer_bytes=10_000,
        connect_timeout_ms=1_000,
        socket_factory=guarded_socket_factory(rules),
    )
    delivery = delivery_of(
        redis,
        CallbackSender(
            http, keyring=FixedKeyring([HmacKey(key) for key in keys]), timeout_ms=2_000, clock=LeapingClock()
        ),
        **more,
    )
    yield delivery
    await delivery.drain(5)
    await http.aclose()


async def owing(redis: Redis, url: str, token: str = "", *, key: str = "1", **more: Any) -> tuple[str, str]:
    """A bound job that owes a callback to this URL: its id and the webhook-id."""
    job_id, callback = await owing_callback(redis, url, token, key=key, **more)
    return job_id, callback.webhook_id


async def owing_callback(
    redis: Redis, url: str, token: str = "", *, key: str = "1", **more: Any
) -> tuple[str, OwedCallback]:
    ledger = ledger_of(redis)
    job = await opened(ledger, key)
    claim = await claimed(ledger, job.job_id)
    webhook_id = webhook_id_of(job.job_id, claim.fence)
    more = {"is_checkout": True} | more
    callback = owed(webhook_id, url=url, token=token, lease_ms=30_000 if token else 0, **more)
    assert await ledger.settle(claim, Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, {}, callback=callback))
    return job.job_id, callback


async def deliver(delivery: Delivery, *ids: str) -> None:
    """And wait until all that follows from it is done."""
    await delivery.deliver(ids)
    await settled(delivery)


async def settled(delivery: Delivery) -> None:
    """Wait until it does nothing any more."""
    async with asyncio.timeout(10):
        while delivery._running:
            await asyncio.wait(delivery._running)


async def deliver_when_due(redis: Redis, delivery: Delivery, webhook_id: str) -> None:
    if await callback_record_of(redis, webhook_id):
        await put(redis, callback_key(webhook_id), next_at=1)
    await deliver(delivery, webhook_id)


async def delay_of(redis: Redis, job_id: str, webhook_id: str) -> float:
    look = await look_at(redis, job_id, Lane.CALLBACK, webhook_id)
    assert look is not None
    return look - await now_ms(redis)


async def log_of(redis: Redis, webhook_id: str) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = json.loads((await callback_record_of(redis, webhook_id))["log"])
    return log


async def circuit_of(redis: Redis, host: str) -> dict[str, str]:
    client: Any = redis
    found: dict[str, str] = await client.hgetall(receiver_key(host))
    return found


@dataclass
class FakeSender:
    """Answers what it is told and notes what it was sent, in order."""

    error: str = ""

    def __post_init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, *, url: str, webhook_id: str, body: str, secret: str = "") -> TryResult:
        self.sent.append(webhook_id)
        return TryResult(self.error)
