"""What became of an unclear attempt with a chosen X."""

from typing import Any

import pytest

from tests.ledger.support import PHONE, put, record_of
from worker.domain.job import DoubtProbe, JobState, OnDoubt
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.keys import job_keys
from worker.ledger.records import Claim, NewJob

from .bench import AMBIGUOUS, DONE, NONCE_USED, READ_LAG_MS, THROTTLED, WRONG, Bench, FakeProvider

X = "17000001111"
EXPIRATION = "2099-01-01 00:00:00"
REQUEST = {"PhoneNoA": PHONE, "Expiration": EXPIRATION, "PhoneNoX": X, "PoolKey": "FC1", "PhoneNoB": "15012340000"}
CONFLICT = Outcome(Verdict.CONFLICT, "isv.BIND_CONFLICT")
NO_NUMBER = Outcome(Verdict.NO_NUMBER, "isv.NO_AVAILABLE_NUMBER")
GONE = Outcome(Verdict.GONE, "isv.SUBS_NOT_EXIST")
FREE = Outcome(Verdict.DONE, "OK", answer={"Code": "OK", "SubsId": ""})
SHOWN = Outcome(Verdict.DONE, "OK", answer={"Code": "OK", "SubsId": "100"})


def detail(**given: Any) -> Outcome:
    shown = {
        "PhoneNoA": PHONE, "PhoneNoB": "15012340000", "PhoneNoX": X, "ExpireDate": EXPIRATION, "Status": "1",
        "SubsId": "100",
    }  # fmt: skip
    return Outcome(Verdict.DONE, "OK", request_id="r9", answer={"SecretBindDetailDTO": shown | given})


OURS = detail()


async def opened(bench: Bench, **overrides: Any) -> NewJob:
    return await bench.opened(parameters=REQUEST, **overrides)


async def let_read_lag_pass(bench: Bench, job: NewJob) -> None:
    record = await record_of(bench.redis, job.job_id)
    since = int(record["look_up_since"]) - READ_LAG_MS
    await put(bench.redis, job_keys(job.job_id).job, look_up_since=since)


async def test_a_binding_found_by_its_x_makes_the_job_bound(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, SHOWN, OURS)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "bound"]
    read = await bench.read(job)
    assert (read.phone_no_x, read.subs_id, read.code, read.request_id) == (X, "100", "OK", "r9")
    assert bench.provider.actions == ["BindAxn", "BindAxn", "QuerySubsId", "QuerySubscriptionDetail"]
    assert bench.provider.parameters[2] == {"PhoneNoX": X, "PoolKey": "FC1"}
    assert bench.provider.parameters[3] == {"SubsId": "100", "PhoneNoX": X, "PoolKey": "FC1"}
    assert bench.event()["type"] == "bind.succeeded"


@pytest.mark.parametrize("refusal", [CONFLICT, NO_NUMBER], ids=["conflict", "no number"])
async def test_a_conflict_after_an_unclear_attempt_may_be_with_its_own_binding(bench: Bench, refusal: Outcome) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, refusal, SHOWN, OURS)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "bound"]


async def test_a_conflict_of_a_first_attempt_is_a_failure_and_looks_nothing_up(bench: Bench) -> None:
    bench.provider = FakeProvider(CONFLICT)
    job = await opened(bench)
    assert await bench.attempt(job) == "failed"
    assert bench.provider.actions == ["BindAxn"]


async def test_a_free_x_is_believed_only_after_the_read_lag_and_then_bound_anew(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, FREE, FREE, FREE, DONE)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(3)] == ["waiting"] * 3
    await let_read_lag_pass(bench, job)
    assert await bench.attempt(job) == "waiting"
    assert await bench.attempt(job) == "bound"
    nonces = [nonce for nonce, action in zip(bench.provider.nonces, bench.provider.actions, strict=True)
              if action == "BindAxn"]  # fmt: skip
    assert nonces[0] == nonces[1] != nonces[2]
    read = await bench.read(job)
    assert (read.attempts, read.possible_orphans) == (2, 0)


async def test_a_binding_that_a_lagging_query_shows_late_is_found_after_all(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, FREE, FREE, SHOWN, OURS)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(4)] == ["waiting"] * 3 + ["bound"]


async def test_a_lag_longer_than_believed_ends_in_a_conflict_that_is_looked_up_again(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, FREE, FREE, CONFLICT, SHOWN, OURS)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting"] * 2
    await let_read_lag_pass(bench, job)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "bound"]


async def test_with_no_lag_expected_a_free_x_is_bound_anew_at_once_and_a_conflict_is_looked_up_all_the_same(
    bench: Bench,
) -> None:
    bench.read_lag_ms, bench.doubt_probe = 0, DoubtProbe.LOOKUP
    bench.provider = FakeProvider(AMBIGUOUS, FREE, CONFLICT, SHOWN, OURS)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "bound"]


async def test_an_x_of_another_customer_fails_the_job_after_the_read_lag(bench: Bench) -> None:
    taken = detail(PhoneNoA="15099999999")
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, SHOWN, taken, SHOWN, taken)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting"] * 2
    await let_read_lag_pass(bench, job)
    assert await bench.attempt(job) == "failed"
    assert (await bench.read(job)).code == "isv.BIND_CONFLICT"


