"""A bind and the close of its order, step by step, in every order of their steps: no binding is kept for ever."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import RESULT_TTL_MS, new_job, record_of
from worker.clock import SystemClock
from worker.domain.binding import BindingName, BoundBinding
from worker.domain.job import JobState, Lane
from worker.domain.job_ids import partition_of
from worker.domain.renewal import RenewalPolicy
from worker.domain.unbind_request import UnbindRequest
from worker.ledger.bindings import BindingLedger
from worker.ledger.closed_orders import ClosedOrders
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, Claim, Settlement
from worker.ledger.renewal_keys import renewals_key
from worker.ledger.renewals import Renewals
from worker.renewals.closing import Closing

BIND, CLOSE = "b", "c"
"""A bind is filed, claimed, its first renewal gets a time, it is settled. A close is remembered, the order's bindings
are looked up, and closed."""
ORDERS = [
    "".join(BIND if place in binds else CLOSE for place in range(7)) for binds in itertools.combinations(range(7), 4)
]


class Turns:
    """Lets two tasks go on in a given order of their steps."""

    def __init__(self, order: str) -> None:
        self._left = list(order)
        self._moved = asyncio.Condition()

    async def take(self, who: str) -> None:
        """Wait for one's turn; it lasts until one asks for the next, or has ended."""
        async with self._moved:
            await self._moved.wait_for(lambda: not self._left or self._left[0] == who)

    async def done(self) -> None:
        async with self._moved:
            if self._left:
                self._left.pop(0)
            self._moved.notify_all()

    async def leave(self, who: str) -> None:
        """Who has ended has no more steps."""
        async with self._moved:
            self._left = [one for one in self._left if one != who]
            self._moved.notify_all()


class SteppedLedger(Ledger):
    """Waits for its turn between the time of the first renewal and the end of the job."""

    turns: Turns

    async def _settle_now(self, claim: Claim, settlement: Settlement) -> bool:
        await self.turns.done()
        await self.turns.take(BIND)
        return await super()._settle_now(claim, settlement)


class SteppedBindings(BindingLedger):
    """Waits for its turn before it looks up the order."""

    turns: Turns

    async def look_up(self, names: Sequence[BindingName]) -> list[list[BoundBinding]]:
        await self.turns.done()
        await self.turns.take(CLOSE)
        found = await super().look_up(names)
        await self.turns.done()
        await self.turns.take(CLOSE)
        return found


class Filed:
    """Remembers which bindings are to be unbound."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    async def submit(self, request: UnbindRequest) -> str:
        self.ids.add(request.bind_job_id or "")
        return f"job-{request.bind_job_id}"


@pytest.mark.parametrize("unbind", [False, True])
@pytest.mark.parametrize("policy", ["open", "span", "none"])
async def test_in_whatever_order_the_steps_come_a_bind_filed_before_the_close_is_closed(
    redis: Redis, policy: str, unbind: bool
) -> None:
    client: Any = redis
    missed = []
    for number, order in enumerate(ORDERS):
        name, turns = f"order-{policy}-{unbind}-{number}", Turns(order)
        kept = RenewalPolicy(until_ms=4_083_000_000_000) if policy == "span" else RenewalPolicy()
        job = new_job(
            name,
            parameters={"PhoneNoA": "15012345678", "Expiration": "2099-01-01 00:00:00", "OutOrderId": name},
            renew="" if policy == "none" else kept.as_json(),
        )
        filed = Filed()
        await asyncio.gather(_bind(redis, job, turns), _close(redis, name, unbind, turns, filed))
        record = await record_of(redis, job.job_id)
        due = await client.zscore(renewals_key(partition_of(job.job_id)), job.job_id)
        assert record["state"] == "bound"
        is_before = order.index(BIND) < order.index(CLOSE)
        if not is_before:
            continue  # asked for while the order was being closed: either is right
        if unbind:
            is_sought_out = record.get("renew_closed") == "unbind" and due is not None and due < 4e12
            is_right = job.job_id in filed.ids or is_sought_out
        elif policy == "open":
            is_right = record.get("renew_closed") == "closed" and due is None
        else:
            is_right = "renew_closed" not in record and (due is not None) is (policy == "span")
        if not is_right:
            missed.append(order)
    assert missed == []


async def _bind(redis: Redis, job: Any, turns: Turns) -> None:
    ledger = SteppedLedger(redis, result_ttl_ms=RESULT_TTL_MS, first_look_ms=5_000)
    ledger.turns = turns
    try:
        await turns.take(BIND)
        await ledger.open(job)
        await turns.done()
        await turns.take(BIND)
        claim = await ledger.claim(job.job_id, Lane.CHECKOUT, token="t", lease_ms=30_000)
        assert isinstance(claim, Claim)
        await turns.done()
        await turns.take(BIND)
        fields = {"phone_no_x": "17000001111", "subs_id": "100", "code": "OK"}
        assert await ledger.settle(claim, Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, fields))
        await turns.done()
    finally:
        await turns.leave(BIND)


async def _close(redis: Redis, out_order_id: str, unbind: bool, turns: Turns, filed: Filed) -> None:
    bindings = SteppedBindings(redis, keep_ms=60_000, result_ttl_ms=RESULT_TTL_MS)
    bindings.turns = turns
    closing = Closing(bindings, Renewals(redis), ClosedOrders(redis, keep_ms=0), filed, SystemClock())
    try:
        await turns.take(CLOSE)
        await closing.close_order(out_order_id, unbind=unbind)
        await turns.done()
    finally:
        await turns.leave(CLOSE)
