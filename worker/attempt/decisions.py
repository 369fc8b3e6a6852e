"""What follows from an outcome. Pure: a claim and an outcome in, a settlement out."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from worker.domain.job import JobState, OnDoubt
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.records import AttemptKnowledge, Claim, Settlement
from worker.provider.answers import bound_number

_LARGEST_EXPONENT = 30


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Delays in ms. `attempts`: how often a job that was certainly not processed is tried again."""

    base_ms: int
    cap_ms: int
    slow_base_ms: int
    slow_cap_ms: int
    attempts: int
    probe_after_ms: int
    probe_window_ms: int
    random_share: Callable[[], float] = random.random

    def backoff_ms(self, tries: int, floor_ms: int = 0) -> int:
        """Full jitter: anything up to a bound that doubles with each try."""
        return floor_ms + self._jitter(self.base_ms, self.cap_ms, tries)

    def slow_backoff_ms(self, tries: int) -> int:
        """The same for what only time or a person mends: no free number, a refused account."""
        return self.slow_base_ms // 2 + self._jitter(self.slow_base_ms, self.slow_cap_ms, tries)

    def _jitter(self, base_ms: int, cap_ms: int, tries: int) -> int:
        return int(self.random_share() * min(cap_ms, base_ms * 2 ** min(tries, _LARGEST_EXPONENT)))


def decide(claim: Claim, outcome: Outcome, rules: RetryRules) -> Settlement:  # noqa: PLR0911 - one return per verdict
    """Settle an attempt that was sent."""
    match outcome.verdict:
        case Verdict.DONE:
            return _bound(outcome)
        case Verdict.AMBIGUOUS:
            return _wait(outcome, rules.probe_after_ms, AttemptKnowledge.OPEN)
        case Verdict.NONCE_USED:
            return doubt(claim, outcome.code, "an earlier copy of this attempt reached the provider")
        case Verdict.THROTTLED:
            delay_ms = rules.backoff_ms(claim.throttles, outcome.retry_after_ms)
            return _wait(outcome, delay_ms, _not_done(claim), throttles=claim.throttles + 1)
        case Verdict.ACCOUNT:
            delay_ms = rules.slow_backoff_ms(claim.throttles)
            return _wait(outcome, delay_ms, _not_done(claim), throttles=claim.throttles + 1)
        case Verdict.NOT_PROCESSED:
            return _try_again(claim, outcome, rules.backoff_ms(claim.retries), rules)
        case Verdict.NO_NUMBER if not _may_be_our_own(claim):
            return _try_again(claim, outcome, rules.slow_backoff_ms(claim.retries), rules)
        case Verdict.CONFLICT | Verdict.NO_NUMBER if _may_be_our_own(claim):
            return doubt(claim, outcome.code, "an earlier attempt may hold the number that this one was refused")
        case _:
            return _failed(outcome)


def doubt(claim: Claim, code: str, message: str) -> Settlement:
    """Nobody can tell whether the provider has bound: hold for a person, or bind anew as the request says.

    An orphan that was risked once is not risked again: what then stays unclear is held.
    """
    fields: dict[str, str | int] = {"code": code, "message": message}
    if claim.on_doubt is OnDoubt.REBIND and not claim.is_late and not claim.possible_orphans:
        fields["possible_orphans"] = 1
        return Settlement(JobState.WAITING, AttemptKnowledge.CLOSED, fields)
    return Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN, fields)


def _may_be_our_own(claim: Claim) -> bool:
    return claim.is_probe or claim.possible_orphans > 0


def _not_done(claim: Claim) -> AttemptKnowledge:
    # A refused probe says nothing of the copy that went before it.
    return AttemptKnowledge.OPEN if claim.is_probe else AttemptKnowledge.CLOSED


def _bound(outcome: Outcome) -> Settlement:
    number = bound_number(outcome.answer)
    assert number is not None, "DONE without a number"  # noqa: S101 - the outcome table calls that ambiguous
    subs_id, phone_no_x = number[0], number[1]
    fields: dict[str, str | int] = {"phone_no_x": phone_no_x, "subs_id": subs_id, **_told(outcome)}
    return Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, fields)


def _failed(outcome: Outcome) -> Settlement:
    return Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, _told(outcome))


def _try_again(claim: Claim, outcome: Outcome, delay_ms: int, rules: RetryRules) -> Settlement:
    if claim.retries < rules.attempts:
        return _wait(outcome, delay_ms, _not_done(claim), retries=claim.retries + 1)
    return doubt(claim, outcome.code, outcome.message) if claim.is_probe else _failed(outcome)


def _wait(outcome: Outcome, delay_ms: int, knowledge: AttemptKnowledge, **counters: int) -> Settlement:
    fields: dict[str, str | int] = {**_told(outcome), **counters}
    return Settlement(JobState.WAITING, knowledge, fields, delay_ms=delay_ms)


def _told(outcome: Outcome) -> dict[str, str | int]:
    return {"code": outcome.code, "message": outcome.message, "request_id": outcome.request_id}
