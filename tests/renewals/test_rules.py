"""What follows from a try that came to nothing."""

import dataclasses

import pytest

from worker.attempt.decisions import RetryRules
from worker.domain.job import OnDoubt
from worker.domain.outcome import Outcome, Verdict
from worker.domain.renewal import RenewalPolicy
from worker.ledger.kept_binding import KeptBinding
from worker.renewals.rules import RenewalRules, failure_of, is_late

HOUR, DAY = 3_600_000, 86_400_000
KEPT = KeptBinding(
    binding_id="k", status="active", subs_id="1", phone_no_x="17000001111", parameters={}, expires_at=10 * DAY,
    bound_at=9 * DAY, policy=RenewalPolicy(extend_by_ms=DAY, lead_ms=4 * HOUR), seed="s", number=0, failures=0,
    throttles=0, code="",
    due_at=0, step="", step_job="", told=0, is_closed=False, is_to_be_unbound=False, on_doubt=OnDoubt.HOLD, history=(),
    read_at=0,
)  # fmt: skip
RETRY = RetryRules(
    base_ms=1_000, cap_ms=60_000, slow_base_ms=60_000, slow_cap_ms=600_000, attempts=3, probe_after_ms=1,
    probe_window_ms=1, random_share=lambda: 1.0,
)  # fmt: skip
RULES = RenewalRules(15_000, 16, 2_000, 0.1, 1, RETRY)
END = KEPT.expires_at


@pytest.mark.parametrize(
    ("verdict", "failures", "left_ms", "delay_ms", "needs_person"),
    [
        (Verdict.NOT_PROCESSED, 0, 4 * HOUR, 1_000, False),
        (Verdict.NOT_PROCESSED, 1, 4 * HOUR, 2_000, False),
        (Verdict.AMBIGUOUS, 2, 4 * HOUR, 4_000, True),
        (Verdict.AMBIGUOUS, 0, 4 * HOUR, 2_000, False),
        (Verdict.NONCE_USED, 0, 4_000, 2_000, True),
        (Verdict.THROTTLED, 9, 4 * HOUR, 67_000, False),
        (Verdict.THROTTLED, 9, HOUR - 1, 67_000, True),
        (Verdict.THROTTLED, 9, 40_000, 10_000, True),
        (Verdict.ACCOUNT, 0, 4 * HOUR, 90_000, True),
        (Verdict.WRONG_REQUEST, 9, 4 * HOUR, 630_000, True),
        (Verdict.WRONG_REQUEST, 9, 40_000, 10_000, True),
        (Verdict.WRONG_REQUEST, 9, 100, 1_000, True),
    ],
)
def test_it_is_tried_again_with_time_for_more_tries_and_a_person_told_where_it_takes_one(
    verdict: Verdict, failures: int, left_ms: int, delay_ms: int, needs_person: bool
) -> None:
    outcome = Outcome(verdict, "code", "message", retry_after_ms=7_000 if verdict is Verdict.THROTTLED else 0)
    kept = dataclasses.replace(KEPT, failures=failures, throttles=failures)
    failure = failure_of(kept, outcome, END - left_ms, RULES)
    assert (failure.delay_ms, failure.needs_person) == (delay_ms, needs_person)


def test_it_is_late_when_a_quarter_of_its_lead_is_left() -> None:
    assert [is_late(KEPT, END - left_ms) for left_ms in (HOUR, HOUR - 1)] == [False, True]
    short = dataclasses.replace(KEPT, bound_at=END - HOUR)
    assert [is_late(short, END - left_ms) for left_ms in (HOUR // 8, HOUR // 8 - 1)] == [False, True]
