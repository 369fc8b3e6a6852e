import asyncio
import logging
import re
from collections.abc import Callable, Mapping

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.ledger.support import PHONE, callback_record_of, lapse, look_at, new_job, now_ms, put, record_of
from worker.domain.job import JobState, Lane, OnDoubt
from worker.domain.job_ids import job_id_for_key
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.keys import job_keys, webhook_id_of
from worker.ledger.records import Claim, Settlement
from worker.logs import Event
from worker.pace.rules import RetryBudget

from .bench import AMBIGUOUS, DONE, NONCE_USED, THROTTLED, URL, WRONG, Bench, FakeCourier, FakeProvider, LeapingClock


async def test_a_job_is_bound_and_its_callback_owed(bench: Bench) -> None:
    bench.provider = FakeProvider(DONE)
    job = await bench.opened()
    assert await bench.attempt(job) == "bound"
    read = await bench.read(job)
    assert (read.phone_no_x, read.subs_id, read.request_id, read.attempts) == ("17000001111", "100", "request-1", 1)
    assert bench.provider.parameters == [job.parameters]
    (started,) = bench.courier.started
    webhook_id = webhook_id_of(job.job_id, 1)
    assert (started.webhook_id, started.token, started.url, started.tries) == (webhook_id, "c1", URL, 1)
    record = await callback_record_of(bench.redis, webhook_id)
    assert (record["body"], record["token"]) == (started.body, "c1")
    assert bench.event()["type"] == "bind.succeeded"
    assert bench.event()["data"]["attempts"] == 1
    look = await look_at(bench.redis, job.job_id, Lane.CALLBACK, webhook_id)
    assert look is not None
    assert look > await now_ms(bench.redis) + 5_000


async def test_with_no_courier_free_the_callback_is_left_to_the_timetable(bench: Bench) -> None:
    bench.provider, bench.courier = FakeProvider(DONE), FakeCourier(token="")
    job = await bench.opened()
    assert await bench.attempt(job) == "bound"
    assert bench.courier.started == []
    look = await look_at(bench.redis, job.job_id, Lane.CALLBACK, "@shop.example")
    assert look is not None
    assert look <= await now_ms(bench.redis)
    assert await look_at(bench.redis, job.job_id, Lane.CALLBACK, webhook_id_of(job.job_id, 1))


async def test_throttling_waits_and_uses_up_no_retry(bench: Bench) -> None:
    bench.provider = FakeProvider(*[THROTTLED] * 5, DONE)
    job = await bench.opened()
    for _ in range(5):
        assert await bench.attempt(job) == "waiting"
    read, record = await bench.read(job), await record_of(bench.redis, job.job_id)
    assert read.code == "Throttling.User"
    assert read.next_at > 0
    assert (record["throttles"], record.get("retries", "0")) == ("5", "0")
    assert await bench.attempt(job) == "bound"
    assert len(set(bench.provider.nonces)) == 6
    assert len(bench.courier.started) == 1


async def test_after_an_ambiguous_attempt_the_same_nonce_is_sent_again(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, AMBIGUOUS, DONE)
    job = await bench.opened()
    assert [await bench.attempt(job) for _ in range(3)] == ["waiting", "waiting", "bound"]
    assert len(set(bench.provider.nonces)) == 1
    assert (await bench.read(job)).attempts == 1


async def test_a_throttled_probe_keeps_its_nonce(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, THROTTLED, DONE)
    job = await bench.opened()
    assert [await bench.attempt(job) for _ in range(3)] == ["waiting", "waiting", "bound"]
    assert len(set(bench.provider.nonces)) == 1


async def test_a_used_nonce_after_an_ambiguous_attempt_is_held_in_doubt(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED)
    job = await bench.opened()
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "in_doubt"]
    assert await bench.attempt(job) == "ended"
    assert len(set(bench.provider.nonces)) == 1
    assert bench.event()["type"] == "bind.in_doubt"