@pytest.mark.parametrize("difference", [{"ExpireDate": "2088-01-01 00:00:00"}, {"PhoneNoB": "15000000009"}])
async def test_a_binding_of_the_same_a_that_is_not_as_asked_is_a_doubt_for_a_person(
    bench: Bench, difference: dict[str, str]
) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, SHOWN, detail(**difference), SHOWN, detail(**difference))
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting"] * 2
    await let_read_lag_pass(bench, job)
    assert await bench.attempt(job) == "in_doubt"
    assert (await bench.read(job)).code == "look_up.altered"


@pytest.mark.parametrize("ended", [detail(Status="0"), GONE], ids=["lapsed", "gone"])
async def test_a_binding_that_has_ended_counts_as_none(bench: Bench, ended: Outcome) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, SHOWN, ended, SHOWN, ended, DONE)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting"] * 2
    await let_read_lag_pass(bench, job)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "bound"]


@pytest.mark.parametrize("failing", [[THROTTLED], [SHOWN, THROTTLED]], ids=["ids", "detail"])
async def test_a_look_up_without_an_answer_is_made_again(bench: Bench, failing: list[Outcome]) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, *failing, SHOWN, OURS)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(3)] == ["waiting", "waiting", "bound"]


async def test_look_ups_that_never_answer_end_in_doubt_when_the_window_has_passed(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED, THROTTLED, THROTTLED)
    job = await opened(bench)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting"] * 2
    await put(bench.redis, job_keys(job.job_id).job, look_up_since=1)
    assert await bench.attempt(job) == "in_doubt"


async def test_a_deadline_that_passed_meanwhile_does_not_stop_the_look_up(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, SHOWN, OURS)
    job = await opened(bench, deadline_in_ms=60_000)
    assert await bench.attempt(job) == "waiting"
    await put(bench.redis, job_keys(job.job_id).job, deadline_at=1)
    assert await bench.attempt(job) == "bound"


async def test_a_job_not_bound_and_late_expires(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, FREE, FREE)
    job = await opened(bench, deadline_in_ms=60_000)
    assert await bench.attempt(job) == "waiting"
    await put(bench.redis, job_keys(job.job_id).job, deadline_at=1)
    assert await bench.attempt(job) == "waiting"
    await let_read_lag_pass(bench, job)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "expired"]


async def test_with_the_probe_set_to_lookup_no_nonce_is_sent_twice(bench: Bench) -> None:
    bench.doubt_probe = DoubtProbe.LOOKUP
    bench.provider = FakeProvider(AMBIGUOUS, SHOWN, OURS)
    job = await opened(bench)
    assert await bench.attempt(job) == "bound"
    assert bench.provider.actions.count("BindAxn") == 1


async def test_with_the_probe_set_to_lookup_a_dead_workers_job_is_looked_up(bench: Bench) -> None:
    bench.doubt_probe = DoubtProbe.LOOKUP
    job = await opened(bench)
    assert isinstance(await bench.ledger.claim(job.job_id, job.lane, token="dead", lease_ms=1), Claim)
    bench.provider = FakeProvider(SHOWN, OURS)
    assert await bench.attempt(job) == "bound"
    assert "BindAxn" not in bench.provider.actions


@pytest.mark.parametrize(("on_doubt", "end"), [(OnDoubt.HOLD, "in_doubt"), (OnDoubt.REBIND, "waiting")])
async def test_with_the_probe_off_the_request_decides_at_once(bench: Bench, on_doubt: OnDoubt, end: str) -> None:
    bench.doubt_probe = DoubtProbe.OFF
    bench.provider = FakeProvider(AMBIGUOUS)
    job = await opened(bench, on_doubt=on_doubt)
    assert await bench.attempt(job) == end
    assert bench.provider.actions == ["BindAxn"]


async def test_without_a_pool_nothing_can_be_looked_up(bench: Bench) -> None:
    bench.provider = FakeProvider(AMBIGUOUS, NONCE_USED)
    request = {name: value for name, value in REQUEST.items() if name != "PoolKey"}
    job = await bench.opened(parameters=request)
    assert [await bench.attempt(job) for _ in range(2)] == ["waiting", "in_doubt"]


async def test_an_x_that_stays_free_and_refused_ends_in_doubt_and_not_in_a_circle(bench: Bench) -> None:
    job = await opened(bench)
    bench.provider = FakeProvider(AMBIGUOUS)
    await bench.attempt(job)
    for _ in range(10):
        bench.provider = FakeProvider(CONFLICT, FREE, FREE)
        state = await bench.attempt(job)
        if state == "in_doubt":
            break
        await let_read_lag_pass(bench, job)
        bench.provider = FakeProvider(FREE)
        if (state := await bench.attempt(job)) == "in_doubt":
            break
    assert state == "in_doubt"
    assert (await bench.read(job)).state is JobState.IN_DOUBT


async def test_what_a_wrong_request_means_is_not_changed_by_a_look_up(bench: Bench) -> None:
    bench.provider = FakeProvider(WRONG)
    assert await bench.attempt(await opened(bench)) == "failed"
