import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from worker.domain.job import JobState, Lane, OnDoubt
from worker.errors import IdempotencyConflictError, JobNotFoundError
from worker.ledger.keys import job_keys, webhook_id_of
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, Claim, Settlement
from worker.ledger.retention import Retention

from .support import (
    BOUND,
    FIRST_LOOK_MS,
    LEASE_MS,
    callback_record_of,
    claimed,
    lapse,
    ledger_of,
    look_at,
    new_job,
    now_ms,
    opened,
    owed,
    put,
    record_of,
    until,
    waiting,
)


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return ledger_of(redis)


async def in_doubt_index(redis: Redis, job_id: str) -> list[str]:
    client: Any = redis
    members: list[str] = await client.zrange(job_keys(job_id).in_doubt, 0, -1)
    return members


async def ttl_of(redis: Redis, key: str) -> int:
    client: Any = redis
    return int(await client.pttl(key))


FIRST_OF_ITS_LOOKS = 1 / 2048
"""How take_due.lua counts looks at what was published."""

# --- open ---


async def test_a_new_job_is_accepted_and_stands_in_the_timetable(redis: Redis, ledger: Ledger) -> None:
    before = await now_ms(redis)
    job = await opened(ledger)
    look, after = await look_at(redis, job.job_id), await now_ms(redis)
    read = await ledger.read(job.job_id)
    assert (read.state, read.attempts, read.deadline_at) == (JobState.ACCEPTED, 0, 0)
    assert before <= read.accepted_at <= after
    assert look == read.accepted_at + FIRST_LOOK_MS + FIRST_OF_ITS_LOOKS


