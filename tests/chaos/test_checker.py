"""Each promise is seen to be broken by a history made for it, and kept by the nearest one that is right."""

from dataclasses import replace

import pytest

from tests.chaos.checker import Evidence, Verdict, check, percentile
from tests.chaos.histories import NS_PER_MS, Death, Pause, Record, SandboxBinding, Step, Submission

JOB, ORDER, X, SUBS = "k1", "order-1", "17000000001", "1"
ACCEPTED_MS = 1_000_000
GOOD = Record("bound", X, SUBS, accepted_at=ACCEPTED_MS, finished_at=ACCEPTED_MS + 50)
BINDING = SandboxBinding(ORDER, X, SUBS, is_live=True)
SUBMISSION = Submission(ORDER, JOB, ACCEPTED_MS)


def judged(
    record: Record | None = GOOD,
    *bindings: SandboxBinding,
    submission: Submission = SUBMISSION,
    steps: tuple[Step, ...] = (),
    pauses: tuple[Pause, ...] = (),
    deaths: tuple[Death, ...] = (),
) -> Verdict:
    return check(Evidence([submission], {JOB: record}, bindings, steps, pauses, deaths, bound_ms=10_000))


def broken(verdict: Verdict) -> list[tuple[str, str]]:
    return [(violation.invariant, violation.kind) for violation in verdict.violations]


def step(
    name: str, at_s: float, fence: int, *, pid: int = 1, attempt: int = 1, token: str = "", knows: str = ""
) -> Step:
    return Step(
        f"attempt.{name}",
        JOB,
        pid,
        round(at_s * 1000) * NS_PER_MS,
        fence,
        attempt,
        token or f"token-{fence}",
        knows,
        is_settled=bool(knows),
    )


def test_a_bound_job_with_its_one_binding_keeps_every_promise() -> None:
    verdict = judged(GOOD, BINDING)
    assert not verdict.violations
    assert verdict.states == {"bound": 1}
    assert verdict.recovery_ms == [50]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(None, id="no record"),
        pytest.param(Record("accepted"), id="never taken"),
        pytest.param(Record("waiting"), id="waiting"),
        pytest.param(Record("submitting"), id="under lease for ever"),
    ],
)
def test_an_accepted_job_without_an_end_is_lost(record: Record | None) -> None:
    assert broken(judged(record)) == [("I1", "lost")]


def test_a_record_that_was_deleted_on_purpose_is_not_lost() -> None:
    assert not judged(None, submission=replace(SUBMISSION, may_vanish=True)).violations


def test_an_end_that_nothing_justifies_is_wrong() -> None:
    assert broken(judged(Record("failed", code="isv.BIND_CONFLICT"))) == [("I1", "wrong")]
    refused = replace(SUBMISSION, may_end=frozenset({"failed"}))
    assert not judged(Record("failed", code="isv.BIND_CONFLICT"), submission=refused).violations


def test_two_bindings_of_an_order_are_doubled() -> None:
    assert broken(judged(GOOD, SandboxBinding(ORDER, "17000000002", "2", is_live=True), BINDING)) == [("I2", "doubled")]


def test_an_ended_binding_counts_too() -> None:
    assert broken(judged(GOOD, SandboxBinding(ORDER, "17000000002", "2", is_live=False), BINDING)) == [
        ("I2", "doubled")
    ]


@pytest.mark.parametrize(
    ("on_doubt", "reported", "expected"),
    [("rebind", 1, []), ("rebind", 0, [("I2", "doubled")]), ("hold", 1, [("I2", "doubled")])],
)
def test_an_orphan_must_be_allowed_and_reported(on_doubt: str, reported: int, expected: list[tuple[str, str]]) -> None:
    orphan = SandboxBinding(ORDER, "17000000002", "2", is_live=True)
    record, submission = replace(GOOD, possible_orphans=reported), replace(SUBMISSION, on_doubt=on_doubt)
    assert broken(judged(record, orphan, BINDING, submission=submission)) == expected


@pytest.mark.parametrize("state", ["failed", "expired"])
def test_a_job_that_says_it_bound_nothing_leaves_nothing_bound(state: str) -> None:
    submission = replace(SUBMISSION, may_end=frozenset({state}))
    assert broken(judged(Record(state, code="x"), BINDING, submission=submission)) == [("I2", "wrong")]
    assert not judged(Record(state, code="poison"), BINDING, submission=submission).violations


def test_a_job_in_doubt_may_have_been_bound_once() -> None:
    assert not judged(Record("in_doubt"), BINDING).violations
    assert not judged(Record("in_doubt")).violations


@pytest.mark.parametrize(
    "binding",
    [
        pytest.param(replace(BINDING, phone_no_x="17000000009"), id="another X"),
        pytest.param(replace(BINDING, subs_id="9"), id="another SubsId"),
        pytest.param(replace(BINDING, is_live=False), id="ended"),
    ],
)
def test_an_answer_that_is_not_the_provider_s_is_wrong(binding: SandboxBinding) -> None:
    assert broken(judged(GOOD, binding)) == [("I3", "wrong")]


