"""Feeds batches: as many of a batch's rows become jobs as its window, its rate and its hours let through.

A message that names a batch begins a session in this process, which goes on in the background while it holds the
batch's lease. Rows are filed, published, and only then passed over: a crash in between files the same jobs again, which
the ledger answers with "filed before". The timetable looks when a lease ends, so that a dead feeder is replaced.
"""

import asyncio
import dataclasses
import random
import secrets
from collections.abc import Callable, Sequence
from functools import partial

from redis.exceptions import RedisError

from worker.batches.chunks import Chunk
from worker.batches.lost_rows import LostRows
from worker.batches.row_codec import RowCodec
from worker.batches.row_jobs import PlacedRow, RowJobs
from worker.callbacks.events import batch_finished_body
from worker.callbacks.receivers import receiver_of
from worker.clock import Clock
from worker.domain.batch_hours import next_opening
from worker.domain.job import JobKind, JobState, Lane
from worker.errors import BatchNotFoundError, LedgerUnavailableError
from worker.ledger.batch_feed import Cursor, FeedLedger, HeldBatch, RefusedRow
from worker.ledger.batch_records import BatchCounts
from worker.ledger.batch_rows import TROUBLES, RowPlace
from worker.ledger.callback_records import OwedCallback
from worker.ledger.records import NewJob
from worker.logs import get_log
from worker.messages import BATCH_MARK, IDS_PER_MESSAGE
from worker.publisher import Announcer
from worker.steps import reached

_log = get_log(__name__)
_TURN_MS = 200
_UNUSED_MS = 2 * _TURN_MS
_SHORT_TURN_MS = 10
"""Where more may be fed at once."""
_IDLE_TURN_MS = 500
"""Between looks at a batch whose rows are all fed, or whose window is full."""
_REDIS_AWAY_MS = 1_000
_MOST_IN_A_TURN = 1_000
"""Rows, so that several batches take turns within a process, and a pause is heeded soon."""
_SURE_SHARE_OF_A_LEASE = 0.5
_CONFLICT = "row.conflict"


class Session:
    """One feeder of one batch."""

    def __init__(
        self,
        batch_id: str,
        ledger: FeedLedger,
        rows: RowJobs,
        announcer: Announcer,
        clock: Clock,
        *,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._random_share = random_share
        self._batch_id = batch_id
        self._ledger = ledger
        self._rows = rows
        self._announcer = announcer
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._chunk: Chunk | None = None
        self._surely_until_ms = 0.0
        self._lost = LostRows(ledger, clock)

    async def run(self, stop: asyncio.Event) -> None:
        """Feed until there is nothing to feed, another feeder has taken over, or this process stops."""
        while not stop.is_set():
            try:
                pause_ms = await self.turn()
            except (RedisError, OSError, LedgerUnavailableError) as failure:
                _log.warning("batch: Redis is away", batch_id=self._batch_id, error=type(failure).__name__)
                pause_ms = _REDIS_AWAY_MS
            if pause_ms is None:
                return
            # Whoever always comes first in a full queue takes more of it: the turns of several batches must not lock.
            await self._sleep(pause_ms * (0.5 + self._random_share()), stop)
        await self._ledger.let_go(self._batch_id, self._token)

    async def _sleep(self, pause_ms: float, stop: asyncio.Event) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep_ms(pause_ms))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((sleeping, stopping), return_when=asyncio.FIRST_COMPLETED)
        for one in (sleeping, stopping):
            one.cancel()

    async def turn(self) -> int | None:
        """Look once, and feed what may be fed. Returns ms until the next look, or None where the session ends."""
        asked_ms = self._clock.monotonic_ms()
        held = await self._ledger.hold(self._batch_id, self._token)
        if held is None:
            return None
        self._surely_until_ms = asked_ms + self._ledger.lease_ms * _SURE_SHARE_OF_A_LEASE
        counts = await self._ledger.counts(self._batch_id)
        if held.cursor.chunk >= held.chunks:
            if counts.alive:
                await self._lost.look(held, counts)
                return _IDLE_TURN_MS
            await self._finish(held, counts)
            return None
        if counts.trouble_at > held.resumed_at:
            await self._pause(held, counts)
            return None
        if opening_ms := next_opening(held.options, held.now_ms):
            await self._ledger.let_go(self._batch_id, self._token, look_at_ms=opening_ms)
            _log.info("batch out of its hours", batch_id=self._batch_id)
            return None
        room = min(held.options.window - counts.alive, _allowance(held))
        is_held = await self._feed(held, min(room, _MOST_IN_A_TURN))
        return (_TURN_MS if room <= _MOST_IN_A_TURN else _SHORT_TURN_MS) if is_held else None

    async def _pause(self, held: HeldBatch, counts: BatchCounts) -> None:
        advice = TROUBLES.get(counts.trouble, "mend it")
        reason = f"{counts.trouble}: {advice}, then resume the batch"
        if await self._ledger.pause(held, reason, counts.trouble_at):
            _log.warning("batch paused", batch_id=self._batch_id, code=counts.trouble, message=reason)

    async def _finish(self, held: HeldBatch, counts: BatchCounts) -> None:
        if await self._ledger.finish(held, owed_callback(held, counts)):
            _log.info("batch finished", batch_id=self._batch_id, by_state=dict(counts.by_state))

    async def _feed(self, held: HeldBatch, most: int) -> bool:
        """Feed some rows, a message's worth at a time. False where another feeder has taken over, or none may feed."""
        cursor, paced_until = held.cursor, max(held.paced_until, _earliest(held))
        while most > 0 and cursor.chunk < held.chunks:
            if self._clock.monotonic_ms() >= self._surely_until_ms:
                return True  # the lease is renewed first
            chunk = await self._chunk_at(held, cursor)
            fed, following = chunk.some(held, cursor.index, min(most, IDS_PER_MESSAGE))
            if fed:
                await self._begin(held, chunk, fed)
            most -= len(fed)
            if held.options.per_second:
                paced_until += len(fed) * 1000 / held.options.per_second
            reached("batch.fed", held.batch_id)
            if not await self._ledger.move(held, following, paced_until=paced_until):
                return False
            cursor = following
        return True

    async def _chunk_at(self, held: HeldBatch, cursor: Cursor) -> Chunk:
        known = self._chunk
        if known is not None and (known.round_, known.number) == (held.round_, cursor.chunk):
            return known
        rows = await self._ledger.rows(held.batch_id, cursor.chunk)
        outcomes = await self._ledger.outcomes(held.batch_id, cursor.chunk) if held.round_ else None
        self._chunk = Chunk(held.round_, cursor.chunk, rows, outcomes)
        return self._chunk

    async def _begin(self, held: HeldBatch, chunk: Chunk, indexes: Sequence[int]) -> None:
        placed = {}
        for index in indexes:
            row = RowCodec.row_of(chunk.rows[index])
            place = RowPlace(held.batch_id, chunk.number, index, held.round_)
            placed[str(place)] = PlacedRow(place, chunk.rows[index], row)
        jobs, refused = await self._rows.jobs_of(list(placed.values()))
        ids, others = await self._ledger.open_rows([_as_asked(job, held) for job in jobs])
        refused += [_conflict(placed[job.batch], job) for job in others]
        await self._ledger.refuse(refused)
        for job_id in ids:
            _log.debug(
                "job accepted",
                job_id=job_id,
                lane=Lane.BATCH.value,
                batch_id=held.batch_id,
                state=JobState.ACCEPTED.value,
            )
        reached("batch.filed", held.batch_id)
        if ids:
            await self._announcer.publish(Lane.BATCH, ids, held.now_ms)


