"""Rows whose jobs Redis has lost would keep their batch from ever finishing: they are found, and fail.

A server that lost its last second, a partition that came back from an older copy: the job's record is gone, and nobody
knows whether it was sent. The row's code is `poison`, so that no retry takes it along unless it names that.
"""

from worker.batches.chunks import Chunk, without_end
from worker.clock import Clock
from worker.ledger.batch_feed import FeedLedger, HeldBatch
from worker.ledger.batch_records import BatchCounts
from worker.logs import get_log

_log = get_log(__name__)
_FIRST_LOOK_MS = 60_000
_LONGEST_LOOK_MS = 3_600_000
"""A job may well wait for hours, and a look goes over all rows."""


class LostRows:
    """Looks for them when a batch that was fed to its end has stood still for a minute, and then ever more seldom."""

    def __init__(self, ledger: FeedLedger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._alive = -1
        self._since_ms = 0.0
        self._look_ms = _FIRST_LOOK_MS

    async def look(self, held: HeldBatch, counts: BatchCounts) -> None:
        """Called at each look at such a batch; mostly there is nothing to do."""
        now_ms = self._clock.monotonic_ms()
        if counts.alive != self._alive:
            self._alive, self._since_ms, self._look_ms = counts.alive, now_ms, _FIRST_LOOK_MS
        if now_ms - self._since_ms < self._look_ms:
            return
        self._since_ms, self._look_ms = now_ms, min(2 * self._look_ms, _LONGEST_LOOK_MS)
        lost = 0
        for number in range(held.chunks):
            if await self._ledger.hold(held.batch_id, held.token) is None:
                return
            rows = await self._ledger.rows(held.batch_id, number)
            outcomes = await self._ledger.outcomes(held.batch_id, number)
            lost += await self._ledger.close_lost(without_end(Chunk(held.round_, number, rows, outcomes), held))
        if lost:
            _log.error("rows failed: Redis has lost their jobs", batch_id=held.batch_id, rows=lost)
