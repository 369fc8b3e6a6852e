import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.attempt.decisions import RetryRules, Unclear, decide, on_doubt
from worker.domain.job import DoubtProbe, JobKind, JobState, Lane, OnDoubt
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.records import AttemptKnowledge, Claim, Settlement

BOUND, FAILED, IN_DOUBT, WAITING = JobState.BOUND, JobState.FAILED, JobState.IN_DOUBT, JobState.WAITING
CLOSED, OPEN = AttemptKnowledge.CLOSED, AttemptKnowledge.OPEN
ANSWER = {"SecretBindDTO": {"SubsId": "100", "SecretNo": "17000001111"}}
FIRST: dict[str, Any] = {}
PROBE: dict[str, Any] = {"is_probe": True}
ORPHAN: dict[str, Any] = {"possible_orphans": 1}
DOUBTFUL: dict[str, Any] = {"had_doubt": True}


def rules(share: float = 0.5) -> RetryRules:
    return RetryRules(
        base_ms=100,
        cap_ms=5_000,
        slow_base_ms=2_000,
        slow_cap_ms=60_000,
        attempts=3,
        probe_after_ms=1_500,
        probe_window_ms=100_000,
        random_share=lambda: share,
    )


def claim_of(**overrides: Any) -> Claim:
    fields: dict[str, Any] = {
        "job_id": "k1",
        "token": "t",
        "lane": Lane.CHECKOUT,
        "now_ms": 1,
        "fence": 1,
        "attempt": 1,
        "is_probe": False,
        "is_late": False,
        "is_poison": False,
        "rescues": 0,
        "kind": JobKind.BIND,
        "is_confirmed": False,
        "look_up_since": 0,
        "had_doubt": False,
        "began_at": 1,
        "parameters": {},
        "seed": "s",
        "on_doubt": OnDoubt.HOLD,
        "callback_url": "",
        "refusal": "",
        "retries": 0,
        "throttles": 0,
        "possible_orphans": 0,
        "accepted_at": 1,
    }
    return Claim(**(fields | overrides))


def settled(claim: Claim, outcome: Outcome, with_rules: RetryRules | None = None) -> Settlement:
    """What becomes of it where nothing can be looked up."""
    end = decide(claim, outcome, with_rules or rules())
    return on_doubt(claim, end) if isinstance(end, Unclear) else end


def outcome_of(verdict: Verdict, retry_after_ms: int = 0) -> Outcome:
    answer = ANSWER if verdict is Verdict.DONE else {}
    return Outcome(verdict, "Some.Code", "said so", "request-1", retry_after_ms=retry_after_ms, answer=answer)


TABLE = [
    # verdict, first attempt, probe of an unclear one, after a possible orphan
    (Verdict.DONE, (BOUND, CLOSED), (BOUND, CLOSED), (BOUND, CLOSED)),
    (Verdict.THROTTLED, (WAITING, CLOSED), (WAITING, OPEN), (WAITING, CLOSED)),
    (Verdict.NOT_PROCESSED, (WAITING, CLOSED), (WAITING, OPEN), (WAITING, CLOSED)),
    (Verdict.AMBIGUOUS, (WAITING, OPEN), (WAITING, OPEN), (WAITING, OPEN)),
    (Verdict.NONCE_USED, (IN_DOUBT, OPEN), (IN_DOUBT, OPEN), (IN_DOUBT, OPEN)),
    (Verdict.WRONG_REQUEST, (FAILED, CLOSED), (FAILED, CLOSED), (FAILED, CLOSED)),
    (Verdict.ACCOUNT, (WAITING, CLOSED), (WAITING, OPEN), (WAITING, CLOSED)),
    (Verdict.NO_NUMBER, (WAITING, CLOSED), (IN_DOUBT, OPEN), (IN_DOUBT, OPEN)),
    (Verdict.CONFLICT, (FAILED, CLOSED), (IN_DOUBT, OPEN), (IN_DOUBT, OPEN)),
    (Verdict.GONE, (FAILED, CLOSED), (FAILED, CLOSED), (FAILED, CLOSED)),
]
CASES = [
    pytest.param(verdict, claim, expected, id=f"{verdict}-{name}")
    for verdict, *row in TABLE
    for (name, claim), expected in zip(
        [("first", FIRST), ("probe", PROBE), ("orphan", ORPHAN)],
        row,
        strict=True,
    )
]


def test_the_table_knows_every_verdict() -> None:
    assert sorted(row[0] for row in TABLE) == sorted(Verdict)


@pytest.mark.parametrize(("verdict", "claim", "expected"), CASES)
def test_each_verdict_settles_a_claim_as_the_table_says(
    verdict: Verdict, claim: dict[str, Any], expected: tuple[JobState, AttemptKnowledge]
) -> None:
    settlement = settled(claim_of(**claim), outcome_of(verdict))
    assert (settlement.state, settlement.knowledge) == expected


