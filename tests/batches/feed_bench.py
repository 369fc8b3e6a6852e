"""One worker's feeding on a real ledger: what it would publish is kept, and the jobs end as they are told."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from tests.ledger.support import bindings_of, ledger_of
from worker.batches.assembly import build_batches
from worker.batches.feeding import Session
from worker.batches.operations import Operation
from worker.batches.raw_rows import RawRow
from worker.batches.row_codec import RowCodec
from worker.batches.row_jobs import RowJobs
from worker.batches.row_rules import RowRules
from worker.batches.rows import Row
from worker.callbacks.guard import ReceiverRules
from worker.clock import Clock, SystemClock
from worker.domain.batch import Batch, BatchOptions, RowOutcome, batch_id_for_name
from worker.domain.job import JobState, Lane
from worker.intake.acceptance import Acceptance, AcceptanceRules
from worker.intake.naming import NamedBindings
from worker.ledger.batch_feed import Cursor, FeedLedger, HeldBatch
from worker.ledger.batch_records import CHUNK_ROWS
from worker.ledger.batch_rows import batch_keys
from worker.ledger.callback_secrets import CallbackSecrets
from worker.ledger.records import AttemptKnowledge, Claim, Settlement

FEED_LEASE_MS = 10_000
BOUND = Settlement(
    JobState.BOUND,
    AttemptKnowledge.CLOSED,
    {"phone_no_x": "17000001111", "subs_id": "1000000768798832", "code": "OK", "message": "OK"},
)
FAILED = Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, {"code": "isv.X", "message": "号码" * 80})
DOUBT = Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN, {"code": "doubt.window_passed"})
NO_NUMBER = Settlement(JobState.WAITING, AttemptKnowledge.CLOSED, {"code": "isv.NO_AVAILABLE_NUMBER"}, delay_ms=60_000)
ACCEPTANCE = Acceptance(AcceptanceRules("FC1", timedelta(seconds=60), ReceiverRules()), SystemClock())


def row(line: int, given: Mapping[str, Any], operation: Operation | None = None) -> Row:
    """A row as a file's check makes it."""
    return RowRules(ACCEPTANCE, operation).row_of(RawRow(line, given, ()))


def bind_rows(count: int, **more: Any) -> list[Row]:
    """Binds, each with its own number and order."""
    return [
        row(
            line,
            {
                "phone_no_a": str(13_800_000_000 + line),
                "expiration": "2099-12-01 12:00:00",
                "out_order_id": f"order-{line}",
                **more,
            },
            Operation.BIND,
        )
        for line in range(2, count + 2)
    ]


class Crash(Exception):  # noqa: N818 - no error: the process is no more
    """The feeder dies here."""


class FragileLedger(FeedLedger):
    """Dies before the cursor is moved, where told so."""

    dies = False

    async def move(self, held: HeldBatch, cursor: Cursor, *, paced_until: float) -> bool:
        if self.dies:
            raise Crash
        return await super().move(held, cursor, paced_until=paced_until)


class Told:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        assert lane is Lane.BATCH
        self.ids += ids
        return True


class FeedBench:
    """Batches, their feeders and their jobs' ends."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.client: Any = redis
        self.ledger = ledger_of(redis)
        self.batches = build_batches(redis)
        self.feed = FragileLedger(redis, self.ledger, lease_ms=FEED_LEASE_MS, give_up_ms=60_000)
        self.rows = self.rows_by()
        self.told = Told()

    def rows_by(self, clock: Clock | None = None, kind: type[Acceptance] = Acceptance) -> RowJobs:
        """Who makes jobs of rows."""
        acceptance = kind(ACCEPTANCE.rules, clock or SystemClock())
        named = NamedBindings(self.ledger, bindings_of(self.redis))
        return RowJobs(acceptance, named, CallbackSecrets(self.redis))

    async def started(self, rows: Sequence[Row], name: str = "b", **options: Any) -> str:
        """A sealed batch of these rows."""
        batch_id = batch_id_for_name(name)
        texts = [RowCodec.text_of(one) for one in rows]
        await self.batches.create(batch_id, name, BatchOptions(**options), "tester")
        for number, start in enumerate(range(0, len(texts), CHUNK_ROWS)):
            await self.batches.put_chunk(batch_id, number, texts[start : start + CHUNK_ROWS])
        await self.batches.seal(batch_id, len(texts))
        return batch_id

    def session(self, batch_id: str, clock: Clock | None = None) -> Session:
        """A feeder, not yet begun."""
        return Session(batch_id, self.feed, self.rows, self.told, clock or SystemClock())  # type: ignore[arg-type]

    async def turn(self, batch_id: str) -> int | None:
        """One look of a new feeder, the one before it being dead."""
        await self.lapse(batch_id)
        return await self.session(batch_id).turn()

    async def lapse(self, batch_id: str) -> None:
        """Let the feeder's lease run out."""
        if await self.client.hexists(batch_keys(batch_id).batch, "held_until"):
            await self.client.hset(batch_keys(batch_id).batch, "held_until", 1)

    async def end(self, job_id: str, settlement: Settlement = BOUND, *, resume: str = "") -> None:
        """A worker's attempt comes to this."""
        claim = await self.ledger.claim(job_id, Lane.BATCH, token="t", lease_ms=30_000, resume=resume)
        assert isinstance(claim, Claim), claim
        assert await self.ledger.settle(claim, replace(settlement))

    async def end_all(self, settlement: Settlement = BOUND) -> int:
        """All that was published ends so."""
        ids = list(dict.fromkeys(self.told.ids))
        self.told.ids.clear()
        await asyncio.gather(*(self.end(job_id, settlement) for job_id in ids))
        return len(ids)

    async def end_all_left(self, settlement: Settlement = BOUND) -> None:
        """All that was published and has not ended does so."""
        for job_id in dict.fromkeys(self.told.ids):
            if not await self.ledger.has_ended(job_id):
                await self.end(job_id, settlement)

    async def read(self, batch_id: str) -> Batch:
        return await self.batches.read(batch_id)

    async def report(self, batch_id: str) -> list[RowOutcome]:
        """Outcomes in the input's order."""
        return [outcome async for _, outcome in self.batches.report(batch_id)]

    async def look_at(self, batch_id: str) -> float | None:
        """When the timetable looks at it."""
        keys = batch_keys(batch_id)
        score: float | None = await self.client.zscore(keys.timetable, keys.member)
        return score
