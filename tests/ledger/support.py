"""Jobs for tests, and a look at what the scripts left in Redis."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from worker.callbacks.receivers import receiver_of
from worker.domain.job import JobState, Lane
from worker.domain.job_ids import job_id_for_key
from worker.ledger.bindings import BindingLedger
from worker.ledger.callback_records import OwedCallback
from worker.ledger.keys import callback_key, job_keys, member_of
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, Claim, NewJob, Settlement

RESULT_TTL_MS = 60_000
KEEP_MS = 40_000
FIRST_LOOK_MS = 5_000
LEASE_MS = 30_000
PHONE = "15012345678"
BOUND_FIELDS = {"phone_no_x": "17000001111", "subs_id": "100", "code": "OK"}
BOUND = Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, BOUND_FIELDS)


def ledger_of(redis: Redis) -> Ledger:
    return Ledger(redis, result_ttl_ms=RESULT_TTL_MS, first_look_ms=FIRST_LOOK_MS)


def bindings_of(redis: Redis, keep_ms: int = KEEP_MS) -> BindingLedger:
    return BindingLedger(redis, keep_ms=keep_ms, result_ttl_ms=RESULT_TTL_MS)


def new_job(key: str = "1", **overrides: Any) -> NewJob:
    fields: dict[str, Any] = {
        "job_id": job_id_for_key(key),
        "lane": Lane.CHECKOUT,
        "parameters": {"PhoneNoA": PHONE, "Expiration": "2099-01-01 00:00:00"},
        "digest": "digest",
        "seed": secrets.token_hex(8),
    }
    return NewJob(**(fields | overrides))


async def opened(ledger: Ledger, key: str = "1", **overrides: Any) -> NewJob:
    job = new_job(key, **overrides)
    assert await ledger.open(job)
    return job


async def claimed(ledger: Ledger, job_id: str, token: str = "t1", lease_ms: int = LEASE_MS) -> Claim:
    claim = await ledger.claim(job_id, Lane.CHECKOUT, token=token, lease_ms=lease_ms)
    assert isinstance(claim, Claim), claim
    return claim


def waiting(delay_ms: int = 0, knowledge: AttemptKnowledge = AttemptKnowledge.CLOSED) -> Settlement:
    return Settlement(JobState.WAITING, knowledge, {"code": "Throttling"}, delay_ms=delay_ms)


def owed(webhook_id: str, *, url: str = "https://shop.example", **more: Any) -> OwedCallback:
    return OwedCallback(webhook_id, url, receiver_of(url), '{"type":"bind.succeeded"}', **more)


async def record_of(redis: Redis, job_id: str) -> dict[str, str]:
    client: Any = redis
    found: dict[str, str] = await client.hgetall(job_keys(job_id).job)
    return found


async def callback_record_of(redis: Redis, webhook_id: str) -> dict[str, str]:
    client: Any = redis
    found: dict[str, str] = await client.hgetall(callback_key(webhook_id))
    return found


async def put(redis: Redis, key: str, **fields: str | int) -> None:
    """Write into a record, to move time or break something."""
    client: Any = redis
    await client.hset(key, mapping=fields)


async def lapse(redis: Redis, job_id: str) -> None:
    """Let the lease or the delay of a job run out."""
    await put(redis, job_keys(job_id).job, lease_until=1, next_at=1)


async def look_at(redis: Redis, job_id: str, lane: Lane = Lane.CHECKOUT, id_: str | None = None) -> float | None:
    """When the timetable looks at this job (or this callback of it)."""
    client: Any = redis
    score: float | None = await client.zscore(job_keys(job_id).timetable, member_of(lane, id_ or job_id))
    return score


async def now_ms(redis: Redis) -> int:
    client: Any = redis
    seconds, micros = await client.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def until(holds: Callable[[], Awaitable[Any]], within_s: float = 5.0) -> None:
    """Poll, with a bound."""
    deadline = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.001)
