"""The batches of the ledger: begun, looked at, paused and resumed, reported, removed. `batch_feed` feeds their rows."""

import json
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from redis.asyncio import Redis

from worker.domain.batch import Batch, BatchOptions, BatchState, RowOutcome, row_job_id
from worker.domain.formats import BATCH, NewerFormatError
from worker.errors import BatchConflictError, BatchNotFoundError
from worker.ledger.audit import Audit
from worker.ledger.batch_chunks import read_outcomes, read_rows
from worker.ledger.batch_records import (
    CHUNK_PLACE,
    CHUNK_ROWS,
    BatchCounts,
    batch_from,
    options_text,
    packed,
)
from worker.ledger.batch_rows import (
    MAY_BE_DONE,
    RETRIABLE,
    batch_keys,
    batches_key,
    chunk_key,
    counts_key,
    outcomes_key,
)
from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.newer import NewerWork
from worker.ledger.seal import NO_SEAL, Seal
from worker.redis_faults import asking
from worker.redis_scripts import load_script

_CHUNKS_REMOVED_AT_ONCE = 20
_MISSING = -2
_NOT_UPLOADING = -3


class KeyedRow(Protocol):
    """What the ledger must know of a row."""

    @property
    def key(self) -> str:
        """See `worker.batches.rows`."""


RowT = TypeVar("RowT", bound=KeyedRow)


