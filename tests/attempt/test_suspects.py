"""A job that kills its workers ends as poison, and those that stood beside it do not."""

import asyncio

from tests.ledger.support import lapse, record_of
from worker.domain.job import Lane
from worker.ledger.records import NewJob

from .bench import DONE, NONCE_USED, Bench, FakeProvider
from .test_stopping import SilentProvider, sending


async def died_with(bench: Bench, job: NewJob, times: int) -> None:
    """So many workers died while they had it."""
    for turn in range(times):
        await bench.ledger.claim(job.job_id, Lane.CHECKOUT, token=f"dead{turn}", lease_ms=1)
        await lapse(bench.redis, job.job_id)


async def test_one_suspect_at_a_time_is_worked_on_and_the_other_keeps_its_count(bench: Bench) -> None:
    killer, bystander = await bench.opened(key="killer"), await bench.opened(key="bystander")
    await died_with(bench, killer, 2)
    await died_with(bench, bystander, 2)
    bench.provider = provider = SilentProvider(DONE)
    attempts = bench.attempts()
    working = asyncio.create_task(attempts.attempt(Lane.CHECKOUT, killer.job_id))
    await sending(bench)
    assert await attempts.attempt(Lane.CHECKOUT, bystander.job_id) == "waiting"
    record = await record_of(bench.redis, bystander.job_id)
    assert (record["code"], record["rescues"], record["open"]) == ("rescue.in_turn", "2", "1")
    provider.may_answer.set()
    assert await working == "bound"
    bench.provider.answers = [DONE]
    await lapse(bench.redis, bystander.job_id)
    assert await attempts.attempt(Lane.CHECKOUT, bystander.job_id) == "bound"


async def test_what_was_rescued_once_is_worked_on_beside_others(bench: Bench) -> None:
    jobs = [await bench.opened(key=key) for key in ("a", "b")]
    for job in jobs:
        await died_with(bench, job, 1)
    bench.provider = FakeProvider(DONE, DONE)
    assert await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id for job in jobs]) == []
    assert [(await bench.read(job)).state.value for job in jobs] == ["bound", "bound"]


async def test_poison_needs_no_turn_and_says_that_it_may_have_been_sent(bench: Bench) -> None:
    job = await bench.opened()
    await died_with(bench, job, 6)
    attempts = bench.attempts()
    await attempts.suspects.acquire()
    assert await attempts.attempt(Lane.CHECKOUT, job.job_id) == "failed"
    read = await bench.read(job)
    assert (read.code, read.possible_orphans) == ("poison", 1)
    assert "may have been sent" in read.message
    assert bench.event()["type"] == "bind.failed"
    assert bench.provider.nonces == []


async def test_a_settled_rescue_makes_a_suspect_an_ordinary_job_again(bench: Bench) -> None:
    job = await bench.opened()
    await died_with(bench, job, 3)
    bench.provider = FakeProvider(NONCE_USED)
    assert await bench.attempt(job) == "in_doubt"
    assert "rescues" not in await record_of(bench.redis, job.job_id)