def test_bound_without_any_binding_is_wrong() -> None:
    assert broken(judged(GOOD)) == [("I3", "wrong")]


def test_a_binding_of_nobody_s_order_is_wrong() -> None:
    assert broken(judged(GOOD, BINDING, replace(BINDING, order="stranger"))) == [("I2", "wrong")]


def test_two_owners_of_one_fence_are_wrong() -> None:
    steps = (step("claimed", 0, 1), step("claimed", 4, 1, token="other"))
    assert broken(judged(GOOD, BINDING, steps=steps)) == [("I6", "wrong")]


def test_a_fence_that_falls_is_wrong() -> None:
    steps = (step("claimed", 0, 2), step("claimed", 10, 1))
    assert broken(judged(GOOD, BINDING, steps=steps)) == [("I6", "wrong")]


def test_a_fence_written_down_late_by_a_sleeper_is_right() -> None:
    steps = (step("claimed", 5, 2, pid=2), step("claimed", 10, 1, pid=1))
    sleep = Pause(1, 2 * 1000 * NS_PER_MS, 9_900 * NS_PER_MS)
    assert not judged(GOOD, BINDING, steps=steps, pauses=(sleep,)).violations
    assert broken(judged(GOOD, BINDING, steps=steps, pauses=(replace(sleep, pid=2),)))


def test_a_settlement_by_an_old_owner_is_wrong() -> None:
    steps = (step("claimed", 0, 1), step("claimed", 4, 2), step("settled", 9, 1, knows="closed"))
    assert broken(judged(GOOD, BINDING, steps=steps)) == [("I6", "wrong")]
    refused = replace(steps[-1], is_settled=False)
    assert not judged(GOOD, BINDING, steps=(*steps[:2], refused)).violations


def two_attempts(*between: Step, second: int = 2) -> tuple[Step, ...]:
    first = (step("claimed", 0, 1), step("sending", 0.1, 1), *between)
    return (*first, step("claimed", 10, 2, attempt=second), step("sending", 10.1, 2, attempt=second))


@pytest.mark.parametrize("knows", ["open", ""])
def test_a_second_attempt_after_one_of_unknown_effect_is_doubled(knows: str) -> None:
    between = [step("settled", 1, 1, knows=knows)] if knows else []
    assert broken(judged(GOOD, BINDING, steps=two_attempts(*between))) == [("I6", "doubled")]


@pytest.mark.parametrize("knows", ["closed", "unsent"])
def test_a_second_attempt_after_a_known_one_is_right(knows: str) -> None:
    assert not judged(GOOD, BINDING, steps=two_attempts(step("settled", 1, 1, knows=knows))).violations


def test_a_settlement_that_came_after_the_second_claim_does_not_excuse_it() -> None:
    steps = (*two_attempts(), step("settled", 20, 1, knows="closed"))
    assert ("I6", "doubled") in broken(judged(GOOD, BINDING, steps=steps))


def test_the_same_attempt_may_be_sent_again() -> None:
    assert not judged(GOOD, BINDING, steps=two_attempts(second=1)).violations


def test_another_action_is_no_attempt_to_bind() -> None:
    steps = tuple(replace(each, action="QuerySubsId") for each in two_attempts())
    assert not judged(GOOD, BINDING, steps=steps).violations


def test_what_a_killed_owner_may_have_settled_is_counted_and_not_judged() -> None:
    steps = two_attempts(step("answered", 0.2, 1))
    verdict = judged(GOOD, BINDING, steps=steps, deaths=(Death(1, 400 * NS_PER_MS),))
    assert not verdict.violations
    assert verdict.unwitnessed == 1
    assert broken(judged(GOOD, BINDING, steps=steps)) == [("I6", "doubled")]


def test_an_owner_killed_while_it_waited_for_the_answer_excuses_nothing() -> None:
    assert broken(judged(GOOD, BINDING, steps=two_attempts(), deaths=(Death(1, 400 * NS_PER_MS),)))


def test_an_owner_killed_much_later_excuses_nothing() -> None:
    steps = two_attempts(step("answered", 0.2, 1))
    assert broken(judged(GOOD, BINDING, steps=steps, deaths=(Death(1, 60_000 * NS_PER_MS),)))


def test_a_job_that_ends_too_late_is_slow() -> None:
    late = replace(GOOD, finished_at=ACCEPTED_MS + 10_001)
    assert broken(judged(late, BINDING)) == [("I8", "slow")]
    during = replace(SUBMISSION, fault_ended_ms=ACCEPTED_MS + 5_000)
    verdict = judged(late, BINDING, submission=during)
    assert not verdict.violations
    assert verdict.recovery_ms == [5_001]


def test_jobs_are_counted_once_per_column() -> None:
    verdict = judged(GOOD, BINDING, *(replace(BINDING, subs_id=str(number)) for number in range(5, 8)))
    assert verdict.count("doubled") == 1
    assert verdict.count("lost") == 0


def test_the_percentile_of_few_values_is_the_largest() -> None:
    assert percentile([3, 1, 2], 0.99) == 3
    assert percentile([], 0.99) == 0
    assert percentile(list(range(1000)), 0.99) == 990
