"""Delivers callbacks: the first try right after a job is settled, the others when the timetable says so.

A message is dealt with when each of its callbacks is under way or waits in the ledger: no slow receiver holds up a
queue. One whose receiver may not be tried now waits in that receiver's line; one that has others before it in its order
waits for its turn.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any

from worker.callbacks.receivers import receiver_of
from worker.callbacks.results import Health
from worker.delivery.gates import Entry, Gates
from worker.delivery.tries import Tries
from worker.domain.job import Lane
from worker.ledger.callback_order import CallbackOrder
from worker.ledger.callback_records import CallbackClaim, CallbackHead
from worker.ledger.callbacks import CallbackLedger
from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.receivers import ReceiverState, kept_for_checkouts
from worker.logs import get_log
from worker.messages import LINE_MARK, ORDER_MARK
from worker.progress import Progress

_log = get_log(__name__)
_FULL_LOOK_MS = 500
_FROM_EACH_PARTITION = 2
_BURIED_AT_ONCE = 200
_BURY_AGAIN_MS = 500
_MOST_VOID = 100
_SPREAD_MS = 20
"""Between the looks at one receiver's lines in the sixteen partitions."""


def _log_broken_off(what: str, failure: BaseException) -> None:
    _log.error("callback's try broke off", webhook_id=what, error=type(failure).__name__, exc_info=failure)