async def test_rebind_takes_a_new_nonce_once_and_reports_the_possible_orphan(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, DONE)
    job = await bench.opened(on_doubt=OnDoubt.REBIND)
    assert [await bench.attempt(job) for _ in range(3)] == ["waiting", "waiting", "bound"]
    assert bench.provider.nonces[0] == bench.provider.nonces[1] != bench.provider.nonces[2]
    assert (await bench.read(job)).possible_orphans == 1
    assert bench.event()["data"]["possible_orphans"] == 1


async def test_rebind_never_binds_a_third_time_silently(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, AMBIGUOUS, NONCE_USED)
    job = await bench.opened(on_doubt=OnDoubt.REBIND)
    assert [await bench.attempt(job) for _ in range(4)] == ["waiting", "waiting", "waiting", "in_doubt"]
    assert len(set(bench.provider.nonces)) == 2
    assert bench.event()["data"]["possible_orphans"] == 1


async def test_a_rebind_that_fails_still_reports_the_possible_orphan(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, WRONG)
    job = await bench.opened(on_doubt=OnDoubt.REBIND)
    assert [await bench.attempt(job) for _ in range(3)] == ["waiting", "waiting", "failed"]
    assert (await bench.read(job)).possible_orphans == 1
    assert bench.event()["data"]["possible_orphans"] == 1


async def test_past_the_deadline_nothing_is_sent_and_the_job_expires(bench: Bench) -> None:
    job = await bench.opened(deadline_at_ms=1)
    assert await bench.attempt(job) == "expired"
    assert (bench.provider.nonces, bench.event()["type"]) == ([], "bind.expired")
    assert (await bench.read(job)).attempts == 0


async def test_an_unclear_attempt_past_its_deadline_is_in_doubt_and_not_expired(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS)
    job = await bench.opened(deadline_in_ms=60_000, on_doubt=OnDoubt.REBIND)
    assert await bench.attempt(job) == "waiting"
    await put(bench.redis, job_keys(job.job_id).job, deadline_at=1)
    assert await bench.attempt(job) == "in_doubt"
    assert len(bench.provider.nonces) == 1


async def test_past_the_window_an_unclear_attempt_is_never_sent_again(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS)
    job = await bench.opened()
    assert await bench.attempt(job) == "waiting"
    await put(bench.redis, job_keys(job.job_id).job, began_at=1)
    assert await bench.attempt(job) == "in_doubt"
    assert len(bench.provider.nonces) == 1
    assert (await bench.read(job)).code == "doubt.window_passed"


async def test_with_its_expiration_too_near_a_job_fails_unsent(bench: Bench) -> None:
    job = await bench.opened(parameters={"PhoneNoA": PHONE, "Expiration": "2020-01-01 00:00:00"})
    assert await bench.attempt(job) == "failed"
    read = await bench.read(job)
    assert (read.code, read.attempts) == ("expiration.too_near", 0)
    assert bench.provider.nonces == []
    assert bench.event()["data"]["attempts"] == 0


async def test_a_refused_request_fails_unsent_with_its_reason(bench: Bench) -> None:
    job = await bench.opened(parameters={}, refusal="phone_no_a: must be a number")
    assert await bench.attempt(job) == "failed"
    read = await bench.read(job)
    assert (read.code, read.message, read.attempts) == ("request.invalid", "phone_no_a: must be a number", 0)
    assert bench.provider.nonces == []


async def test_a_throttled_call_is_told_to_the_pace_and_cuts_the_rate(bench: Bench) -> None:
    bench.provider = FakeProvider(THROTTLED)
    job = await bench.opened()
    assert await bench.attempt(job) == "waiting"
    for _ in range(200):
        if await bench.redis.hget("axn1:{pace:acc}:BindAxn:schedule", "cut_at") != "0":
            return
        await asyncio.sleep(0.01)
    pytest.fail("no cut")


async def test_a_wrong_request_fails_with_the_providers_words(bench: Bench) -> None:
    bench.provider = FakeProvider(WRONG)
    job = await bench.opened()
    assert await bench.attempt(job) == "failed"
    read = await bench.read(job)
    assert (read.code, read.message) == ("isv.PHONE_INVALID", "no such number")