class BatchLedger(Generic[RowT]):
    """Batches and their rows.

    Every method but `report` may raise LedgerUnavailableError, and every one that takes a batch's id
    BatchNotFoundError.

    Args:
        redis: a client that decodes replies to text.
        row_of: reads a row from the text that it was put as.
        seal: of the numbers in Redis.
    """

    def __init__(self, redis: Redis, row_of: Callable[[str], RowT], seal: Seal = NO_SEAL) -> None:
        self._redis = redis
        self._seal = seal
        self._row_of = row_of
        self._audit = Audit(redis)
        self._newer = NewerWork()
        self._create = load_script(redis, "worker.ledger", "create_batch")
        self._put_chunk = load_script(redis, "worker.ledger", "put_chunk")
        self._end_upload = load_script(redis, "worker.ledger", "seal_batch")
        self._turn = load_script(redis, "worker.ledger", "turn_batch")
        self._remove = load_script(redis, "worker.ledger", "remove_batch")

    async def create(self, batch_id: str, name: str, options: BatchOptions, created_by: str) -> Batch:
        """Begin a batch whose rows come next. One that is there with the same options is found as it stands.

        Raises:
            InvalidRequestError: options that cannot be.
            BatchConflictError: it is there with others, or is being removed.
        """
        keys = batch_keys(batch_id)
        text = options_text(options)
        async with asking(self._redis):
            status = await self._create([keys.batch, keys.batches], [batch_id, name, text, created_by])
        if not status:
            raise BatchConflictError(
                f"batch {name} is there with other options, or is being removed; "
                "give the same options, or another name, or remove it first"
            )
        return await self.read(batch_id)

    async def put_chunk(self, batch_id: str, number: int, rows: Sequence[str]) -> bool:
        """Put some of its rows, once, in any order of chunks.

        Args:
            batch_id: whose.
            number: of the chunk, from 0.
            rows: their texts without line ends, 1 to 500. Rows stand in the input's order.

        Returns:
            False where the chunk was there before.

        Raises:
            BatchConflictError: it is there with other rows, or no rows are taken any more.
        """
        if not 1 <= len(rows) <= CHUNK_ROWS or number < 0:
            raise ValueError(f"a chunk has 1 to {CHUNK_ROWS} rows, and a number from 0")
        digest, content = packed(rows)
        digest, other_digest = self._seal.digests_of_rows(digest)
        content = self._seal.packed(batch_id, f"{CHUNK_PLACE}{number}", content)
        keys = [batch_keys(batch_id).batch, chunk_key(batch_id, number)]
        async with asking(self._redis):
            status = await self._put_chunk(keys, [number, len(rows), digest, content, other_digest])
        if status == _MISSING:
            raise BatchNotFoundError(batch_id)
        if status < 0:
            why = (
                "takes no rows any more: it is sealed or cancelled"
                if status == _NOT_UPLOADING
                else f"has other rows from row {number * CHUNK_ROWS + 1} on"
            )
            raise BatchConflictError(f"batch {batch_id} {why}; give the same rows as before, or another name")
        return bool(status)

    async def seal(self, batch_id: str, rows: int) -> Batch:
        """Say that all rows are there: it begins.

        Raises:
            BatchConflictError: it has not so many, or chunks are missing.
        """
        keys = batch_keys(batch_id)
        async with asking(self._redis):
            status, there, chunks, top = await self._end_upload([keys.batch, keys.timetable], [rows, keys.member])
        if status == _MISSING:
            raise BatchNotFoundError(batch_id)
        if not status:
            raise BatchConflictError(
                f"batch {batch_id} has {there} rows in {chunks} of {top + 1} chunks, not {rows}; "
                "give the same rows as before, or another name"
            )
        return await self.read(batch_id)

    async def read(self, batch_id: str) -> Batch:
        """A batch as it stands."""
        (batch,) = await self._read([batch_id])
        if batch is None:
            raise BatchNotFoundError(batch_id)
        return batch

    async def all(self) -> list[Batch]:
        """All of them, the newest first, but those that only a newer release can read."""
        async with asking(self._redis, is_one_call=False), self._redis.pipeline(transaction=False) as pipeline:
            for partition in ALL_PARTITIONS:
                pipeline.smembers(batches_key(partition))
            ids = [batch_id for some in await pipeline.execute() for batch_id in some]
        found = []
        for batch_id in ids:
            try:
                found += await self._read([batch_id])
            except NewerFormatError:
                self._newer.left(BATCH, batch_id)
        return sorted(
            (batch for batch in found if batch is not None),
            key=lambda batch: (batch.created_at, batch.batch_id),
            reverse=True,
        )

    async def _read(self, batch_ids: Sequence[str]) -> list[Batch | None]:
        batches: list[Batch | None] = []
        for batch_id in batch_ids:
            async with asking(self._redis, is_one_call=False), self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hgetall(batch_keys(batch_id).batch)
                for partition in ALL_PARTITIONS:
                    pipeline.hgetall(counts_key(partition, batch_id))
                record, *counts = await pipeline.execute()
            is_there = record and "removing" not in record
            batches.append(batch_from(batch_id, record, BatchCounts.of(counts)) if is_there else None)
        return batches

    async def pause(self, batch_id: str, by: str, reason: str = "") -> Batch:
        """Feed no row any more; those that were begun come to their ends. A few may be begun in this very moment.

        Raises:
            BatchConflictError: it is neither running nor paused.
        """
        return await self._turned(batch_id, "pause", by, reason)

    async def resume(self, batch_id: str, by: str) -> Batch:
        """Go on.

        Raises:
            BatchConflictError: it is neither paused nor running.
        """
        return await self._turned(batch_id, "resume", by)

    async def cancel(self, batch_id: str, by: str) -> Batch:
        """Feed no row any more, for good.

        Raises:
            BatchConflictError: it has finished.
        """
        return await self._turned(batch_id, "cancel", by)

    async def _turned(self, batch_id: str, action: str, by: str, why: str = "", token: str = "") -> Batch:
        keys = batch_keys(batch_id)
        async with asking(self._redis):
            status, before = await self._turn(
                [keys.batch, keys.timetable], [action, keys.member, by or "somebody", why, 0, token]
            )
        if status == _MISSING:
            raise BatchNotFoundError(batch_id)
        if not status:
            _refuse(batch_id, before, action)
        batch = await self.read(batch_id)
        async with asking(self._redis):
            await self._audit.add("", by=by, what=f"batch {action}", was=before, now=batch.state, subject=batch_id)
        return batch

    async def retry(self, batch_id: str, codes: frozenset[str] | None, by: str) -> int:
        """Try rows anew that did not succeed, in a new round, each as a new job.

        Rows in doubt are none of them: they may be bound.

        Args:
            batch_id: of a finished batch.
            codes: of their outcomes; None: all but `poison`, whose rows may have been done.
            by: who says so.

        Returns:
            How many rows there are. With none, nothing is changed.

        Raises:
            BatchConflictError: it has not finished.
        """
        batch = await self.read(batch_id)
        if batch.state is not BatchState.FINISHED:
            _refuse(batch_id, batch.state, "retry")
        count = await self._count(batch_id, batch, codes)
        if count:
            wanted = json.dumps(None if codes is None else sorted(codes))
            await self._turned(batch_id, "retry", by, wanted, secrets.token_hex(8))
        return count

    async def _count(self, batch_id: str, batch: Batch, codes: frozenset[str] | None) -> int:
        if codes is None:
            failed = sum(count for state, count in batch.by_state.items() if state in RETRIABLE)
            return failed - batch.by_code.get(MAY_BE_DONE, 0)
        count = 0
        for chunk in range(await self._chunks(batch_id)):
            outcomes = await read_outcomes(self._redis, batch_id, chunk)
            count += sum(outcome.is_retriable(codes) for outcome in outcomes.values())
        return count

    async def _chunks(self, batch_id: str) -> int:
        client: Any = self._redis
        async with asking(self._redis):
            top = await client.hget(batch_keys(batch_id).batch, "top")
        if top is None:
            raise BatchNotFoundError(batch_id)
        return int(top) + 1

    async def report(self, batch_id: str) -> AsyncIterator[tuple[RowT, RowOutcome]]:
        """All rows with their outcomes, in the input's order, a chunk at a time."""
        for chunk in range(await self._chunks(batch_id)):
            async with asking(self._redis, is_one_call=False):
                rows = await read_rows(self._redis, batch_id, chunk, self._seal)
                outcomes = await read_outcomes(self._redis, batch_id, chunk)
            for index, text in enumerate(rows):
                row = self._row_of(text)
                written = outcomes.get(index)
                if written is None:
                    yield row, RowOutcome()
                else:
                    yield row, written.told(row_job_id(batch_id, row.key, written.round_), self._seal)

    async def remove(self, batch_id: str) -> None:
        """Take it out of the ledger: rows, outcomes, counts. Its jobs' own records stay for their time.

        Broken off, it goes on when it is asked for again; to everybody else the batch is gone from the beginning.

        Raises:
            BatchConflictError: it may still feed rows, or jobs of its have not ended.
        """
        keys = batch_keys(batch_id)
        client: Any = self._redis
        async with asking(self._redis, is_one_call=False):
            record = await client.hgetall(keys.batch)
            if not record:
                raise BatchNotFoundError(batch_id)
            if "removing" not in record:
                alive = (await self.read(batch_id)).alive
                if alive:
                    raise BatchConflictError(
                        f"batch {batch_id} has {alive} jobs that have not ended; cancel it, wait for them, and repeat"
                    )
            scripted = [keys.batch, keys.timetable, keys.batches]
            status, state = await self._remove(scripted, [batch_id, keys.member, "mark"])
            if not status:
                _refuse(batch_id, state, "remove")
            await self._remove_rows(batch_id, int(record["top"]) + 1)
            await self._remove(scripted, [batch_id, keys.member, "forget"])

    async def _remove_rows(self, batch_id: str, chunks: int) -> None:
        for start in range(0, chunks, _CHUNKS_REMOVED_AT_ONCE):
            async with self._redis.pipeline(transaction=False) as pipeline:
                for chunk in range(start, min(start + _CHUNKS_REMOVED_AT_ONCE, chunks)):
                    pipeline.unlink(chunk_key(batch_id, chunk))
                    for partition in ALL_PARTITIONS:
                        pipeline.unlink(outcomes_key(partition, batch_id, chunk))
                await pipeline.execute()
        async with self._redis.pipeline(transaction=False) as pipeline:
            for partition in ALL_PARTITIONS:
                pipeline.unlink(counts_key(partition, batch_id))
            await pipeline.execute()


def _refuse(batch_id: str, state: str, action: str) -> NoReturn:
    can = {
        "pause": "only one that runs can be paused",
        "resume": "only a paused one can be resumed",
        "cancel": "there is nothing to cancel",
        "retry": "rows can be tried anew when it has finished",
        "remove": "cancel it first",
    }[action]
    raise BatchConflictError(f"batch {batch_id} is {state}: {can}")
