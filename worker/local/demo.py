"""A shop's orders through the whole system: what `axn demo` runs and reports."""

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from worker import producers
from worker.domain.bind_request import BindRequest
from worker.domain.job import Job, JobState, Lane, OnDoubt
from worker.errors import AxnError, WaitTimeoutError
from worker.local.system import LocalSystem

BATCH_SHARE = 5
"""Every fifth order comes as a row of a batch, all others at checkout."""
_SETTLE_S = 60.0
_CALLBACKS_S = 30.0
_LOOK_S = 0.2


@dataclass
class Progress:
    """What has happened so far."""

    orders: int
    submitted: int = 0
    ended: int = 0
    bound: int = 0
    delivered: int = 0


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What came out. Latencies are those of checkout orders, from the call of submit to the X in the shop's hand.

    Attributes:
        accepted: orders whose job was filed.
        delivered: jobs whose callback arrived with a valid signature.
        failed: jobs that ended otherwise than bound.
        lost: accepted jobs that did not end.
        wrong: bound jobs whose X is not the sandbox's live binding for that order.
        repeated: callbacks that arrived more than once, as at-least-once delivery may.
        orphans: bindings at the sandbox that belong to no job: made, their answer lost, and bound anew.
    """

    accepted: int
    bound: int
    delivered: int
    failed: int
    lost: int
    wrong: int
    repeated: int
    orphans: int
    unverified: int
    seconds: float
    binds_per_second: float
    submit_to_x_median_ms: float
    submit_to_x_p99_ms: float
    samples: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Every job bound, every callback received and verified, every X the sandbox's."""
        whole = self.accepted > 0 and self.accepted == self.bound == self.delivered
        return whole and not (self.failed or self.lost or self.wrong or self.unverified)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self) | {"complete": self.is_complete}


class Shop:
    """Places orders as a shop does, and keeps what became of them."""

    def __init__(
        self, system: LocalSystem, *, orders: int, per_second: float, tell: Callable[[Progress], None]
    ) -> None:
        self._system = system
        self._per_second = per_second
        self._tell = tell
        self._checkout = [number for number in range(orders) if number % BATCH_SHARE]
        self._batch = [number for number in range(orders) if number % BATCH_SHARE == 0]
        self.progress = Progress(orders)
        self._jobs: dict[str, Job | None] = {}
        self._order_of: dict[str, str] = {}
        self._latencies_ms: list[float] = []

    async def run(self) -> DemoReport:
        """Place all orders, wait for all ends and all callbacks, check them against the sandbox."""
        os.environ.update(self._system.env)
        began = time.monotonic()
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.gather(self._place_batch(), self._place_checkouts(began))
            seconds = time.monotonic() - began
            events, unverified = await self._callbacks()
        finally:
            watch.cancel()
        bindings = (await _get(self._system.sandbox_url + "/_sandbox/bindings"))["bindings"]
        return self._report(seconds, events, unverified, bindings)

    async def _place_checkouts(self, began: float) -> None:
        async with asyncio.TaskGroup() as shop:
            for place, number in enumerate(self._checkout):
                await asyncio.sleep(began + place / self._per_second - time.monotonic())
                shop.create_task(self._checkout_order(number))

    async def _checkout_order(self, number: int) -> None:
        asked = time.monotonic()
        job_id = await producers.submit_async(self._request(number, Lane.CHECKOUT))
        self._accepted(job_id, number)
        if await self._await_end(job_id):
            self._latencies_ms.append((time.monotonic() - asked) * 1000)

    async def _place_batch(self) -> None:
        rows = await producers.submit_many_async(self._request(number, Lane.BATCH) for number in self._batch)
        for row, number in zip(rows, self._batch, strict=True):
            self._accepted(row.job_id, number)
        await asyncio.gather(*(self._await_end(row.job_id) for row in rows))

    def _request(self, number: int, lane: Lane) -> BindRequest:
        return BindRequest(
            phone_no_a=f"139{number:08d}",
            expiration=datetime.now(UTC) + timedelta(hours=2),
            out_order_id=_order(number),
            callback_url=f"{self._system.receiver_url}/axn",
            on_doubt=OnDoubt.REBIND,
            lane=lane,
        )

    def _accepted(self, job_id: str, number: int) -> None:
        self._jobs[job_id] = None
        self._order_of[job_id] = _order(number)
        self.progress.submitted += 1

    async def _await_end(self, job_id: str) -> bool:
        try:
            job = await producers.wait_async(job_id, _SETTLE_S + len(self._order_of) / self._per_second)
        except WaitTimeoutError:
            return False
        self._jobs[job_id] = job
        self.progress.ended += 1
        self.progress.bound += job.is_bound
        return job.is_bound

    async def _callbacks(self) -> tuple[list[dict[str, Any]], int]:
        until = time.monotonic() + _CALLBACKS_S
        expected = self.progress.ended
        while True:
            stats = await _get(self._system.receiver_url + "/_receiver/stats")
            if stats["events"] >= expected or time.monotonic() > until:
                events = await _get(self._system.receiver_url + "/_receiver/events")
                return events, stats["refused"]
            await asyncio.sleep(_LOOK_S)

    async def _watch(self) -> None:
        while True:
            stats = await _get(self._system.receiver_url + "/_receiver/stats")
            self.progress.delivered = stats["events"]
            self._tell(self.progress)
            await asyncio.sleep(_LOOK_S)

    def _report(
        self, seconds: float, events: list[dict[str, Any]], unverified: int, bindings: list[dict[str, Any]]
    ) -> DemoReport:
        ended = {job_id: job for job_id, job in self._jobs.items() if job is not None}
        bound = {job_id: job for job_id, job in ended.items() if job.state is JobState.BOUND}
        live = {(one["OutOrderId"], one["PhoneNoX"], one["SubsId"]) for one in bindings if one["live"]}
        wrong = sum((self._order_of[id_], job.phone_no_x, job.subs_id) not in live for id_, job in bound.items())
        delivered = [event for event in events if event["verified"]]
        latencies = sorted(self._latencies_ms) or [0.0]
        return DemoReport(
            accepted=len(self._jobs),
            bound=len(bound),
            delivered=len({event["data"]["job_id"] for event in delivered} & set(self._jobs)),
            failed=len(ended) - len(bound),
            lost=len(self._jobs) - len(ended),
            wrong=wrong,
            repeated=sum(event["verified"] > 1 for event in delivered),
            orphans=len(bindings) - len(bound),
            unverified=unverified,
            seconds=round(seconds, 2),
            binds_per_second=round(len(bound) / seconds, 1),
            submit_to_x_median_ms=round(statistics.median(latencies), 1),
            submit_to_x_p99_ms=round(latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))], 1),
            samples=[{"job_id": job.job_id, "phone_no_x": job.phone_no_x} for job in list(bound.values())[:3]],
            codes=dict(Counter(job.code for job in ended.values())),
        )


def _order(number: int) -> str:
    return f"order-{number:06d}"


async def _get(url: str) -> Any:
    async with aiohttp.ClientSession(trust_env=False) as session, session.get(url) as answer:
        return await answer.json()


async def run_demo(
    system: LocalSystem, *, orders: int, per_second: float, tell: Callable[[Progress], None]
) -> DemoReport:
    """Run the shop until its report, or until a part of the system fails.

    Raises:
        AxnError: a part ended for good.
    """
    shop = asyncio.create_task(Shop(system, orders=orders, per_second=per_second, tell=tell).run())
    failure = asyncio.create_task(system.failure())
    done, pending = await asyncio.wait((shop, failure), return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if shop in done:
        return shop.result()
    raise AxnError(failure.result())
