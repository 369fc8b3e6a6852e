"""A process that stops begins nothing, hands back what was not sent, and cuts off what is under way only when told."""

import asyncio
from collections.abc import Mapping

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.ledger.support import look_at, new_job, now_ms, opened, record_of, until
from worker.attempt.attempt import Attempts
from worker.domain.job import Lane
from worker.domain.outcome import Outcome

from .bench import DONE, Bench, FakeProvider, LeapingClock


class SilentProvider(FakeProvider):
    """Answers when told to."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        super().__init__(*answers)
        self.may_answer = asyncio.Event()

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        outcome = await super().call(action, parameters, nonce=nonce)
        await self.may_answer.wait()
        return outcome


async def sending(bench: Bench) -> None:
    async def is_sent() -> bool:
        return bool(bench.provider.nonces)

    await until(is_sent)


async def test_what_waits_for_a_slot_is_handed_back_and_what_is_sent_ends(bench: Bench) -> None:
    bench.provider = provider = SilentProvider(DONE)
    sent, queued = await bench.opened(key="sent"), await bench.opened(key="queued")
    attempts = bench.attempts()
    for _ in range(9):
        await attempts.slots.acquire()
    working = asyncio.create_task(attempts.work_on(Lane.CHECKOUT, [sent.job_id, queued.job_id]))
    await sending(bench)
    bench.stop.begin()
    provider.may_answer.set()
    assert await working == [queued.job_id]
    assert (await bench.read(sent)).is_bound
    assert (await record_of(bench.redis, queued.job_id))["state"] == "accepted"


async def test_once_stopping_nothing_is_claimed(bench: Bench) -> None:
    job = await bench.opened()
    bench.stop.begin()
    assert await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id]) == [job.job_id]
    assert (await record_of(bench.redis, job.job_id))["state"] == "accepted"
    assert bench.provider.nonces == []


async def test_a_job_that_waits_for_a_permit_is_handed_back_with_its_number(bench: Bench) -> None:
    bench.per_second, bench.patience_ms = 0.1, 100_000
    job = await bench.opened()
    await bench.silence(20_000)
    attempts = bench.attempts()
    asked = asyncio.Event()

    class Asleep(type(bench.clock)):  # type: ignore[misc]
        async def sleep_ms(self, delay_ms: float) -> None:
            asked.set()
            await asyncio.Event().wait()

    for pace in attempts.provider.paces.values():
        pace._clock = Asleep()
    working = asyncio.create_task(attempts.work_on(Lane.CHECKOUT, [job.job_id]))
    await asked.wait()
    bench.stop.begin()
    assert await working == [job.job_id]
    record = await record_of(bench.redis, job.job_id)
    assert (record["state"], record["code"], record["attempts"]) == ("waiting", "worker.stopped", "0")
    look = await look_at(bench.redis, job.job_id)
    assert look is not None
    assert look <= await now_ms(bench.redis)


async def test_what_is_cut_off_while_it_is_sent_is_unclear_and_keeps_its_nonce(bench: Bench) -> None:
    bench.provider = SilentProvider(DONE)
    job = await bench.opened()
    working = asyncio.create_task(bench.attempts().work_on(Lane.CHECKOUT, [job.job_id]))
    await sending(bench)
    bench.stop.begin()
    bench.stop.cut_short()
    assert await working == []
    record = await record_of(bench.redis, job.job_id)
    assert (record["state"], record["open"], record["attempts"]) == ("waiting", "1", "1")
    (first,) = bench.provider.nonces
    bench.provider = FakeProvider(DONE)
    bench.stop = type(bench.stop)()
    assert await bench.attempt(job) == "bound"
    assert bench.provider.nonces == [first]


async def test_a_cancelled_task_of_a_process_that_does_not_stop_is_no_hand_back(bench: Bench) -> None:
    bench.provider = SilentProvider(DONE)
    job = await bench.opened()
    working = asyncio.create_task(bench.attempts().attempt(Lane.CHECKOUT, job.job_id))
    await sending(bench)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (await record_of(bench.redis, job.job_id))["state"] == "submitting"


async def test_a_stopping_process_does_not_settle_for_ever_while_redis_is_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.provider = FakeProvider(DONE)
    job = await bench.opened()
    bench.clock = clock = LeapingClock()
    attempts = bench.attempts()
    clock.step_ms = 500

    async def away(*_: object) -> bool:
        bench.stop.begin()
        raise RedisConnectionError("away")

    monkeypatch.setattr(bench.ledger, "settle", away)
    with pytest.raises(RedisConnectionError):
        await attempts.attempt(Lane.CHECKOUT, job.job_id)


async def test_a_redis_that_is_away_before_anything_is_sent_makes_the_job_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await bench.opened()
    attempts: Attempts = bench.attempts()

    async def away(*_: object, **__: object) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(attempts.provider.paces["BindAxn"], "permit", away)
    assert await attempts.attempt(Lane.CHECKOUT, job.job_id) == "waiting"
    record = await record_of(bench.redis, job.job_id)
    assert (record["code"], record["attempts"]) == ("redis.away", "0")
    assert bench.provider.nonces == []


async def test_the_progress_of_a_lane_is_that_of_the_message_worked_on(bench: Bench, redis: Redis) -> None:
    job = await opened(bench.ledger)
    bench.provider = FakeProvider(DONE)
    attempts = bench.attempts()
    await attempts.work_on(Lane.BATCH, [new_job("none").job_id], published_at_ms=50)
    await attempts.work_on(Lane.CHECKOUT, [job.job_id], published_at_ms=70)
    await attempts.work_on(Lane.CHECKOUT, [job.job_id], published_at_ms=60)
    assert attempts.progress.news() == {Lane.BATCH: 50, Lane.CHECKOUT: 70}
    assert attempts.progress.news() == {}
