"""The jobs' records in Redis: file, claim, settle, read. Each move is one atomic script."""

import asyncio
import dataclasses
import json
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from worker.domain.formats import JOB
from worker.domain.job import Job, JobState, Lane, Orphan
from worker.domain.job_ids import partition_of
from worker.domain.renewal import DEFAULT_SPREAD
from worker.errors import IdempotencyConflictError, JobNotFoundError, SealError
from worker.ledger.batch_rows import RowPlace, keys_of_row
from worker.ledger.callback_order import CallbackOrder
from worker.ledger.callback_records import OwedCallback, flatten
from worker.ledger.callbacks import DEFAULT_GIVE_UP_MS
from worker.ledger.closed_orders import closed_orders_key
from worker.ledger.filed_bindings import FiledBindings
from worker.ledger.job_views import has_ended, job_from_record
from worker.ledger.keeping import Keeping
from worker.ledger.keys import callback_key, job_keys, member_of
from worker.ledger.newer import NewerWork
from worker.ledger.records import Claim, NewJob, Settlement, claim_from_record
from worker.ledger.registration import order_of, registration_of
from worker.ledger.renewal_keys import is_renewal_over, renewal_member, renewals_key
from worker.ledger.retention import Retention
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import ORPHAN_PREFIX, sealed_pairs, sealed_value
from worker.ledger.unreadable import put_off
from worker.messages import RENEWAL_MARK
from worker.redis_faults import asking
from worker.redis_scripts import load_script
from worker.runtime import end_tasks
from worker.tracing import UNTRACED, Tracer

_CONFLICT = -1
_JOBS_PER_PIPELINE = 200
"""About as much as a socket takes at once."""


