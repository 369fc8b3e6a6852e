"""A person's records found and erased: `axn forget`.

Found are jobs that name a number as A or B, and rows of batches that do. Erased are those that have ended. What lives
is left and told of: a binding must not become unknown while the provider still has it, and a doubt is a person's to
resolve. Of an erased job stays that there was one, its kind, end and times, for as long as it would have stayed.
"""

import hashlib
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from redis.asyncio import Redis
from redis.client import NEVER_DECODE

from worker.domain.batch import BatchState
from worker.domain.job import JobState, Lane
from worker.domain.job_ids import partition_of
from worker.errors import SealError
from worker.ledger.batch_records import CHUNK_PLACE, DIGEST_BYTES, packed, unpacked
from worker.ledger.batch_rows import WrittenOutcome, batch_keys, chunk_key, outcomes_key
from worker.ledger.index_walk import Tell
from worker.ledger.keys import (
    ALL_PARTITIONS,
    binding_index_key,
    callback_key,
    dead_callbacks_key,
    job_keys,
    job_of_webhook,
    member_of,
)
from worker.ledger.personal import Person, is_beyond_search
from worker.ledger.record_walk import RecordKind, RecordPlace, walk_records
from worker.ledger.renewal_keys import renewals_due_key, renewals_failing_key, renewals_key
from worker.ledger.retention import Retention
from worker.ledger.seal import Seal
from worker.ledger.sealed_records import BODY, opened_value
from worker.redis_scripts import load_script

ERASED = "erased"
"""Stands in a row for the number that was there: no request with it is ever sent."""
_RECORDS_PER_STEP = 200
_STAY = (
    "v", "job_id", "kind", "lane", "state", "code", "attempts", "fence", "accepted_at", "finished_at", "request_id",
    "batch", "binding", "ended_at", "callback_state", "callback_attempts", "mode", "step",
)  # fmt: skip
"""Fields of an erased job: nothing in them tells of whom."""


class Hold(StrEnum):
    """Why a record is left as it is."""

    NONE = ""
    UNDER_WAY = "under_way"
    IN_DOUBT = "in_doubt"
    ACTIVE = "active_binding"
    CALLBACK = "callback_waiting"
    BATCH = "batch_under_way"
    GONE = "gone"
    """It has gone, or changed, since it was found."""


@dataclass(frozen=True, slots=True)
class Found:
    """One record of a person's.

    Attributes:
        kind: job, row (of a batch) or callback (that tells the number in full, and whose job is gone).
        id: of the job, the batch or the callback.
        roles: `A`, `B` or `AB`.
        state: of the job or the batch.
        chunk, row: of a row, both from 0.
        callbacks: of the job, all that are on record.
    """

    kind: str
    id: str
    roles: str
    state: str
    accepted_at: int = 0
    chunk: int = 0
    row: int = 0
    hold: Hold = Hold.NONE
    callbacks: Sequence[str] = ()


@dataclass
class SearchReport:
    """What was found; true also when the search is cut short.

    Attributes:
        looked_at: records so far.
        as_x: jobs that have the number as X only: pool numbers pass from one person to the next.
        beyond_search: records that could not be compared, for want of keys.
    """

    looked_at: int = 0
    found: list[Found] = field(default_factory=list)
    as_x: int = 0
    beyond_search: int = 0


@dataclass
class EraseReport:
    """What became of what was found; true also when it is cut short."""

    erased: list[Found] = field(default_factory=list)
    left: list[Found] = field(default_factory=list)

    def note(self, found: Found, hold: Hold) -> None:
        """One more."""
        if hold:
            self.left.append(replace(found, hold=hold))
        else:
            self.erased.append(found)


