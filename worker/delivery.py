"""Delivers callbacks: the first try right after a job is settled, the others when the timetable says so."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Sequence

from worker.callbacks.sender import CallbackSender
from worker.domain.job import Lane
from worker.domain.masking import mask_text
from worker.ledger.callbacks import CallbackLedger
from worker.ledger.records import CallbackClaim
from worker.progress import Progress

_log = logging.getLogger(__name__)
_JITTER = 0.2


class Delivery:
    """Sends what is owed, beside the binds and never in their way.

    Args:
        schedule_ms: delays before the second, third … try; after the last the callback is given up.
        lease_ms: how long one try may hold a callback.
        in_flight: first tries at a time, and as many again that the timetable brought back, so that dead receivers'
            retries leave the first tries their room.
        random_share: a number in [0, 1); delays vary by ±20 %.
    """

    def __init__(
        self,
        ledger: CallbackLedger,
        sender: CallbackSender,
        *,
        schedule_ms: Sequence[int],
        lease_ms: int,
        in_flight: int,
        progress: Progress,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._sender = sender
        self._schedule_ms = schedule_ms
        self._lease_ms = lease_ms
        self._free = in_flight
        self._slots = asyncio.Semaphore(max(in_flight, 1))
        self._progress = progress
        self._random_share = random_share
        self._running: set[asyncio.Task[None]] = set()

    def reserve(self) -> str:
        """A claim token for one delivery at once, or empty where all hands are full."""
        if self._free <= 0:
            return ""
        self._free -= 1
        return secrets.token_hex(8)

    def release(self) -> None:
        """Give a reserved delivery back."""
        self._free += 1

    def start(self, claim: CallbackClaim) -> None:
        """Make the reserved first try in the background."""
        task = asyncio.create_task(self._first_try(claim))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _first_try(self, claim: CallbackClaim) -> None:
        try:
            await self._try(claim)
        except Exception as failure:  # noqa: BLE001 - the lease runs out and the timetable brings it back
            _log.error("callback %s: try broke off (%s)", claim.webhook_id, type(failure).__name__)
        finally:
            self.release()

    async def deliver(self, webhook_ids: Sequence[str], *, published_at_ms: int = 0) -> None:
        """Try each of these callbacks that is due."""
        ends = await asyncio.gather(
            *(self._deliver_one(id_, published_at_ms) for id_ in webhook_ids), return_exceptions=True
        )
        for webhook_id, end in zip(webhook_ids, ends, strict=True):
            if isinstance(end, Exception):
                _log.error("callback %s: try broke off (%s)", webhook_id, type(end).__name__)

    async def _deliver_one(self, webhook_id: str, published_at_ms: int) -> None:
        async with self._slots:
            self._progress.note(Lane.CALLBACK, published_at_ms)
            claim = await self._ledger.claim(webhook_id, token=secrets.token_hex(8), lease_ms=self._lease_ms)
            if claim is not None:
                await self._try(claim)

    async def _try(self, claim: CallbackClaim) -> None:
        result = await self._sender.send(
            url=claim.url, webhook_id=claim.webhook_id, body=claim.body, secret=claim.secret
        )
        text = mask_text(result.text)
        if result.is_delivered:
            await self._ledger.delivered(claim)
        elif claim.tries > len(self._schedule_ms):
            await self._ledger.dead(claim, error=text)
            _log.error("callback %s: given up after %d tries (%s)", claim.webhook_id, claim.tries, text)
        else:
            delay_ms = self._delay_ms(claim.tries)
            await self._ledger.again(claim, delay_ms=delay_ms, error=text)
            _log.warning("callback %s: try %d failed (%s)", claim.webhook_id, claim.tries, text)

    def _delay_ms(self, tries: int) -> int:
        return round(self._schedule_ms[tries - 1] * (1 - _JITTER + 2 * _JITTER * self._random_share()))

    async def drain(self, within_s: float) -> None:
        """Wait for the first tries under way; what takes longer is cut off, and the timetable brings it back."""
        if self._running:
            _done, late = await asyncio.wait(self._running, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