async def test_a_busy_pace_gives_the_number_back_and_the_job_waits(bench: Bench) -> None:
    bench.per_second, bench.patience_ms = 0.1, 0
    job = await bench.opened()
    await bench.silence(20_000)
    assert await bench.attempt(job) == "waiting"
    read = await bench.read(job)
    assert (read.code, read.attempts) == ("pace.busy", 0)
    assert read.next_at > await now_ms(bench.redis) + 5_000
    assert bench.provider.nonces == []


@pytest.mark.parametrize("failure", [Outcome(Verdict.NOT_PROCESSED, "isp.VENDOR_UNAVAILABLE"), AMBIGUOUS])
async def test_a_job_that_failed_before_costs_the_retry_budget_and_others_do_not(
    bench: Bench, failure: Outcome
) -> None:
    bench.retries = RetryBudget(per_second=0.001, share=0)
    bench.provider = FakeProvider(failure, DONE)
    tried, fresh = await bench.opened(key="a"), await bench.opened(key="b")
    assert await bench.attempt(tried) == "waiting"
    assert await bench.attempt(tried) == "waiting"
    assert (await bench.read(tried)).code == "retry.budget"
    assert await bench.attempt(fresh) == "bound"


async def test_a_throttled_job_costs_no_retry_budget(bench: Bench) -> None:
    bench.retries = RetryBudget(per_second=0.001, share=0)
    bench.provider = FakeProvider(THROTTLED, DONE)
    job = await bench.opened()
    assert await bench.attempt(job) == "waiting"
    assert await bench.attempt(job) == "bound"


async def test_with_too_little_of_the_lease_left_nothing_is_sent(bench: Bench) -> None:
    bench.clock = LeapingClock(step_ms=25_000)
    job = await bench.opened()
    assert await bench.attempt(job) == "waiting"
    read = await bench.read(job)
    assert (read.code, read.attempts) == ("lease.lost", 0)
    assert bench.in_flight.in_flight == 0
    assert bench.provider.nonces == []


