"""Batches in memory, at the seam that `worker.batches.desk` draws: for what a start does when calls fail."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from worker.batches.rows import Row
from worker.domain.batch import Batch, BatchOptions, BatchState, RowOutcome
from worker.errors import BatchConflictError, BatchNotFoundError

from .support import NOW_MS


@dataclass
class Held:
    """One batch."""

    batch: Batch
    chunks: dict[int, list[str]] = field(default_factory=dict)

    @property
    def rows(self) -> list[str]:
        return [row for _, chunk in sorted(self.chunks.items()) for row in chunk]


class MemoryStore:
    """Keeps batches. `before_put` may fail."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.puts: list[int] = []
        self.before_put: Callable[[int], None] = lambda _number: None
        self._under_way = 0

    @staticmethod
    def encode(row: Row) -> str:
        return json.dumps([row.line, row.key, row.operation, dict(row.wishes)])

    async def create(self, batch_id: str, name: str, options: BatchOptions, created_by: str) -> Batch:
        batch = Batch(batch_id, name, BatchState.UPLOADING, options, 0, created_at=NOW_MS)
        return self.held.setdefault(batch_id, Held(batch)).batch

    async def put_chunk(self, batch_id: str, number: int, rows: Sequence[str]) -> bool:
        self._under_way += 1
        for _ in range(50):
            await asyncio.sleep(0)
        self._under_way -= 1
        self.before_put(number)
        held = self._of(batch_id)
        if held.chunks.get(number, list(rows)) != list(rows) or (
            held.batch.state is not BatchState.UPLOADING and number not in held.chunks
        ):
            raise BatchConflictError(f"chunk {number} has other rows")
        self.puts.append(number)
        held.chunks[number] = list(rows)
        return True

    async def seal(self, batch_id: str, rows: int) -> Batch:
        held = self._of(batch_id)
        if len(held.rows) != rows:
            raise BatchConflictError(f"it has {len(held.rows)} rows")
        if held.batch.state is BatchState.UPLOADING:
            held.batch = replace(held.batch, state=BatchState.RUNNING, rows=rows)
        return held.batch

    async def read(self, batch_id: str) -> Batch:
        return self._of(batch_id).batch

    async def all(self) -> list[Batch]:
        return [held.batch for held in self.held.values()]

    async def pause(self, batch_id: str, by: str, reason: str) -> Batch:
        return self._turn(batch_id, BatchState.PAUSED, reason)

    async def resume(self, batch_id: str, by: str) -> Batch:
        return self._turn(batch_id, BatchState.RUNNING)

    async def cancel(self, batch_id: str, by: str) -> Batch:
        return self._turn(batch_id, BatchState.CANCELLED)

    async def retry(self, batch_id: str, codes: frozenset[str] | None, by: str) -> int:
        return sum(count for code, count in self._of(batch_id).batch.by_code.items() if not codes or code in codes)

    async def remove(self, batch_id: str) -> None:
        assert not self._under_way, "a chunk that comes during a removal would stay behind"
        del self.held[self._of(batch_id).batch.batch_id]

    async def report(self, batch_id: str) -> AsyncIterator[tuple[Row, RowOutcome]]:
        raise NotImplementedError
        yield

    def _turn(self, batch_id: str, state: BatchState, reason: str = "") -> Batch:
        held = self._of(batch_id)
        held.batch = replace(held.batch, state=state, reason=reason)
        return held.batch

    def _of(self, batch_id: str) -> Held:
        if batch_id not in self.held:
            raise BatchNotFoundError(batch_id)
        return self.held[batch_id]