class Delivery:
    """Sends what is owed, beside the binds and never in their way.

    Args:
        lease_ms: how long one try may hold a callback.
        in_flight: first tries at a time, and as many again that the timetable brought back, so that dead receivers'
            retries leave the first tries their room.
    """

    def __init__(
        self,
        ledger: CallbackLedger,
        order: CallbackOrder,
        gates: Gates,
        tries: Tries,
        *,
        lease_ms: int,
        in_flight: int,
        progress: Progress,
    ) -> None:
        self._ledger = ledger
        self._order = order
        self._gates = gates
        self._tries = tries
        self._lease_ms = lease_ms
        self._free = in_flight
        self._kept_for_checkouts = kept_for_checkouts(in_flight)
        self._slots = asyncio.Semaphore(max(in_flight, 1))
        self._progress = progress
        self._running: set[asyncio.Task[None]] = set()
        self._lines_in_work: set[str] = set()
        self._is_draining = False

    def reserve(self, host: str, *, is_checkout: bool) -> str:
        """A claim token for one delivery at once, or empty where all hands are full or the receiver's line is next.

        Some hands, and some of the receiver's places, are kept for checkouts'.
        """
        kept = 0 if is_checkout else self._kept_for_checkouts
        if self._free <= kept or self._is_draining or not self._gates.reserve(host, is_checkout=is_checkout):
            return ""
        self._free -= 1
        return secrets.token_hex(8)

    def release(self, host: str) -> None:
        """Give a reserved delivery back."""
        self._free += 1
        self._gates.unreserve(host)

    def start(self, claim: CallbackClaim) -> None:
        """Make the reserved first try in the background."""
        self._spawn(self._first_try(claim), claim.webhook_id)

    async def _first_try(self, claim: CallbackClaim) -> None:
        self._gates.unreserve(claim.host)
        try:
            if claim.order_name and not await self._order.has_turn(claim.order_name, claim.webhook_id):
                await self._ledger.put_back(claim, look_ms=None)
                await self._look_for_turns([claim])
                return
            entry = await self._gates.enter(claim.host, is_checkout=claim.is_checkout)
            if entry.is_open:
                await self._try(claim)
            elif entry.state is ReceiverState.DISABLED:
                await self._settled_in_order(claim, await self._tries.bury(claim, "receiver.disabled"))
            else:
                await self._ledger.put_back(claim, look_ms=_look_ms(entry))
                self._gates.expect_line(claim.host, is_there=True)
        finally:
            self._free += 1

    async def deliver(self, ids: Sequence[str], *, published_at_ms: int = 0) -> None:
        """Begin to try each of these callbacks that is due, and see to these lines. Returns when all are under way."""
        self._progress.note(Lane.CALLBACK, published_at_ms)
        callbacks = []
        for id_ in dict.fromkeys(ids):
            if id_.startswith(LINE_MARK):
                self._see_to_line(id_.removeprefix(LINE_MARK))
            elif id_.startswith(ORDER_MARK):
                self._spawn(self._see_to_order(id_.removeprefix(ORDER_MARK)), id_)
            else:
                callbacks.append(id_)
        if callbacks:
            await self._deliver_heads(await self._heads(callbacks))

    async def _heads(self, webhook_ids: Sequence[str]) -> list[CallbackHead]:
        found = []
        for webhook_id, head in zip(webhook_ids, await self._ledger.heads(webhook_ids), strict=True):
            if isinstance(head, Exception):
                _log.error("callback cannot be read", webhook_id=webhook_id, error=type(head).__name__, exc_info=head)
            else:  # records of earlier releases name no host
                found.append(replace(head, host=head.host or receiver_of(head.url)))
        return found

    async def _deliver_heads(self, heads: Sequence[CallbackHead]) -> None:
        waiting: dict[tuple[str, int | None], list[str]] = defaultdict(list)
        heads, shut = self._without_shut(heads)
        for head, entry in shut:
            waiting[head.host, _look_ms(entry)].append(head.webhook_id)
        placed = await asyncio.gather(*(self._place(head) for head in heads), return_exceptions=True)
        for head, look in zip(heads, placed, strict=True):
            if isinstance(look, BaseException):
                _log_broken_off(head.webhook_id, look)
            elif look != "placed":
                waiting[head.host, None if look == "turn" else int(look)].append(head.webhook_id)
        for (host, look_ms), webhook_ids in waiting.items():
            for webhook_id in await self._ledger.let_wait(webhook_ids, host, look_ms=look_ms):
                await self._bury(webhook_id, host)
            if look_ms is not None:
                self._gates.expect_line(host, is_there=True)
        await self._look_for_turns([head for head, look in zip(heads, placed, strict=True) if look == "turn"])

    def _without_shut(
        self, heads: Sequence[CallbackHead]
    ) -> tuple[list[CallbackHead], list[tuple[CallbackHead, Entry]]]:
        """Those to be placed, and apart those whose receiver is known not to be there: they take no further look."""
        others, shut = [], []
        for head in heads:
            entry = self._gates.refusal(head.host, is_checkout=head.is_checkout) if head.url else None
            if entry is None or entry.state is ReceiverState.DISABLED:
                others.append(head)
            else:
                shut.append((head, entry))
        return others, shut

    async def _look_for_turns(self, waiting: Sequence[CallbackHead | CallbackClaim]) -> None:
        """Those that were just put to wait: the turn may have come to one while it was not looked at."""
        for one in waiting:
            if await self._order.has_turn(one.order_name, one.webhook_id):
                self._spawn(self.deliver([one.webhook_id]), one.webhook_id)

    async def _place(self, head: CallbackHead) -> str | int:
        """Begin a try. Returns "placed", or "turn" where it waits for its turn, or when to look at its line."""
        if not head.url:  # settled: there is only the timetable to be tidied
            claim = await self._claim(head.webhook_id, head.host)
            if claim is not None:  # written just now
                await self._ledger.put_back(replace(claim, host=receiver_of(claim.url)), look_ms=0)
            return "placed"
        if head.order_name and not await self._order.has_turn(head.order_name, head.webhook_id):
            return "turn"
        entry = self._gates.refusal(head.host, is_checkout=head.is_checkout)
        if entry is None:
            await self._slots.acquire()
            has_begun = False
            try:
                entry = await self._gates.enter(head.host, is_checkout=head.is_checkout)
                has_begun = entry.is_open and await self._begin(head)
            finally:
                if not has_begun:
                    self._slots.release()
        if entry.state is ReceiverState.DISABLED:
            await self._bury(head.webhook_id, head.host, "receiver.disabled")
        return "placed" if entry.is_open or entry.state is ReceiverState.DISABLED else _look_ms(entry)

    async def _begin(self, head: CallbackHead) -> bool:
        """Claim and start a try; it holds a place and a slot. False, its place free again, where none is made."""
        claim = None
        try:
            claim = await self._claim(head.webhook_id, head.host)
        finally:
            if claim is None:
                await self._gates.leave(head.host, Health.UNKNOWN)
        if claim is not None:
            self._spawn(self._try_in_slot(claim), claim.webhook_id)
        return claim is not None

    async def _try_in_slot(self, claim: CallbackClaim) -> None:
        try:
            await self._try(claim)
        finally:
            self._slots.release()

    async def _try(self, claim: CallbackClaim) -> None:
        """One try. It holds a place at its receiver, and gives it back."""
        health, is_gone, has_left = Health.UNKNOWN, False, False
        try:
            if claim.late_error:
                is_settled = await self._tries.bury(claim)
            else:
                if claim.order_name:
                    await self._order.look_again(claim.order_name, is_idle=False)
                result = await self._tries.send(claim)
                health, is_gone = result.health, result.is_gone
                # The receiver has answered: while this is written down, the next one may be tried.
                has_left = not is_gone and self._gates.leave_now(claim.host, health)
                is_settled = await self._tries.settle(claim, result)
        finally:
            if not has_left:
                await self._gates.leave(claim.host, health, is_gone=is_gone)
        await self._settled_in_order(claim, is_settled)
        if self._gates.has_line(claim.host):
            self._see_to_line(claim.host)

    async def _claim(self, webhook_id: str, host: str, *, is_sent: bool = True) -> CallbackClaim | None:
        token = secrets.token_hex(8)
        return await self._ledger.claim(webhook_id, host, token=token, lease_ms=self._lease_ms, is_sent=is_sent)

    async def _bury(self, webhook_id: str, host: str, error: str = "") -> None:
        """Give a callback up that nobody has claimed."""
        claim = await self._claim(webhook_id, host, is_sent=False)
        if claim is not None:
            await self._settled_in_order(claim, await self._tries.bury(claim, error))

    async def _settled_in_order(self, claim: CallbackClaim, is_settled: bool) -> None:
        """If it is delivered or given up, the next one of its order key has its turn."""
        if claim.order_name and is_settled:
            following = await self._order.leave(claim.order_name, claim.webhook_id)
            if following:
                self._spawn(self.deliver([following]), following)

    async def _see_to_order(self, name: str) -> None:
        """The timetable asks whether the head of this order gets its turn."""
        for _ in range(_MOST_VOID):
            head = await self._order.head(name)
            if not head or not await self._order.is_void(head):
                break
            await self._order.leave(name, head)
        await self._order.look_again(name, is_idle=True)  # a try that begins asks for an earlier look
        if head:
            await self.deliver([head])

    def _see_to_line(self, host: str) -> None:
        if host not in self._lines_in_work and not self._is_draining:
            self._lines_in_work.add(host)
            self._spawn(self._work_off(host), f"{LINE_MARK}{host}")

    async def _work_off(self, host: str) -> None:
        """Try what waits in a receiver's lines, as long as the receiver lets us."""
        look_ms = _FULL_LOOK_MS
        try:
            while not self._is_draining:
                entry = self._gates.refusal(host, is_checkout=True)
                if entry is not None and entry.state is ReceiverState.DISABLED:
                    await self._bury_line(host)
                    look_ms = _BURY_AGAIN_MS
                    break
                if entry is not None:
                    look_ms = _look_ms(entry)
                    if entry.state is ReceiverState.FULL and await self._gates.next_end(host):
                        continue
                    break
                waiting = await self._ledger.line(host, _FROM_EACH_PARTITION)
                if not waiting:
                    break
                shut_ms = await self._work_off_some(host, waiting)
                look_ms = shut_ms or look_ms
                if shut_ms and not await self._gates.next_end(host):
                    break
        finally:
            self._lines_in_work.discard(host)
            looks = [look_ms + _SPREAD_MS * partition for partition in ALL_PARTITIONS]
            left = await self._ledger.look_at_lines(host, looks)
            self._gates.expect_line(host, is_there=left > 0)

    async def _work_off_some(self, host: str, webhook_ids: Sequence[str]) -> int:
        """Returns 0; or ms until it is worth a look at those that still stand in the line."""
        heads = [replace(head, host=host) for head in await self._heads(webhook_ids)]
        for head in sorted(heads, key=lambda head: not head.is_checkout):
            look = await self._place(head)
            if look == "turn":
                for late in await self._ledger.let_wait([head.webhook_id], host, look_ms=None):
                    await self._bury(late, host)
                await self._look_for_turns([head])
            elif look != "placed":
                return int(look)
        return 0

    async def _bury_line(self, host: str) -> None:
        waiting = await self._ledger.line(host, _BURIED_AT_ONCE // len(ALL_PARTITIONS))
        for webhook_id in waiting:
            await self._bury(webhook_id, host, "receiver.disabled")

    def _spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = asyncio.create_task(self._guarded(work, what))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    @staticmethod
    async def _guarded(work: Coroutine[Any, Any, None], what: str) -> None:
        try:
            await work
        except Exception as failure:  # noqa: BLE001 - the lease runs out and the timetable brings it back
            _log_broken_off(what, failure)

    async def drain(self, within_s: float) -> None:
        """Begin nothing more and wait for what is under way; what takes longer the timetable brings back."""
        self._is_draining = True
        while self._running and within_s > 0:
            began = asyncio.get_running_loop().time()
            await asyncio.wait(self._running, timeout=within_s)
            within_s -= asyncio.get_running_loop().time() - began
        late = list(self._running)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._gates.aclose()


def _look_ms(entry: Entry) -> int:
    return _FULL_LOOK_MS if entry.state is ReceiverState.FULL else entry.come_back_ms