async def test_the_same_request_again_changes_nothing(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    record, look = await record_of(redis, job.job_id), await look_at(redis, job.job_id)
    assert await ledger.open(new_job(seed="another")) == 0
    assert (await record_of(redis, job.job_id), await look_at(redis, job.job_id)) == (record, look)


async def test_a_filing_whose_reply_was_lost_is_answered_as_the_first_time(redis: Redis, ledger: Ledger) -> None:
    job = new_job()
    filed_at = await ledger.open(job)
    record, look = await record_of(redis, job.job_id), await look_at(redis, job.job_id)
    assert await ledger.open(job) >= filed_at
    assert (await record_of(redis, job.job_id), await look_at(redis, job.job_id)) == (record, look)


async def test_a_finished_job_is_not_opened_again(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    assert await ledger.settle(await claimed(ledger, job.job_id), BOUND)
    assert await ledger.open(job) == 0
    assert (await ledger.read(job.job_id)).state is JobState.BOUND
    assert await look_at(redis, job.job_id) is None


async def test_another_request_of_the_same_id_is_a_conflict_and_changes_nothing(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    record = await record_of(redis, job.job_id)
    with pytest.raises(IdempotencyConflictError, match=job.job_id):
        await ledger.open(new_job(digest="other", parameters={}))
    assert await record_of(redis, job.job_id) == record


async def test_many_are_opened_in_their_order_with_each_answer_its_own(ledger: Ledger) -> None:
    await opened(ledger, "old")
    jobs = [new_job("a"), new_job("old"), new_job("old", digest="other"), new_job("b")]
    answers = await ledger.open_many(jobs)
    filed_a, known, conflict, filed_b = answers
    assert isinstance(conflict, IdempotencyConflictError)
    assert known == 0
    assert filed_a == (await ledger.read(jobs[0].job_id)).accepted_at
    assert filed_b
    assert (await ledger.read(jobs[3].job_id)).state is JobState.ACCEPTED


async def test_many_more_than_go_at_once_are_opened_in_their_order(ledger: Ledger) -> None:
    jobs = [new_job(f"{number % 500}") for number in range(1_001)]
    answers = [answer for answer in await ledger.open_many(jobs) if isinstance(answer, int)]
    assert len(answers) == len(jobs)
    accepted_at = [(await ledger.read(job.job_id)).accepted_at for job in jobs[:500]]
    assert answers[:500] == accepted_at
    assert not any(answers[500:])
    assert await ledger.open_many([]) == []


async def test_a_relative_deadline_counts_from_redis_clock_and_is_looked_at_in_time(
    redis: Redis, ledger: Ledger
) -> None:
    job = await opened(ledger, deadline_in_ms=700)
    read = await ledger.read(job.job_id)
    assert read.deadline_at == read.accepted_at + 700
    assert await look_at(redis, job.job_id) == read.deadline_at


async def test_an_absolute_deadline_is_kept_and_a_far_one_leaves_the_first_look(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger, deadline_at_ms=4_000_000_000_000)
    read = await ledger.read(job.job_id)
    assert read.deadline_at == 4_000_000_000_000
    assert await look_at(redis, job.job_id) == read.accepted_at + FIRST_LOOK_MS + FIRST_OF_ITS_LOOKS


# --- claim ---


async def test_a_claim_of_an_accepted_job_numbers_the_first_attempt_before_anything_is_sent(
    redis: Redis, ledger: Ledger
) -> None:
    job = await opened(ledger, on_doubt=OnDoubt.REBIND, callback_url="https://shop.example")
    claim = await claimed(ledger, job.job_id)
    assert (claim.attempt, claim.fence, claim.is_probe, claim.is_late) == (1, 1, False, False)
    assert (claim.seed, claim.on_doubt, claim.callback_url) == (job.seed, OnDoubt.REBIND, "https://shop.example")
    assert claim.parameters == job.parameters
    assert claim.began_at == claim.now_ms
    record = await record_of(redis, job.job_id)
    assert (record["state"], record["attempts"], record["open"]) == ("submitting", "1", "1")
    assert await look_at(redis, job.job_id) == claim.now_ms + LEASE_MS


async def test_a_leased_job_is_not_given_to_a_second_worker(ledger: Ledger) -> None:
    job = await opened(ledger)
    await claimed(ledger, job.job_id)
    assert await ledger.claim(job.job_id, Lane.CHECKOUT, token="t2", lease_ms=LEASE_MS) == "leased"


async def test_of_many_claims_at_once_one_wins(ledger: Ledger) -> None:
    job = await opened(ledger)
    claims = [ledger.claim(job.job_id, Lane.CHECKOUT, token=f"t{n}", lease_ms=LEASE_MS) for n in range(20)]
    answers = await asyncio.gather(*claims)
    assert sum(isinstance(answer, Claim) for answer in answers) == 1
    assert sum(answer == "leased" for answer in answers) == 19


async def test_a_waiting_job_is_early_until_its_time(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    await ledger.settle(await claimed(ledger, job.job_id), waiting(60_000))
    assert await ledger.claim(job.job_id, Lane.CHECKOUT, token="t2", lease_ms=LEASE_MS) == "early"
    await lapse(redis, job.job_id)
    assert (await claimed(ledger, job.job_id, "t2")).attempt == 2


async def test_an_ended_job_is_not_claimed_and_leaves_the_timetable(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    await ledger.settle(await claimed(ledger, job.job_id), BOUND)
    client: Any = redis
    await client.zadd(job_keys(job.job_id).timetable, {f"checkout:{job.job_id}": 1})
    assert await ledger.claim(job.job_id, Lane.CHECKOUT, token="t2", lease_ms=LEASE_MS) == "ended"
    assert await look_at(redis, job.job_id) is None


async def test_a_stale_message_of_a_job_that_is_forgotten_makes_nothing(ledger: Ledger) -> None:
    job_id = new_job("forgotten").job_id
    assert await ledger.claim(job_id, Lane.CHECKOUT, token="t1", lease_ms=LEASE_MS) == "missing"
    with pytest.raises(JobNotFoundError):
        await ledger.read(job_id)


async def test_past_its_deadline_a_job_is_late_and_no_attempt_is_numbered(ledger: Ledger) -> None:
    job = await opened(ledger, deadline_at_ms=1)
    claim = await claimed(ledger, job.job_id)
    assert (claim.is_late, claim.is_probe, claim.attempt) == (True, False, 0)
    assert (await ledger.read(job.job_id)).attempts == 0


async def test_a_lapsed_lease_gives_the_same_number_again_as_a_probe(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    first = await claimed(ledger, job.job_id)
    await lapse(redis, job.job_id)
    second = await claimed(ledger, job.job_id, "t2")
    assert (second.attempt, second.is_probe, second.fence) == (1, True, 2)
    assert (second.began_at, second.seed) == (first.began_at, first.seed)


async def test_a_lease_lapses_by_redis_clock(ledger: Ledger) -> None:
    job = await opened(ledger)
    await claimed(ledger, job.job_id, lease_ms=5)

    async def taken_over() -> bool:
        return isinstance(await ledger.claim(job.job_id, Lane.CHECKOUT, token="t2", lease_ms=LEASE_MS), Claim)

    await until(taken_over)


async def test_a_probe_past_the_deadline_is_late_and_still_a_probe(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger, deadline_at_ms=4_000_000_000_000)
    await claimed(ledger, job.job_id)
    await lapse(redis, job.job_id)
    await put(redis, job_keys(job.job_id).job, deadline_at=1)
    claim = await claimed(ledger, job.job_id, "t2")
    assert (claim.is_late, claim.is_probe, claim.attempt) == (True, True, 1)


async def test_a_resent_claim_gets_the_same_claim(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    first = await claimed(ledger, job.job_id)
    record = await record_of(redis, job.job_id)
    again = await claimed(ledger, job.job_id)
    assert (again.attempt, again.fence, again.is_probe, again.began_at) == (1, 1, False, first.began_at)
    assert await record_of(redis, job.job_id) == record


# --- settle ---


async def test_a_bound_job_has_its_number_and_no_look_and_stays_with_its_binding(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger, deadline_in_ms=60_000)
    claim = await claimed(ledger, job.job_id)
    assert await ledger.settle(claim, BOUND)
    read, record = await ledger.read(job.job_id), await record_of(redis, job.job_id)
    assert read.is_bound
    assert (read.phone_no_x, read.subs_id, read.attempts) == ("17000001111", "100", 1)
    assert read.finished_at >= claim.now_ms
    assert not {"seed", "open", "next_at", "began_at", "deadline_at", "lease_until", "is_probe"} & record.keys()
    assert await ttl_of(redis, job_keys(job.job_id).job) == -1
    assert await look_at(redis, job.job_id) is None


async def test_a_stale_token_writes_nothing(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    stale = await claimed(ledger, job.job_id)
    await lapse(redis, job.job_id)
    await claimed(ledger, job.job_id, "t2")
    record = await record_of(redis, job.job_id)
    webhook_id = webhook_id_of(job.job_id, stale.fence)
    lost = Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, {"phone_no_x": "1"}, callback=owed(webhook_id))
    assert await ledger.settle(stale, lost) is False
    assert await record_of(redis, job.job_id) == record
    assert await callback_record_of(redis, webhook_id) == {}


async def test_a_settlement_after_the_record_is_gone_does_not_bring_it_back(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    claim = await claimed(ledger, job.job_id)
    await redis.delete(job_keys(job.job_id).job)
    assert await ledger.settle(claim, BOUND) is False
    assert await record_of(redis, job.job_id) == {}


async def test_a_resent_settlement_is_confirmed_and_changes_nothing(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    claim = await claimed(ledger, job.job_id)
    given_back = waiting(60_000, AttemptKnowledge.UNSENT)
    assert await ledger.settle(claim, given_back)
    record, look = await record_of(redis, job.job_id), await look_at(redis, job.job_id)
    assert await ledger.settle(claim, given_back)
    assert (await record_of(redis, job.job_id), await look_at(redis, job.job_id)) == (record, look)


async def test_a_waiting_job_says_when_it_goes_on_and_the_timetable_agrees(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    before = await now_ms(redis)
    await ledger.settle(await claimed(ledger, job.job_id), waiting(8_000))
    after, read = await now_ms(redis), await ledger.read(job.job_id)
    assert (read.state, read.code) == (JobState.WAITING, "Throttling")
    assert before + 8_000 <= read.next_at <= after + 8_000
    assert await look_at(redis, job.job_id) == read.next_at
    assert await ttl_of(redis, job_keys(job.job_id).job) == -1


async def test_no_delay_reaches_past_the_deadline(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger, deadline_in_ms=3_000)
    await ledger.settle(await claimed(ledger, job.job_id), waiting(600_000))
    read = await ledger.read(job.job_id)
    assert read.next_at == read.deadline_at == await look_at(redis, job.job_id)


async def test_a_deadline_that_passed_meanwhile_is_looked_at_at_once(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger, deadline_in_ms=60_000)
    claim = await claimed(ledger, job.job_id)
    await put(redis, job_keys(job.job_id).job, deadline_at=1)
    await ledger.settle(claim, waiting(600_000))
    assert (await ledger.read(job.job_id)).next_at <= await now_ms(redis)
    assert (await claimed(ledger, job.job_id, "t2")).is_late


async def test_a_job_in_doubt_is_indexed_and_kept_with_all_that_is_known_for_good(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    claim = await claimed(ledger, job.job_id)
    await ledger.settle(claim, Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN, {"code": "doubt.window_passed"}))
    record = await record_of(redis, job.job_id)
    assert (record["state"], record["seed"], record["open"]) == ("in_doubt", job.seed, "1")
    assert await in_doubt_index(redis, job.job_id) == [f"checkout:{job.job_id}"]
    assert await ttl_of(redis, job_keys(job.job_id).job) == -1
    assert await look_at(redis, job.job_id) is None


@pytest.mark.parametrize(
    ("knowledge", "attempt", "is_probe"),
    [
        (AttemptKnowledge.CLOSED, 2, False),
        (AttemptKnowledge.OPEN, 1, True),
        (AttemptKnowledge.UNSENT, 1, False),
    ],
)
async def test_what_is_known_of_an_attempt_decides_the_next_ones_number(
    ledger: Ledger, knowledge: AttemptKnowledge, attempt: int, is_probe: bool
) -> None:
    job = await opened(ledger)
    await ledger.settle(await claimed(ledger, job.job_id), waiting(0, knowledge))
    following = await claimed(ledger, job.job_id, "t2")
    assert (following.attempt, following.is_probe) == (attempt, is_probe)


async def test_counters_of_a_settlement_come_back_with_the_next_claim(ledger: Ledger) -> None:
    job = await opened(ledger)
    fields = {"retries": 2, "throttles": 3, "possible_orphans": 1}
    await ledger.settle(
        await claimed(ledger, job.job_id), Settlement(JobState.WAITING, AttemptKnowledge.CLOSED, fields)
    )
    claim = await claimed(ledger, job.job_id, "t2")
    assert (claim.retries, claim.throttles, claim.possible_orphans) == (2, 3, 1)


async def test_the_callback_is_written_with_the_end_and_stands_in_the_timetable(redis: Redis, ledger: Ledger) -> None:
    job = await opened(ledger)
    claim = await claimed(ledger, job.job_id)
    webhook_id = webhook_id_of(job.job_id, claim.fence)
    callback = owed(webhook_id, token="c1", lease_ms=7_000)
    before = await now_ms(redis)
    assert await ledger.settle(claim, Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, {}, callback=callback))
    after, look = await now_ms(redis), await look_at(redis, job.job_id, Lane.CALLBACK, webhook_id)
    assert look is not None
    assert before + 7_000 <= look <= after + 7_000
    record = await callback_record_of(redis, webhook_id)
    assert (record["url"], record["body"], record["job_id"]) == (callback.url, callback.body, job.job_id)
    assert (record["token"], record["tries"]) == ("c1", "1")


async def test_only_an_unfinished_job_with_a_record_has_not_ended(ledger: Ledger) -> None:
    accepted, taken = await opened(ledger, "a"), await opened(ledger, "b")
    claim = await claimed(ledger, taken.job_id)
    assert not await ledger.has_ended(accepted.job_id)
    assert not await ledger.has_ended(taken.job_id)
    await ledger.settle(claim, BOUND)
    assert await ledger.has_ended(taken.job_id)
    assert await ledger.has_ended(new_job("none").job_id)


async def test_a_flushed_script_cache_is_not_noticed(redis: Redis, ledger: Ledger) -> None:
    client: Any = redis
    await client.script_flush()
    job = await opened(ledger)
    await client.script_flush()
    claim = await claimed(ledger, job.job_id)
    await client.script_flush()
    assert await ledger.settle(claim, BOUND)
    await client.script_flush()
    assert all(await ledger.open_many([new_job("x")]))


@pytest.mark.parametrize(
    ("state", "ttl_ms"),
    [(JobState.FAILED, 5_000), (JobState.EXPIRED, 30_000), (JobState.UPDATED, 9_000)],
)
async def test_a_state_may_have_a_retention_of_its_own(redis: Redis, state: JobState, ttl_ms: int) -> None:
    retention = Retention(30_000, {JobState.FAILED: 5_000, JobState.UPDATED: 9_000})
    ledger = Ledger(redis, result_ttl_ms=1, first_look_ms=FIRST_LOOK_MS, retention=retention)
    job = await opened(ledger)
    claim = await claimed(ledger, job.job_id)
    assert await ledger.settle(claim, Settlement(state, AttemptKnowledge.CLOSED))
    assert ttl_ms - 2_000 < await redis.pttl(job_keys(job.job_id).job) <= ttl_ms
