"""The callbacks that are owed or given up: many at a glance, or one in full.

Dead ones are found in their indexes, newest first; waiting ones by going through the timetables.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.domain.job_ids import is_job_id
from worker.errors import CallbackNotFoundError
from worker.ledger.callback_views import LISTED_FIELDS, Callback, CallbackState, callback_from_record
from worker.ledger.index_walk import MEMBERS_PER_PAGE, Tell, in_batches, walk_by_score
from worker.ledger.keys import (
    ALL_PARTITIONS,
    callback_key,
    dead_callbacks_key,
    job_keys,
    job_of_webhook,
    member_of,
    split_member,
    timetable_key,
    webhook_id_of,
)
from worker.ledger.seal import NO_SEAL, Seal

_RECORDS_PER_PIPELINE = 200
_LONGEST_ID = 120

Lets = Callable[[Callback], bool]
"""Whether a callback is wanted."""


def is_webhook_id(text: str) -> bool:
    """Whether it has the form of one: a job's id, a hyphen, and what tells the job's events apart."""
    job_id, _, rest = text.partition("-")
    is_plain = rest.isascii() and rest.replace("-", "").isalnum() and len(rest) <= _LONGEST_ID
    return is_job_id(job_id) and is_plain


class CallbackListing:
    """Reads callbacks and changes nothing.

    Args:
        redis: a client that decodes replies to text.
        seal: opens the bodies.
    """

    def __init__(self, redis: Redis, seal: Seal = NO_SEAL) -> None:
        self._redis: Any = redis
        self._seal = seal

    async def dead(
        self,
        lets_through: Lets,
        tell: Tell,
        *,
        is_newest_first: bool = True,
        since: float = float("-inf"),
        until: float = float("inf"),
    ) -> AsyncGenerator[list[Callback], None]:
        """The dead ones that were given up in this time, both ends included, in batches; some batches are empty.

        Args:
            lets_through: which are wanted.
            tell: called with the number of callbacks looked at so far.
            is_newest_first: given up last, or first.
            since: Unix ms.
            until: Unix ms.
        """
        keys = [dead_callbacks_key(number) for number in ALL_PARTITIONS]
        walk = walk_by_score(self._redis, keys, is_newest_first=is_newest_first, since=since, until=until)
        async with aclosing(self._read_batches(walk, tell)) as batches:
            async for batch in batches:
                yield [one for one in batch if one.state is CallbackState.DEAD and lets_through(one)]

    async def waiting(self, lets_through: Lets, tell: Tell) -> AsyncGenerator[list[Callback], None]:
        """The waiting ones, as the partitions' timetables hold them, in batches; some may come twice."""
        async with aclosing(self._read_batches(self._in_timetables(), tell)) as batches:
            async for batch in batches:
                yield [one for one in batch if one.state is CallbackState.WAITING and lets_through(one)]

    async def newest_dead(self, lets_through: Lets, limit: int, tell: Tell) -> list[Callback]:
        """So many of the dead ones, newest first."""
        return await _first_of(self.dead(lets_through, tell), limit)

    async def some_waiting(self, lets_through: Lets, limit: int, tell: Tell) -> list[Callback]:
        """The first found of the waiting ones, newest first."""
        found = await _first_of(self.waiting(lets_through, tell), limit)
        return sorted(found, key=lambda one: one.created_at, reverse=True)

    async def read(self, webhook_id: str) -> Callback:
        """One callback with its tries and its body; of a delivered one, what its job's record tells.

        Raises:
            CallbackNotFoundError: nothing tells of it.
        """
        keys = job_keys(job_of_webhook(webhook_id))
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hgetall(callback_key(webhook_id))
        pipeline.zscore(keys.dead_callbacks, member_of(Lane.CALLBACK, webhook_id))
        pipeline.pexpiretime(callback_key(webhook_id))
        pipeline.hmget(keys.job, "fence", "callback_state", "callback_attempts")
        record, died_at, kept_until, job = await pipeline.execute()
        if record:
            return callback_from_record(
                webhook_id, record, died_at=died_at or 0, kept_until=kept_until, seal=self._seal
            )
        return _as_its_job_tells(webhook_id, *job)

    async def of_job(self, job_id: str) -> str:
        """The `webhook-id` of the event that tells of a job's end.

        Raises:
            CallbackNotFoundError: there is no such job, or it has not ended.
        """
        fence, finished_at = await self._redis.hmget(job_keys(job_id).job, "fence", "finished_at")
        if not (fence and finished_at):
            raise CallbackNotFoundError(f"job {job_id} is not in the ledger, or has not ended")
        return webhook_id_of(job_id, int(fence))

    async def _read_batches(
        self, members: AsyncGenerator[tuple[str, float], None], tell: Tell
    ) -> AsyncGenerator[list[Callback], None]:
        looked_at = 0
        async with aclosing(in_batches(members, _RECORDS_PER_PIPELINE)) as batches:
            async for batch in batches:
                found = await self._read_listed([(split_member(member)[1], score) for member, score in batch])
                looked_at += len(batch)
                tell(looked_at)
                yield found

    async def _read_listed(self, ids: Sequence[tuple[str, float]]) -> list[Callback]:
        pipeline = self._redis.pipeline(transaction=False)
        for webhook_id, _ in ids:
            pipeline.hmget(callback_key(webhook_id), LISTED_FIELDS)
        return [
            callback_from_record(
                webhook_id, dict(zip(LISTED_FIELDS, values, strict=True)), died_at=score, seal=self._seal
            )
            for (webhook_id, score), values in zip(ids, await pipeline.execute(), strict=True)
            if any(values)  # indexes outlive records
        ]

    async def _in_timetables(self) -> AsyncGenerator[tuple[str, float], None]:
        for number in ALL_PARTITIONS:
            async for member, score in self._redis.zscan_iter(timetable_key(number), count=MEMBERS_PER_PAGE):
                lane, _, id_ = member.partition(":")
                if lane == Lane.CALLBACK and is_webhook_id(id_):
                    yield member, score


async def _first_of(batches: AsyncGenerator[list[Callback], None], limit: int) -> list[Callback]:
    # By id: the scans of Redis may name a member twice.
    found: dict[str, Callback] = {}
    async with aclosing(batches):
        async for batch in batches:
            for one in batch:
                found.setdefault(one.webhook_id, one)
            if len(found) >= limit:
                break
    return list(found.values())[:limit]


def _as_its_job_tells(webhook_id: str, fence: str | None, state: str | None, attempts: str | None) -> Callback:
    job_id = job_of_webhook(webhook_id)
    # What the job's record tells is said of the event of its end, which its last claim produced.
    if state == CallbackState.DELIVERED and fence and webhook_id == webhook_id_of(job_id, int(fence)):
        return Callback(webhook_id, job_id, CallbackState.DELIVERED, tries=int(attempts or 0))
    told = f"; the last callback of its job is {state}" if state else ""
    raise CallbackNotFoundError(
        f"no callback {webhook_id} on record (mistyped, delivered, or given up longer ago than "
        f"AXN_DEAD_CALLBACK_TTL){told}"
    )