class Erasing:
    """Finds and erases.

    Args:
        redis: a client that decodes replies to text.
        seal: of the numbers in Redis. Its index key finds sealed ones; rows of batches take their key, too.
        retention: how long an erased job's remains stay.
    """

    def __init__(self, redis: Redis, seal: Seal, retention: Retention) -> None:
        self._redis: Any = redis
        self._seal = seal
        self._retention = retention
        self._erase_job = load_script(redis, "worker.ledger", "erase_job")
        self._erase_callback = load_script(redis, "worker.ledger", "erase_callback")
        self._write = load_script(redis, "worker.ledger", "reseal")
        self._write_chunk = load_script(redis, "worker.ledger", "reseal_chunk")

    async def search(self, number: str, report: SearchReport, tell: Tell) -> None:
        """Go over all records.

        Args:
            number: digits, as requests give it.
            report: notes what is found, all along.
            tell: called with the number of records looked at so far.
        """
        person = Person.of(number, self._seal)
        async with aclosing(walk_records(self._redis, _RECORDS_PER_STEP)) as pages:
            async for page in pages:
                await self._search_jobs(person, [one for one in page if one.kind is RecordKind.JOB], report)
                callbacks = [one for one in page if one.kind is RecordKind.CALLBACK]
                await self._search_callbacks(number, callbacks, report)
                for place in page:
                    if place.kind is RecordKind.CHUNK:
                        await self._search_chunk(number, place, report)
                report.looked_at += len(page)
                tell(report.looked_at)
        unique = {(one.kind, one.id, one.chunk, one.row): one for one in report.found}
        found = await self._with_callbacks(list(unique.values()))
        report.found = sorted(found, key=lambda one: (one.accepted_at, one.id, one.chunk, one.row))

    async def _search_jobs(self, person: Person, places: Sequence[RecordPlace], report: SearchReport) -> None:
        names = ("request", "old", "phone_no_x", "old_phone_no_x")
        pipeline = self._redis.pipeline(transaction=False)
        for place in places:
            pipeline.hmget(place.key, names)
        replies = await pipeline.execute(raise_on_error=False)
        for place, reply in zip(places, replies, strict=True):
            if isinstance(reply, Exception):
                continue
            record = {name: value for name, value in zip(names, reply, strict=True) if value}
            report.beyond_search += is_beyond_search(record, self._seal)
            roles = person.roles_in(record)
            if roles == "X":
                report.as_x += 1
            elif roles:
                report.found.append(await self._job(place.id, roles))

    async def _job(self, job_id: str, roles: str) -> Found:
        keys = job_keys(job_id)
        state, binding, accepted_at, step = await self._redis.hmget(
            keys.job, "state", "binding", "accepted_at", "renew_step"
        )
        ends_at, (seconds, _) = await self._redis.zscore(keys.bindings, job_id), await self._redis.time()
        is_active = bool(step) or ((binding or "active") == "active" and (ends_at or 0) > int(seconds) * 1000)
        hold = _hold_of(state or "", is_active=is_active)
        return Found("job", job_id, roles, state or "", int(accepted_at or 0), hold=hold)

    async def _search_callbacks(self, number: str, places: Sequence[RecordPlace], report: SearchReport) -> None:
        """Those that tell the number in full: mostly A is masked in them."""
        pipeline = self._redis.pipeline(transaction=False)
        for place in places:
            pipeline.hmget(place.key, BODY, "state")
        for place, reply in zip(places, await pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(reply, Exception):
                continue
            body, state = reply
            try:
                told = _roles_in(opened_value(self._seal, place.id, BODY, body or ""), number)
            except SealError:
                report.beyond_search += 1
                continue
            if told:
                hold = Hold.NONE if state == "dead" else Hold.CALLBACK
                report.found.append(Found("callback", place.id, told, state or "", hold=hold))

    async def _with_callbacks(self, found: Sequence[Found]) -> list[Found]:
        """The jobs with their callbacks that were given up; one whose callback is still to be delivered is left."""
        of_jobs: dict[str, list[str]] = {one.id: [] for one in found if one.kind == "job"}
        if not of_jobs:
            return list(found)
        waiting = set()
        async with aclosing(walk_records(self._redis, _RECORDS_PER_STEP)) as pages:
            async for page in pages:
                for place in page:
                    job_id = job_of_webhook(place.id)
                    if place.kind is RecordKind.CALLBACK and job_id in of_jobs:
                        of_jobs[job_id].append(place.id)
                        if await self._redis.hget(place.key, "state") != "dead":
                            waiting.add(job_id)
        told = []
        for one in found:
            if one.kind == "job":
                hold = one.hold or (Hold.CALLBACK if one.id in waiting else Hold.NONE)
                told.append(replace(one, callbacks=tuple(of_jobs[one.id]), hold=hold))
            elif one.kind != "callback" or job_of_webhook(one.id) not in of_jobs:
                told.append(one)
        return told

    async def _search_chunk(self, number: str, place: RecordPlace, report: SearchReport) -> None:
        content = await self._redis.execute_command("GET", place.key, **{NEVER_DECODE: []})
        state = await self._redis.hget(batch_keys(place.id).batch, "state") or ""
        if content is None:
            return
        try:
            rows = self._rows_of(place, content)
        except SealError:
            report.beyond_search += 1
            return
        is_over = state in (BatchState.FINISHED, BatchState.CANCELLED)
        for index, text in enumerate(rows):
            if roles := _roles_in(text, number):
                hold = Hold.NONE if is_over else Hold.BATCH
                report.found.append(Found("row", place.id, roles, state, chunk=place.chunk, row=index, hold=hold))

    def _rows_of(self, place: RecordPlace, content: bytes) -> list[str]:
        return unpacked(self._seal.unpacked(place.id, f"{CHUNK_PLACE}{place.chunk}", content[DIGEST_BYTES:]))

    async def erase(self, found: Found) -> Hold:
        """Erase one, unless it is held, or has changed since. Repeating it harms nothing.

        Returns:
            `Hold.NONE` where it is erased, else why not.
        """
        if found.hold:
            return found.hold
        if found.kind == "callback":
            return Hold.NONE if await self._callback_erased(found.id) else Hold.GONE
        if found.kind == "row":
            return await self._row_erased(found)
        for webhook_id in found.callbacks:  # first: when the job is erased, nothing leads to them any more
            await self._callback_erased(webhook_id)
        keys, partition = job_keys(found.id), partition_of(found.id)
        ttl_ms = self._retention.ms(JobState(found.state))
        status = await self._erase_job(
            [
                *(keys.job, keys.bindings, keys.binding_index),
                *(renewals_key(partition), renewals_due_key(partition), renewals_failing_key(partition)),
            ],
            [found.id, ttl_ms, *_STAY],
        )
        return _HOLD_BY_STATUS.get(int(status), Hold.NONE)

    async def _callback_erased(self, webhook_id: str) -> bool:
        keys = [callback_key(webhook_id), dead_callbacks_key(partition_of(job_of_webhook(webhook_id)))]
        return bool(await self._erase_callback(keys, [member_of(Lane.CALLBACK, webhook_id)]))

    async def _row_erased(self, found: Found) -> Hold:
        key = chunk_key(found.id, found.chunk)
        content = await self._redis.execute_command("GET", key, **{NEVER_DECODE: []})
        if content is None:
            return Hold.GONE
        place = RecordPlace(key, RecordKind.CHUNK, found.id, found.chunk)
        rows = self._rows_of(place, content)
        rows = [
            _ANY_PERSON.sub(rf'"\1"\2"{ERASED}"', text) if at == found.row else text for at, text in enumerate(rows)
        ]
        sealed = self._seal.packed(found.id, f"{CHUNK_PLACE}{found.chunk}", packed(rows)[1])
        was = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        if not int(await self._write_chunk([key], [was, content[:DIGEST_BYTES] + sealed])):
            return Hold.GONE
        for partition in ALL_PARTITIONS:
            outcomes = outcomes_key(partition, found.id, found.chunk)
            if text := await self._redis.hget(outcomes, str(found.row)):
                bare = replace(WrittenOutcome.parse(text), phone_no_x="", subs_id="", old_phone_no_x="", message="")
                await self._write(
                    [outcomes, binding_index_key(partition)], ["", "", "", str(found.row), text, str(bare)]
                )
        return Hold.NONE


_HOLD_BY_STATUS = {0: Hold.GONE, -1: Hold.UNDER_WAY, -2: Hold.ACTIVE}
_ANY_PERSON = re.compile(r'"(phone_no_[ab])"(\s*:\s*)"[^"\\]*"')


def _roles_in(text: str, number: str) -> str:
    """As what a row or an event names the number."""
    if number not in text:
        return ""
    found = re.finditer(rf'"phone_no_([ab])"\s*:\s*"{re.escape(number)}"', text)
    return "".join(sorted({one[1].upper() for one in found}))


def _hold_of(state: str, *, is_active: bool) -> Hold:
    try:
        known = JobState(state)
    except ValueError:
        return Hold.UNDER_WAY
    if known is JobState.IN_DOUBT:
        return Hold.IN_DOUBT
    if not known.is_end:
        return Hold.UNDER_WAY
    return Hold.ACTIVE if known.is_bound and is_active else Hold.NONE
