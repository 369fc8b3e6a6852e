"""What batches ask of the ledger: `worker.ledger.batches` keeps them, and the workers feed them from there."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from worker.batches.rows import Row
from worker.domain.batch import Batch, BatchOptions, RowOutcome

T = TypeVar("T")


class BatchStore(Protocol):
    """Who keeps batches. Every call may be made twice, also by two processes at once."""

    async def create(self, batch_id: str, name: str, options: BatchOptions, created_by: str) -> Batch:
        """The batch, new or as it stands; raises BatchConflictError where it has other options."""

    async def put_chunk(self, batch_id: str, number: int, rows: Sequence[str]) -> bool:
        """Keep a chunk, numbered from 0; False where it was there.

        Raises BatchConflictError where other rows have its number.
        """

    async def seal(self, batch_id: str, rows: int) -> Batch:
        """Begin it, all rows being there; raises BatchConflictError where they are another number."""

    async def read(self, batch_id: str) -> Batch:
        """Raises BatchNotFoundError."""

    async def all(self) -> list[Batch]:
        """Newest first."""

    async def pause(self, batch_id: str, by: str, reason: str) -> Batch: ...

    async def resume(self, batch_id: str, by: str) -> Batch: ...

    async def cancel(self, batch_id: str, by: str) -> Batch: ...

    async def retry(self, batch_id: str, codes: frozenset[str] | None, by: str) -> int:
        """Rows to be tried anew: those that did not succeed, None for those of all codes."""

    async def remove(self, batch_id: str) -> None: ...

    def report(self, batch_id: str) -> AsyncIterator[tuple[Row, RowOutcome]]:
        """Every row in input order."""


class Ask(Protocol):
    """Starts work on the loop that talks to the ledger, from another thread."""

    def __call__(self, work: Coroutine[Any, Any, T], /) -> "Future[T]": ...


Encode = Callable[[Row], str]
"""A row as the ledger keeps it."""
