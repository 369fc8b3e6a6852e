"""A job that waits for less than a second stays in its worker; the timetable looks later, should the worker die."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.attempt.bench import DONE, THROTTLED, Bench
from tests.ledger.support import look_at, now_ms, record_of
from worker.attempt.attempt import NOT_CLAIMED, Attempts
from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.records import NewJob

SOON = Outcome(Verdict.THROTTLED, "Throttling.User", retry_after_ms=100)
LATER = Outcome(Verdict.THROTTLED, "Throttling.User", retry_after_ms=1_500)


@pytest.fixture
def bench(redis: Redis) -> Bench:
    made = Bench(redis)
    made.clock = SystemClock()
    made.short_wait_ms = 1_000
    return made


async def attempt(attempts: Attempts, job: NewJob) -> str:
    return await attempts.attempt(Lane.CHECKOUT, job.job_id)


async def until_it_waits(redis: Redis, job: NewJob) -> None:
    end = time.monotonic() + 5
    while (await record_of(redis, job.job_id))["state"] != "waiting":
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


async def test_a_throttled_job_is_bound_without_leaving_the_process(bench: Bench) -> None:
    bench.provider.answers = [SOON, DONE]
    job = await bench.opened()
    assert await attempt(bench.attempts(), job) == "bound"
    assert len(set(bench.provider.nonces)) == 2
    assert (await bench.read(job)).attempts == 2


async def test_meanwhile_the_timetable_looks_two_seconds_later(bench: Bench, redis: Redis) -> None:
    client: Any = redis
    bench.provider.answers = [SOON, DONE]
    job = await bench.opened()
    working = asyncio.create_task(attempt(bench.attempts(), job))
    await until_it_waits(redis, job)
    next_at = int((await record_of(redis, job.job_id))["next_at"])
    look = await look_at(client, job.job_id)
    assert look is not None
    assert round(look) - next_at == 2_000
    assert next_at - await now_ms(redis) < 1_000
    assert await working == "bound"


async def test_a_longer_wait_is_the_timetables(bench: Bench, redis: Redis) -> None:
    bench.provider.answers = [LATER]
    job = await bench.opened()
    assert await attempt(bench.attempts(), job) == "waiting"
    look = await look_at(redis, job.job_id)
    assert look == int((await record_of(redis, job.job_id))["next_at"])


async def test_after_five_short_waits_on_end_it_leaves_the_process(bench: Bench) -> None:
    bench.provider.answers = [Outcome(Verdict.THROTTLED, "Throttling.User", retry_after_ms=1)] * 6
    bench.retry_base_ms = 1
    job = await bench.opened()
    assert await attempt(bench.attempts(), job) == "waiting"
    assert len(bench.provider.nonces) == 6


async def test_a_process_that_stops_lets_it_go(bench: Bench) -> None:
    bench.provider.answers = [Outcome(Verdict.THROTTLED, "Throttling.User", retry_after_ms=800)]
    job = await bench.opened()
    working = asyncio.create_task(attempt(bench.attempts(), job))
    await until_it_waits(bench.redis, job)
    bench.stop.begin()
    assert await working == NOT_CLAIMED
    assert THROTTLED.code == (await bench.read(job)).code
