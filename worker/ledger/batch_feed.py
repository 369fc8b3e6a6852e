"""What a feeder asks of the ledger: the lease of a batch, its rows, and their jobs' filing."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from worker.domain.batch import BatchOptions
from worker.domain.formats import BATCH
from worker.domain.job import JobState
from worker.ledger.batch_chunks import read_outcomes, read_rows
from worker.ledger.batch_records import BatchCounts, options_of
from worker.ledger.batch_rows import MAY_BE_DONE, REFUSED, RowPlace, WrittenOutcome, batch_keys, counts_key
from worker.ledger.callback_records import OwedCallback
from worker.ledger.keys import ALL_PARTITIONS, callback_key
from worker.ledger.ledger import Ledger
from worker.ledger.newer import NewerWork
from worker.ledger.records import NewJob
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import sealed_pairs
from worker.redis_scripts import load_script

_CONFLICT, _KNOWN = -1, 0
_HELD, _NEWER = 1, 2
_NEWER_LOOK_MS = 5_000
_CUT_MESSAGE = 120
_LOST = "its record is missing; whether it was sent is lost"


@dataclass(frozen=True, slots=True)
class Cursor:
    """The next row to feed."""

    chunk: int
    index: int


@dataclass(frozen=True, slots=True)
class HeldBatch:
    """A batch as its feeder sees it.

    Attributes:
        token: of the lease.
        now_ms: Redis's clock when it was read, Unix ms.
        chunks: how many it has.
        round_: 0, and one more each time that rows are tried anew.
        retry_codes: of the rows of this round, which are then tried if their outcome has such a code; None: any.
        paced_until: up to when its rate is used up, Unix ms.
        resumed_at: trouble that was noted before counts no more.
        created_at: when it was begun, Unix ms.
    """

    batch_id: str
    token: str
    now_ms: int
    name: str
    options: BatchOptions
    rows: int
    chunks: int
    cursor: Cursor
    round_: int
    retry_codes: frozenset[str] | None
    paced_until: float
    resumed_at: int
    created_at: int = 0


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that cannot become a job.

    Attributes:
        job_id: of the job that it would have been.
        digest: of what it asks for.
    """

    place: RowPlace
    job_id: str
    digest: str
    code: str
    message: str


