"""The jobs' records in Redis: file, claim, settle, read. Each move is one atomic script."""

import json
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.domain.binding import Binding
from worker.domain.job import Job, JobState, Lane
from worker.errors import IdempotencyConflictError, JobNotFoundError, LedgerUnavailableError
from worker.ledger.keys import callback_key, job_keys, member_of
from worker.ledger.records import (
    Claim,
    NewJob,
    OwedCallback,
    Settlement,
    claim_from_record,
    flatten,
    job_from_record,
)
from worker.redis_scripts import load_script

_CONFLICT = -1


class Ledger:
    """The only truth about jobs.

    Args:
        redis: a client that decodes replies to text.
        result_ttl_ms: how long a finished job's record stays.
        first_look_ms: when the timetable looks at a job that no worker has taken.
    """

    def __init__(self, redis: Redis, *, result_ttl_ms: int, first_look_ms: int) -> None:
        self._redis = redis
        self._result_ttl_ms = result_ttl_ms
        self._first_look_ms = first_look_ms
        self._open = load_script(redis, "worker.ledger", "open")
        self._claim = load_script(redis, "worker.ledger", "claim")
        self._settle = load_script(redis, "worker.ledger", "settle")

    async def open(self, job: NewJob) -> bool:
        """File a job and its first look.

        Returns:
            True if it was filed now, False if the same request had been filed before.

        Raises:
            IdempotencyConflictError: its id stands for another request.
            LedgerUnavailableError: Redis did not answer; the job may or may not be filed.
        """
        try:
            status, _ = await self._open(*self._open_arguments(job))
        except (RedisError, OSError) as failure:
            raise LedgerUnavailableError(_unavailable(failure)) from failure
        if status == _CONFLICT:
            raise IdempotencyConflictError(job.job_id)
        return bool(status)

    async def open_many(self, jobs: list[NewJob]) -> list[bool | IdempotencyConflictError]:
        """File jobs in one pipeline; the answers stand in the jobs' order.

        Raises:
            LedgerUnavailableError: Redis did not answer; any of the jobs may or may not be filed.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for job in jobs:
            keys, arguments = self._open_arguments(job)
            await self._open(keys, arguments, client=pipeline)
        try:
            replies = await pipeline.execute()
        except (RedisError, OSError) as failure:
            raise LedgerUnavailableError(_unavailable(failure)) from failure
        return [
            IdempotencyConflictError(job.job_id) if reply[0] == _CONFLICT else bool(reply[0])
            for job, reply in zip(jobs, replies, strict=True)
        ]

    def _open_arguments(self, job: NewJob) -> tuple[list[str], list[str]]:
        keys = job_keys(job.job_id)
        deadline_in = "" if job.deadline_in_ms is None else str(job.deadline_in_ms)
        deadline_at = "" if job.deadline_at_ms is None else str(job.deadline_at_ms)
        head = [member_of(job.lane, job.job_id), job.digest, str(self._first_look_ms), deadline_in, deadline_at]
        return [keys.job, keys.timetable], head + job.pairs()

    async def claim(self, job_id: str, lane: Lane, *, token: str, lease_ms: int) -> Claim | str:
        """Take the lease of a job, if it may be worked on.

        Returns:
            The claim, or why there is none: `missing`, `ended`, `leased` or `early`.
        """
        keys = job_keys(job_id)
        reply = await self._claim([keys.job, keys.timetable], [member_of(lane, job_id), token, lease_ms])
        return claim_from_record(reply, job_id, token) if reply[0] == "claimed" else str(reply[0])

    async def settle(self, claim: Claim, settlement: Settlement) -> bool:
        """Write what a claim came to, together with the callback it owes.

        Returns:
            False if the lease was lost meanwhile: then nothing was written.
        """
        keys = job_keys(claim.job_id)
        callback = settlement.callback
        fields = flatten(settlement.fields.items())
        status, _ = await self._settle(
            [keys.job, keys.timetable, keys.in_doubt, callback_key(callback.webhook_id) if callback else keys.job],
            [
                claim.token,
                member_of(claim.lane, claim.job_id),
                settlement.state.value,
                settlement.delay_ms,
                settlement.knowledge.value,
                self._result_ttl_ms,
                keys.ended_channel,
                *_callback_head(callback),
                len(fields),
                *fields,
                *(callback.pairs(claim.job_id) if callback else ()),
            ],
        )
        return bool(status)

    async def read(self, job_id: str) -> Job:
        """A job as it stands.

        Raises:
            JobNotFoundError: there is none of this id.
            LedgerUnavailableError: Redis did not answer.
        """
        try:
            record: dict[str, str] = await self._redis.hgetall(job_keys(job_id).job)  # type: ignore[assignment, unused-ignore]
        except (RedisError, OSError) as failure:
            raise LedgerUnavailableError(_unavailable(failure)) from failure
        if not record:
            raise JobNotFoundError(job_id)
        return job_from_record(job_id, record)

    async def bindings_of(self, job_ids: Sequence[str]) -> list[Binding | JobState | None]:
        """What these jobs have bound, in one pipeline: a job's binding, or the state of one that has none.

        None stands for a job without a record.

        Raises:
            LedgerUnavailableError: Redis did not answer.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hmget(job_keys(job_id).job, ["state", "subs_id", "phone_no_x", "request"])
        try:
            replies = await pipeline.execute()
        except (RedisError, OSError) as failure:
            raise LedgerUnavailableError(_unavailable(failure)) from failure
        return [_binding_in(*reply) for reply in replies]

    async def states_of(self, job_ids: list[str]) -> list[JobState | None]:
        """The jobs' states, None for those without a record."""
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in job_ids:
            pipeline.hget(job_keys(job_id).job, "state")
        return [JobState(state) if state else None for state in await pipeline.execute()]


def _binding_in(
    state: str | None, subs_id: str | None, phone_no_x: str | None, request: str | None
) -> Binding | JobState | None:
    if state != JobState.BOUND:
        return JobState(state) if state else None
    return Binding(subs_id or "", phone_no_x or "", json.loads(request or "{}").get("PoolKey", ""))


def _callback_head(callback: OwedCallback | None) -> tuple[str, int]:
    if callback is None:
        return "", 0
    return member_of(Lane.CALLBACK, callback.webhook_id), callback.first_look_ms


def _unavailable(failure: Exception) -> str:
    return f"the ledger's Redis did not answer ({type(failure).__name__}); check AXN_REDIS_URL and the server"