class Feeder:
    """The sessions of one worker process."""

    def __init__(self, ledger: FeedLedger, rows: RowJobs, announcer: Announcer, clock: Clock) -> None:
        self._parts = (ledger, rows, announcer, clock)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()

    def feed(self, ids: Sequence[str]) -> None:
        """Begin to feed these batches in the background.

        Args:
            ids: with their mark, as messages carry them.
        """
        for batch_id in (id_.removeprefix(BATCH_MARK) for id_ in ids):
            if batch_id not in self._running and not self._stop.is_set():
                task = asyncio.create_task(self._guarded(batch_id))
                self._running[batch_id] = task
                task.add_done_callback(partial(self._ended, batch_id))

    def _ended(self, batch_id: str, _: "asyncio.Task[None]") -> None:
        self._running.pop(batch_id, None)

    async def _guarded(self, batch_id: str) -> None:
        try:
            await Session(batch_id, *self._parts).run(self._stop)
        except BatchNotFoundError:
            _log.warning("batch removed while it was fed", batch_id=batch_id)
        except Exception as failure:  # noqa: BLE001 - its lease runs out and the timetable brings it back
            _log.error("batch's feeding broke off", batch_id=batch_id, error=type(failure).__name__, exc_info=failure)

    def stop(self) -> None:
        """Begin nothing more; what is fed goes on in another process at once."""
        self._stop.set()

    async def aclose(self) -> None:
        """Wait until all sessions have ended."""
        self.stop()
        await asyncio.gather(*self._running.values(), return_exceptions=True)


def _earliest(held: HeldBatch) -> float:
    """The rate that was not used before this is lost: a slow batch may not catch up in one burst."""
    per_second = held.options.per_second
    return held.now_ms - max(_UNUSED_MS, 1000 / per_second) if per_second else held.now_ms


def _allowance(held: HeldBatch) -> int:
    """How many rows the rate lets through now."""
    per_second = held.options.per_second
    if not per_second:
        return held.options.window
    free_ms = held.now_ms - max(held.paced_until, _earliest(held))
    return max(int(free_ms * per_second / 1000 + 1e-6), 0)


def _conflict(placed: PlacedRow, job: NewJob) -> RefusedRow:
    message = f"job {job.job_id} of an earlier batch of this name did something else; use another name"
    return placed.refused(_CONFLICT, message)


def owed_callback(held: HeldBatch, counts: BatchCounts) -> OwedCallback | None:
    """What a batch's end owes, where somebody wants to hear of it."""
    url = held.options.callback_url
    if not url:
        return None
    return OwedCallback(
        webhook_id=f"{held.batch_id}-{held.round_}",
        url=url,
        host=receiver_of(url),
        body=batch_finished_body(
            batch_id=held.batch_id,
            name=held.name,
            unix_ms=held.now_ms,
            rows=held.rows,
            by_state=counts.by_state,
            by_code=counts.by_code,
        ),
        secret=held.options.callback_secret_name,
    )


def _as_asked(job: NewJob, held: HeldBatch) -> NewJob:
    """An order that was closed since the batch was begun is closed for its rows, too."""
    is_binding = job.kind in (JobKind.BIND, JobKind.REBIND)
    return dataclasses.replace(job, asked_at=held.created_at) if is_binding else job