class FeedLedger:
    """Batches from within.

    Args:
        redis: a client that decodes replies to text.
        ledger: files the jobs.
        lease_ms: after which a feeder that is not heard of is replaced.
        give_up_ms: after which the callback of a batch's end is given up.
        seal: of the numbers in Redis.
    """

    def __init__(self, redis: Redis, ledger: Ledger, *, lease_ms: int, give_up_ms: int, seal: Seal = NO_SEAL) -> None:
        self._redis = redis
        self._seal = seal
        self._ledger = ledger
        self.lease_ms = lease_ms
        self._give_up_ms = give_up_ms
        self._newer = NewerWork()
        self._hold = load_script(redis, "worker.ledger", "hold_batch")
        self._move = load_script(redis, "worker.ledger", "move_cursor")
        self._let_go = load_script(redis, "worker.ledger", "let_batch_go")
        self._turn = load_script(redis, "worker.ledger", "turn_batch")
        self._finish = load_script(redis, "worker.ledger", "finish_batch")
        self._refuse = load_script(redis, "worker.ledger", "refuse_row")
        self._adopt = load_script(redis, "worker.ledger", "adopt_row")
        self._close_lost = load_script(redis, "worker.ledger", "close_lost_row")

    async def hold(self, batch_id: str, token: str) -> HeldBatch | None:
        """Take or renew the lease of a batch; None where there is nothing to feed, another holds it, or must."""
        keys = batch_keys(batch_id)
        arguments: list[str | int] = [token, self.lease_ms, keys.member, BATCH.reads, _NEWER_LOOK_MS]
        status, now_ms, *flat = await self._hold([keys.batch, keys.timetable], arguments)
        if status == _NEWER:
            self._newer.left(BATCH, batch_id)
        if status != _HELD:
            return None
        record = dict(zip(flat[::2], flat[1::2], strict=True))
        codes = json.loads(record.get("retry_codes", "null"))
        return HeldBatch(
            batch_id=batch_id,
            token=token,
            now_ms=int(now_ms),
            name=record["name"],
            options=options_of(record["options"]),
            rows=int(record["rows"]),
            chunks=int(record["chunks"]),
            cursor=Cursor(int(record["chunk"]), int(record["index"])),
            round_=int(record["round"]),
            retry_codes=None if codes is None else frozenset(codes),
            paced_until=float(record.get("paced_until", 0)),
            resumed_at=int(record["resumed_at"]),
            created_at=int(record.get("created_at", 0)),
        )

    async def counts(self, batch_id: str) -> BatchCounts:
        """What became of its rows so far. Jobs alive are never counted too few."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for partition in ALL_PARTITIONS:
                pipeline.hgetall(counts_key(partition, batch_id))
            return BatchCounts.of(await pipeline.execute())

    async def rows(self, batch_id: str, chunk: int) -> list[str]:
        """The texts of a chunk's rows."""
        return await read_rows(self._redis, batch_id, chunk, self._seal)

    async def outcomes(self, batch_id: str, chunk: int) -> dict[int, WrittenOutcome]:
        """A chunk's outcomes so far, by the rows' indexes."""
        return await read_outcomes(self._redis, batch_id, chunk)

    async def open_rows(self, jobs: Sequence[NewJob]) -> tuple[list[str], list[NewJob]]:
        """File rows' jobs in one pipeline. Doing it twice files none twice, and counts none twice.

        Returns:
            The ids of the jobs that were filed or found unfinished, to be published; and the jobs whose ids stand for
            others: rows of a removed batch of the same name that asked for something else.
        """
        if not jobs:
            return [], []
        async with self._redis.pipeline(transaction=False) as pipeline:
            for job in jobs:
                await self._ledger.queue_opening(pipeline, job)
            replies = await pipeline.execute()
        known = [job for job, reply in zip(jobs, replies, strict=True) if reply[0] == _KNOWN]
        await self._adopt_known([(RowPlace.parse(job.batch), job.job_id) for job in known])
        ids = [
            job.job_id
            for job, (status, state, *_) in zip(jobs, replies, strict=True)
            if status != _CONFLICT and state in ("accepted", "waiting", "submitting")
        ]
        return ids, [job for job, reply in zip(jobs, replies, strict=True) if reply[0] == _CONFLICT]

    async def _adopt_known(self, rows: Sequence[tuple[RowPlace, str]]) -> None:
        if not rows:
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for place, job_id in rows:
                arguments: list[str | int] = [str(place), place.index, place.round_]
                await self._adopt(place.row_keys(job_id), arguments, client=pipeline)
            await pipeline.execute()

    async def refuse(self, rows: Sequence[RefusedRow]) -> None:
        """Write the outcomes of rows that cannot become jobs, in one pipeline. One that is a job already stays it.

        What it has done may be the very reason: the binding that it ended, for a batch of this name that was removed.
        """
        if not rows:
            return
        async with self._redis.pipeline(transaction=False) as pipeline:
            for row in rows:
                message = row.message[:_CUT_MESSAGE]
                outcome = WrittenOutcome(REFUSED, row.place.round_, code=row.code, message=message)
                arguments: list[str | int] = [
                    *(row.place.index, row.place.round_),
                    *(" ".join(self._seal.digests(row.digest)), str(outcome), row.code),
                ]
                await self._refuse(row.place.row_keys(row.job_id), arguments, client=pipeline)
            replies = await pipeline.execute()
        await self._adopt_known(
            [(row.place, row.job_id) for row, is_new in zip(rows, replies, strict=True) if not is_new]
        )

    async def close_lost(self, rows: Sequence[tuple[RowPlace, str]]) -> int:
        """End those of these begun rows whose jobs Redis has lost, in one pipeline: they fail, and may be tried anew.

        Args:
            rows: their places, and the ids of their jobs.

        Returns:
            How many there were.
        """
        async with self._redis.pipeline(transaction=False) as pipeline:
            for place, job_id in rows:
                outcome = WrittenOutcome(JobState.FAILED, place.round_, code=MAY_BE_DONE, message=_LOST)
                arguments: list[str | int] = [str(place), place.index, place.round_, str(outcome), outcome.code]
                await self._close_lost(place.row_keys(job_id), arguments, client=pipeline)
            return sum(await pipeline.execute())

    async def move(self, held: HeldBatch, cursor: Cursor, *, paced_until: float) -> bool:
        """Say that all rows before the cursor are begun. False where another feeder holds the batch, or none may."""
        arguments: list[str | int] = [held.token, cursor.chunk, cursor.index, f"{paced_until:.3f}"]
        return bool(await self._move([batch_keys(held.batch_id).batch], arguments))

    async def let_go(self, batch_id: str, token: str, *, look_at_ms: int = 0) -> None:
        """Give the lease back.

        Args:
            batch_id: of the batch.
            token: of the lease.
            look_at_ms: when somebody is to look at the batch again, Unix ms; 0: now.
        """
        keys = batch_keys(batch_id)
        await self._let_go([keys.batch, keys.timetable], [token, keys.member, look_at_ms])

    async def pause(self, held: HeldBatch, reason: str, noted_at_ms: int) -> bool:
        """Pause it because of trouble, unless somebody has resumed it since that was noted."""
        keys = batch_keys(held.batch_id)
        arguments: list[str | int] = ["pause", keys.member, "", reason, noted_at_ms, secrets.token_hex(8)]
        status, _ = await self._turn([keys.batch, keys.timetable], arguments)
        return bool(status == 1)

    async def finish(self, held: HeldBatch, callback: OwedCallback | None) -> bool:
        """End it, together with the callback that it owes. False where another feeder holds it, or none may."""
        keys = batch_keys(held.batch_id)
        from_callback = (callback_key(callback.webhook_id), callback.line_key) if callback else (keys.batch, keys.batch)
        arguments: list[str | int] = [held.token, keys.member]
        if callback:
            pairs = sealed_pairs(self._seal, callback.webhook_id, callback.pairs(held.batch_id))
            arguments += [callback.member, self._give_up_ms, callback.line_member, *pairs]
        else:
            arguments += ["", 0, ""]
        return bool(await self._finish([keys.batch, keys.timetable, *from_callback], arguments))
