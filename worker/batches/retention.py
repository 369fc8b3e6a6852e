"""Batches that ended long ago are removed, where a setting says when: their rows hold numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.clock import Clock
from worker.domain.batch import Batch
from worker.errors import BatchConflictError, BatchNotFoundError
from worker.logs import get_log

_log = get_log(__name__)
REMOVE_EVERY_MS = 600_000


class RemovableBatches(Protocol):
    """Who keeps the batches: `worker.ledger.batches`."""

    async def all(self) -> Sequence[Batch]:
        """All of them."""

    async def remove(self, batch_id: str) -> None:
        """Remove one."""


@dataclass(frozen=True, slots=True)
class BatchRetention:
    """Removes them; by several processes at once it does no harm.

    Attributes:
        keep_ms: after the end.
    """

    store: RemovableBatches
    keep_ms: int
    clock: Clock

    async def remove_old(self) -> bool:
        """Remove those whose time has come and whose jobs have all ended. Whether more waits: never."""
        until_ms = self.clock.unix_ms() - self.keep_ms
        for batch in await self.store.all():
            if batch.state.is_end and 0 < batch.finished_at <= until_ms and not batch.alive:
                try:
                    await self.store.remove(batch.batch_id)
                except (BatchConflictError, BatchNotFoundError):  # somebody was quicker
                    continue
                _log.info("batch removed: its time has come", batch_id=batch.batch_id)
        return False