class Ledger(FiledBindings):
    """The only truth about jobs.

    Args:
        redis: a client that decodes replies to text.
        result_ttl_ms: how long a finished job's record stays.
        first_look_ms: when the timetable looks at a job that no worker has taken.
        rescues: how many leases of a job may run out, one after the other, before it counts as poison.
        give_up_ms: after which a callback is given up in any case.
        order_look_ms: when somebody looks whether the next callback of an order key got its turn.
        renewal_spread: see `Keeping`.
        traces: tells the trace in which a job is filed.
        retention: how long finished jobs of some states stay, where that is another time.
        seal: of the numbers in Redis.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        result_ttl_ms: int,
        first_look_ms: int,
        rescues: int = 5,
        give_up_ms: int = DEFAULT_GIVE_UP_MS,
        order_look_ms: int = 30_000,
        renewal_spread: float = DEFAULT_SPREAD,
        traces: Tracer = UNTRACED,
        retention: Retention | None = None,
        seal: Seal = NO_SEAL,
    ) -> None:
        super().__init__(redis, seal)
        self._retention = retention or Retention(result_ttl_ms)
        self._first_look_ms = first_look_ms
        self._rescues = rescues
        self._give_up_ms = give_up_ms
        self._order = CallbackOrder(redis, look_ms=order_look_ms)
        self._traces = traces
        self._keeping = Keeping(redis, spread=renewal_spread)
        self._newer = NewerWork()
        self._open = load_script(redis, "worker.ledger", "open")
        self._claim = load_script(redis, "worker.ledger", "claim")
        self._renew = load_script(redis, "worker.ledger", "renew")
        self._settle = load_script(redis, "worker.ledger", "settle")
        self._report_orphan = load_script(redis, "worker.ledger", "report_orphan")

    async def open(self, job: NewJob) -> int:
        """File a job and its first look.

        Returns:
            When it was filed, Unix ms by Redis's clock; 0 if the same request had been filed before.

        Raises:
            IdempotencyConflictError: its id stands for another request.
            LedgerUnavailableError: says what is wrong with Redis; the job may or may not be filed.
        """
        async with asking(self._redis):
            status, _, now_ms = await self._open(*self._open_arguments(job))
        if status == _CONFLICT:
            raise IdempotencyConflictError(job.job_id)
        return int(now_ms) if status else 0

    async def open_many(self, jobs: Iterable[NewJob]) -> list[int | IdempotencyConflictError]:
        """File jobs in pipelines; the answers, as `open`'s, stand in the jobs' order.

        One is made, and its jobs with it where they are made when asked for, while Redis works on the one before it.

        Raises:
            LedgerUnavailableError: says what is wrong with Redis; any of the jobs may or may not be filed.
        """
        replies: list[Any] = []
        coming, filed = iter(jobs), list[NewJob]()
        async with asking(self._redis, is_one_call=False), AsyncExitStack() as pipelines:
            under_way: asyncio.Task[list[Any]] | None = None
            while some := list(islice(coming, _JOBS_PER_PIPELINE)):
                filed += some
                pipeline = await pipelines.enter_async_context(self._redis.pipeline(transaction=False))
                for job in some:
                    await self.queue_opening(pipeline, job)
                replies += await under_way if under_way else []
                under_way = asyncio.create_task(pipeline.execute())
                pipelines.push_async_callback(end_tasks, [under_way])
                await asyncio.sleep(0)  # it goes out
            replies += await under_way if under_way else []
        return self.opening_answers(filed, replies)

    async def queue_opening(self, pipeline: Pipeline, job: NewJob) -> None:
        """Put the filing of a job into a pipeline."""
        keys, arguments = self._open_arguments(job)
        await self._open(keys, arguments, client=pipeline)

    @staticmethod
    def opening_answers(jobs: Sequence[NewJob], replies: Sequence[Any]) -> list[int | IdempotencyConflictError]:
        """Read the replies to queued filings; an error among them is raised."""
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return [
            IdempotencyConflictError(job.job_id) if reply[0] == _CONFLICT else int(reply[2]) if reply[0] else 0
            for job, reply in zip(jobs, replies, strict=True)
        ]

    def _open_arguments(self, job: NewJob) -> tuple[list[str], list[str]]:
        keys = job_keys(job.job_id)
        deadline_in = "" if job.deadline_in_ms is None else str(job.deadline_in_ms)
        deadline_at = "" if job.deadline_at_ms is None else str(job.deadline_at_ms)
        head = [
            member_of(job.lane, job.job_id),
            " ".join(self._seal.digests(job.digest)),
            str(self._first_look_ms),
            deadline_in,
            deadline_at,
            job.seed,
        ]
        counts = [RowPlace.parse(job.batch).counts_key(job.job_id)] if job.batch else []
        trace, pairs = self._traces.here(), sealed_pairs(self._seal, job.job_id, job.pairs())
        return [keys.job, keys.timetable, *counts], head + pairs + (["trace", trace] if trace else [])

    async def claim(self, job_id: str, lane: Lane, *, token: str, lease_ms: int, resume: str = "") -> Claim | str:
        """Take the lease of a job, if it may be worked on.

        Args:
            job_id: whose.
            lane: on whose queue it is published.
            token: random, of this very claim.
            lease_ms: how long it is this owner's alone, unless renewed.
            resume: for who knows what became of an attempt: its number, to claim the job even while it waits or is in
                doubt; `any` to resolve a doubt.

        Returns:
            The claim, or why there is none: `missing`, `ended`, `leased`, `early`, `condemned`, or `newer`: it
            is a newer release's, and was left as it is.

        Raises:
            BrokenRecordError: this release cannot read its record. The lease is taken all the same, and runs out: as
                often as the ledger's `rescues` allow somebody else may try, then the job is poison.
            SealError: this process lacks the key of its numbers. The job waits for a while, or is in doubt as before.
        """
        keys = job_keys(job_id)
        reply = await self._claim(
            [keys.job, keys.timetable, keys.in_doubt, keys.failed],
            [
                *(member_of(lane, job_id), token, lease_ms, self._rescues),
                *(self._retention.ms(JobState.FAILED), keys.ended_channel, resume, JOB.reads),
            ],
        )
        if reply[0] == "newer":
            self._newer.left(JOB, job_id)
        if reply[0] != "claimed":
            return str(reply[0])
        try:
            return claim_from_record(reply, job_id, token, self._seal)
        except SealError:
            await self._settle_now(*put_off(reply, job_id, token))
            raise

    async def renew(self, claims: Sequence[Claim], *, lease_ms: int) -> list[bool]:
        """Lengthen leases, in one pipeline. False for a job that has another owner by now, or is settled."""
        pipeline = self._redis.pipeline(transaction=False)
        for claim in claims:
            keys = job_keys(claim.job_id)
            await self._renew(
                [keys.job, keys.timetable],
                [claim.token, member_of(claim.lane, claim.job_id), lease_ms],
                client=pipeline,
            )
        return [bool(status) for status in await pipeline.execute()]

    async def settle(self, claim: Claim, settlement: Settlement) -> bool:
        """Write what a claim came to, together with the callback it owes.

        Returns:
            False if the lease was lost meanwhile: then nothing was written.
        """
        if settlement.state.is_bound:
            settlement = await self._keeping.begin(claim, settlement)
        return await self._order.settling(settlement.callback, lambda: self._settle_now(claim, settlement))

    async def _settle_now(self, claim: Claim, settlement: Settlement) -> bool:
        keys = job_keys(claim.job_id)
        callback = settlement.callback
        fields = sealed_pairs(self._seal, claim.job_id, flatten(settlement.fields.items()))
        expires_at, names = registration_of(claim, settlement, self._seal)
        order, partition = order_of(claim, settlement), partition_of(claim.job_id)
        settle_keys = [
            keys.job,
            keys.timetable,
            keys.in_doubt,
            keys.failed,
            callback_key(callback.webhook_id) if callback else keys.job,
            callback.line_key if callback else keys.job,
            keys.bindings,
            keys.binding_index,
            closed_orders_key(partition, order) if order else keys.job,
            renewals_key(partition),
            *keys_of_row(claim, settlement),
        ]
        status, _ = await self._settle(
            settle_keys,
            [
                claim.token,
                member_of(claim.lane, claim.job_id),
                settlement.state.value,
                settlement.delay_ms,
                settlement.knowledge.value,
                self._retention.ms(settlement.state),
                keys.ended_channel,
                *(_times_of(callback, self._give_up_ms) if callback else ("", 0, 0, 0, "")),
                settlement.grace_ms,
                len(fields),
                expires_at,
                names,
                order,
                renewal_member(partition),
                *fields,
                *self._pairs_of(callback, claim.job_id),
            ],
        )
        return bool(status)

    async def report_orphan(self, claim: Claim, orphan: Orphan, callback: OwedCallback | None) -> bool:
        """Write into a job that a binding of its was found beside its own end.

        Returns:
            False where it was reported before, or the job's record is gone.
        """
        keys = job_keys(claim.job_id)
        text = json.dumps(dataclasses.asdict(orphan), separators=(",", ":"))
        text = sealed_value(self._seal, claim.job_id, f"{ORPHAN_PREFIX}{orphan.subs_id}", text)
        status = await self._report_orphan(
            [
                keys.job,
                keys.timetable,
                callback_key(callback.webhook_id) if callback else keys.job,
                callback.line_key if callback else keys.job,
            ],
            [
                text,
                orphan.subs_id,
                *((callback.member, self._give_up_ms) if callback else ("", 0)),
                *((callback.deadline_at, callback.line_member) if callback else (0, "")),
                *self._pairs_of(callback, claim.job_id),
            ],
        )
        return bool(status == 1)

    def _pairs_of(self, callback: OwedCallback | None, job_id: str) -> list[str]:
        return sealed_pairs(self._seal, callback.webhook_id, callback.pairs(job_id)) if callback else []

    async def claim_of_ended(self, job_id: str) -> Claim:
        """An ended job as a claim shows it; no lease is taken.

        Raises:
            JobNotFoundError: there is none of this id.
            BrokenRecordError: its record cannot be read.
        """
        record: dict[str, str] = await self._redis.hgetall(job_keys(job_id).job)  # type: ignore[assignment, unused-ignore]
        if not record:
            raise JobNotFoundError(job_id)
        head = ["claimed", "0", record.get("fence", "0"), record.get("attempts", "0"), "0", "0", "0", "0", "0"]
        return claim_from_record([*head, *flatten(record.items())], job_id, "", self._seal)

    async def has_ended(self, job_id: str) -> bool:
        """Whether no worker will move this job any more; so, too, where its record is gone.

        Args:
            job_id: of a job; or, as `BindingQueue` has it, a renewal's name.
        """
        if job_id.startswith(RENEWAL_MARK):
            return await is_renewal_over(self._redis, job_id)
        client: Any = self._redis
        state, finished_at = await client.hmget(job_keys(job_id).job, ["state", "finished_at"])
        return has_ended(state, finished_at)

    async def read(self, job_id: str) -> Job:
        """A job as it stands.

        Raises:
            JobNotFoundError: there is none of this id.
            BrokenRecordError: its record tells no state.
            LedgerUnavailableError: says what is wrong with Redis.
        """
        async with asking(self._redis):
            record: dict[str, str] = await self._redis.hgetall(job_keys(job_id).job)  # type: ignore[assignment, unused-ignore]
        if not record:
            raise JobNotFoundError(job_id)
        return job_from_record(job_id, record, self._seal)


def _times_of(callback: OwedCallback, give_up_ms: int) -> tuple[str, int, int, int, str]:
    return callback.member, callback.lease_ms, give_up_ms, callback.deadline_at, callback.line_member