async def test_a_job_whose_attempt_broke_off_comes_back_through_the_timetable(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.provider = FakeProvider(RuntimeError(PHONE), DONE, DONE)
    broken, sound = await bench.opened(key="a"), await bench.opened(key="b")
    await bench.attempts().work_on(Lane.CHECKOUT, [broken.job_id, sound.job_id])
    states = [(await bench.read(job)).state for job in (broken, sound)]
    assert sorted(str(state) for state in states) == ["bound", "submitting"]
    (left,) = [job for job, state in zip([broken, sound], states, strict=True) if state is JobState.SUBMITTING]
    assert await look_at(bench.redis, left.job_id) is not None
    assert re.search(f"attempt broke off.* job_id={left.job_id} .*error=RuntimeError", caplog.text)
    assert bench.in_flight.in_flight == 0
    assert await bench.attempt(left) == "bound"
    assert (await bench.read(left)).attempts == 1


async def test_what_the_provider_said_is_settled_once_redis_is_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that was bound must not be lost to a moment without Redis."""
    bench.provider = FakeProvider(DONE)
    job = await bench.opened()
    settle, refusals = bench.ledger.settle, iter([RedisConnectionError("away"), OSError("reset")])

    async def stumble(claim: Claim, settlement: Settlement) -> bool:
        if refusal := next(refusals, None):
            raise refusal
        return await settle(claim, settlement)

    monkeypatch.setattr(bench.ledger, "settle", stumble)
    assert await bench.attempt(job) == "bound"
    assert len(bench.provider.nonces) == 1


async def test_a_lost_lease_writes_nothing_and_gives_the_courier_back(bench: Bench, redis: Redis) -> None:
    job = await bench.opened()

    class Slow(FakeProvider):
        async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
            await put(redis, job_keys(job.job_id).job, token="another")
            return await super().call(action, parameters, nonce=nonce)

    bench.provider = Slow(DONE)
    assert await bench.attempt(job) == "lease_lost"
    assert (await bench.read(job)).state is JobState.SUBMITTING
    assert (bench.courier.started, bench.courier.released) == ([], 1)
    assert bench.found.told == [(job.job_id, "100")]


async def test_what_may_not_be_worked_on_is_dropped_quietly(bench: Bench) -> None:
    assert await bench.attempts().attempt(Lane.CHECKOUT, new_job("none").job_id) == "missing"


Answers = list[Outcome | Exception]


@pytest.mark.parametrize(
    "answers",
    [
        [DONE],
        [AMBIGUOUS, NONCE_USED],
        [THROTTLED, WRONG],
        [Outcome(Verdict.WRONG_REQUEST, "x"), DONE],
        [RuntimeError(f"PhoneNoA={PHONE}")],
    ],
)
async def test_no_phone_number_stands_in_any_log_record(
    bench: Bench, answers: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    count: Callable[[Answers], int] = len
    bench.provider = FakeProvider(*answers)
    job = await bench.opened()
    for _ in range(count(answers)):
        await lapse(bench.redis, job.job_id) if bench.provider.nonces else None
        await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])
    ours = [record for record in caplog.records if record.name.startswith("worker")]
    assert ours
    assert all(PHONE not in record.getMessage() and "17000001111" not in record.getMessage() for record in ours)
    assert PHONE not in caplog.text


REFUSED = Outcome(Verdict.ACCOUNT, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")


async def test_a_refused_account_stops_all_its_jobs_and_says_so_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.provider = FakeProvider(REFUSED)
    jobs = [await bench.opened(key=key) for key in ("1", "2", "3")]
    assert [await bench.attempt(job) for job in jobs] == ["waiting"] * 3
    assert len(bench.provider.nonces) == 1
    assert [(await bench.read(job)).code for job in jobs] == [REFUSED.code, "account.stopped", "account.stopped"]
    assert [(await bench.read(job)).attempts for job in jobs] == [1, 0, 0]
    assert sum("account stopped" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(("answer", "goes_on"), [(DONE, True), (WRONG, True), (REFUSED, False), (AMBIGUOUS, False)])
async def test_a_probe_decides_whether_a_stopped_account_goes_on(
    bench: Bench, redis: Redis, answer: Outcome, goes_on: bool
) -> None:
    bench.provider = FakeProvider(REFUSED, answer, DONE)
    jobs = [await bench.opened(key=key) for key in ("1", "2", "3")]
    await bench.attempt(jobs[0])
    await redis.hset("axn1:{pace:acc}:stop", "next_probe_at", "1")
    await bench.attempt(jobs[1])
    assert (await bench.attempt(jobs[2]) == "bound") is goes_on
    assert len(bench.provider.nonces) == (3 if goes_on else 2)


@pytest.mark.parametrize(
    ("outcome", "level", "state"),
    [
        (DONE, logging.INFO, "bound"),
        (WRONG, logging.INFO, "failed"),
        (THROTTLED, logging.INFO, "waiting"),
        (NONCE_USED, logging.WARNING, "in_doubt"),
    ],
)
async def test_a_settled_job_is_one_line_at_the_level_of_its_end(
    bench: Bench, caplog: pytest.LogCaptureFixture, outcome: Outcome, level: int, state: str
) -> None:
    caplog.set_level(logging.DEBUG)
    bench.provider = FakeProvider(outcome)
    batch_id = job_id_for_key("a batch")
    job = await bench.opened(batch=f"{batch_id}/0/12/0")
    await bench.attempts().attempt(Lane.CHECKOUT, job.job_id)
    told = [(record.levelno, record.msg) for record in caplog.records if isinstance(record.msg, Event)]
    ((line_level, line),) = [(levelno, line) for levelno, line in told if line["event"] == "job settled"]
    assert (line_level, line["state"], line["job_id"], line["batch_id"]) == (level, state, job.job_id, batch_id)
