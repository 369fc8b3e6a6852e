"""The parts of a delivery, put together."""

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from worker.clock import Clock
from worker.delivery.delivery import Delivery
from worker.delivery.gates import Gates
from worker.delivery.tries import Sender, Tries
from worker.ledger.callback_order import CallbackOrder
from worker.ledger.callbacks import DEFAULT_DEAD_TTL_MS, CallbackLedger
from worker.ledger.receivers import ReceiverLedger, ReceiverRules
from worker.ledger.seal import NO_SEAL, Seal
from worker.progress import Progress
from worker.tracing import UNTRACED, Tracer

_PLACES_SLACK_MS = 5_000
"""Longer than between two visits: places that are renewed in time last for every try that begins in them."""


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """What the settings say of callbacks.

    Attributes:
        schedule_ms: delays before the second, third … try; after the last the callback is given up.
        lease_ms: how long one try may hold a callback.
        give_up_ms: how old a callback gets at most.
        dead_ttl_ms: how long one that was given up stays on record.
        in_flight: first tries of one process at a time, and as many others.
        per_receiver: tries at one receiver at a time, all workers together.
    """

    schedule_ms: Sequence[int]
    lease_ms: int
    give_up_ms: int
    in_flight: int
    per_receiver: int
    dead_ttl_ms: int = DEFAULT_DEAD_TTL_MS

    def receivers(self) -> ReceiverRules:
        """The part that concerns receivers."""
        return ReceiverRules(self.per_receiver, lease_ms=self.lease_ms + _PLACES_SLACK_MS)


def order_look_ms(lease_ms: int) -> int:
    """When somebody looks whether the next callback of an order key got its turn."""
    return 2 * lease_ms


def build_delivery(
    redis: Redis,
    sender: Sender,
    rules: DeliveryRules,
    *,
    clock: Clock,
    progress: Progress,
    receivers: ReceiverRules | None = None,
    random_share: Callable[[], float] = random.random,
    traces: Tracer = UNTRACED,
    seal: Seal = NO_SEAL,
) -> Delivery:
    """The delivery of one worker process."""
    ledger = CallbackLedger(redis, give_up_ms=rules.give_up_ms, dead_ttl_ms=rules.dead_ttl_ms, seal=seal)
    places = ReceiverLedger(redis, receivers or rules.receivers(), process=secrets.token_hex(8))
    return Delivery(
        ledger,
        CallbackOrder(redis, look_ms=order_look_ms(rules.lease_ms)),
        Gates(places, try_ms=rules.lease_ms, clock=clock, random_share=random_share),
        Tries(ledger, sender, schedule_ms=rules.schedule_ms, clock=clock, random_share=random_share, traces=traces),
        lease_ms=rules.lease_ms,
        in_flight=rules.in_flight,
        progress=progress,
    )