@pytest.mark.parametrize("verdict", list(Verdict))
def test_no_probe_is_closed_unless_its_answer_tells_of_the_copy_before(verdict: Verdict) -> None:
    settlement = settled(claim_of(is_probe=True), outcome_of(verdict))
    may_be_closed = {Verdict.DONE, Verdict.WRONG_REQUEST, Verdict.GONE}
    assert settlement.knowledge is OPEN or verdict in may_be_closed


def test_a_bound_job_has_its_number_and_leaves_the_possible_orphan_on_record() -> None:
    fields = settled(claim_of(possible_orphans=1), outcome_of(Verdict.DONE)).fields
    assert fields == {
        "phone_no_x": "17000001111",
        "subs_id": "100",
        "code": "Some.Code",
        "message": "said so",
        "request_id": "request-1",
    }


def test_throttling_costs_no_retry_and_honours_the_servers_delay() -> None:
    settlement = settled(claim_of(throttles=7, retries=3), outcome_of(Verdict.THROTTLED, 9_000))
    assert settlement.fields["throttles"] == 8
    assert "retries" not in settlement.fields
    assert settlement.delay_ms == 9_000 + 2_500


def test_what_was_not_processed_is_tried_again_so_often_and_then_fails() -> None:
    again = settled(claim_of(retries=2), outcome_of(Verdict.NOT_PROCESSED))
    assert (again.state, again.fields["retries"]) == (WAITING, 3)
    assert settled(claim_of(retries=3), outcome_of(Verdict.NOT_PROCESSED)).state is FAILED
    assert settled(claim_of(retries=3), outcome_of(Verdict.NO_NUMBER)).state is FAILED


def test_a_probe_without_retries_left_is_in_doubt_and_not_failed() -> None:
    assert settled(claim_of(retries=3, is_probe=True), outcome_of(Verdict.NOT_PROCESSED)).state is IN_DOUBT


@pytest.mark.parametrize("verdict", [Verdict.CONFLICT, Verdict.NO_NUMBER])
def test_after_any_doubt_a_refused_number_may_be_the_jobs_own(verdict: Verdict) -> None:
    assert isinstance(decide(claim_of(**DOUBTFUL), outcome_of(verdict), rules()), Unclear)


@pytest.mark.parametrize("probe", [DoubtProbe.LOOKUP, DoubtProbe.OFF])
def test_the_same_nonce_is_sent_again_only_where_the_setting_says_so(probe: DoubtProbe) -> None:
    careful = dataclasses.replace(rules(), doubt_probe=probe)
    assert isinstance(decide(claim_of(), outcome_of(Verdict.AMBIGUOUS), careful), Unclear)
    again = decide(claim_of(), outcome_of(Verdict.AMBIGUOUS), rules())
    assert isinstance(again, Settlement)
    assert (again.knowledge, again.delay_ms, again.fields["had_doubt"]) == (OPEN, 1_500, 1)


def test_a_doubt_is_bound_anew_once_where_the_request_says_so() -> None:
    rebind = {"on_doubt": OnDoubt.REBIND, "is_probe": True}
    first = on_doubt(claim_of(**rebind), Unclear("c", "m"))
    assert (first.state, first.knowledge, first.fields["possible_orphans"]) == (WAITING, CLOSED, 1)
    second = on_doubt(claim_of(**rebind, possible_orphans=1), Unclear("c", "m"))
    assert (second.state, second.knowledge) == (IN_DOUBT, OPEN)


def test_a_doubt_past_the_deadline_is_held_whatever_the_request_says() -> None:
    assert on_doubt(claim_of(on_doubt=OnDoubt.REBIND, is_late=True), Unclear("c", "m")).state is IN_DOUBT


SHARES = st.floats(0, 1, exclude_max=True)


@given(tries=st.integers(0, 10_000), share=SHARES, floor_ms=st.integers(0, 100_000))
def test_a_backoff_is_above_its_floor_and_below_a_bound_that_doubles(tries: int, share: float, floor_ms: int) -> None:
    delay_ms = rules(share).backoff_ms(tries, floor_ms) - floor_ms
    assert 0 <= delay_ms <= min(5_000, 100 * 2 ** min(tries, 20))


@given(tries=st.integers(0, 10_000), share=SHARES)
def test_a_slow_backoff_is_never_short(tries: int, share: float) -> None:
    assert 1_000 <= rules(share).slow_backoff_ms(tries) <= 1_000 + min(60_000, 2_000 * 2 ** min(tries, 20))


def test_a_backoff_reaches_its_cap() -> None:
    assert rules(0.999).backoff_ms(20) > 4_900
    assert rules(0.999).backoff_ms(0) <= 100
