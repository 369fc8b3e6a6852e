"""What follows from the outcome of a BindAxn. Pure: a claim and an outcome in, a settlement out."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from worker.domain.job import DoubtProbe, JobState, OnDoubt
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.records import AttemptKnowledge, Claim, Settlement
from worker.provider.answers import bound_number

_LARGEST_EXPONENT = 30


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Delays in ms. `attempts`: how often a job that was certainly not processed is tried again.

    Attributes:
        probe_after_ms: from an unclear outcome to the same nonce again: the first copy can no longer be under way.
        probe_window_ms: how long after an attempt began its nonce may be sent again; the provider forgets nonces.
        doubt_probe: what may be sent to find out.
        read_lag_ms: how long the provider's queries may show an older state: so long nothing is concluded from not
            finding a binding.
    """

    base_ms: int
    cap_ms: int
    slow_base_ms: int
    slow_cap_ms: int
    attempts: int
    probe_after_ms: int
    probe_window_ms: int
    doubt_probe: DoubtProbe = DoubtProbe.NONCE
    read_lag_ms: int = 30_000
    random_share: Callable[[], float] = random.random

    def backoff_ms(self, tries: int, floor_ms: int = 0) -> int:
        """Full jitter: anything up to a bound that doubles with each try."""
        return floor_ms + self._jitter(self.base_ms, self.cap_ms, tries)

    def slow_backoff_ms(self, tries: int) -> int:
        """The same for what only time or a person mends: no free number, a refused account."""
        return self.slow_base_ms // 2 + self._jitter(self.slow_base_ms, self.slow_cap_ms, tries)

    def _jitter(self, base_ms: int, cap_ms: int, tries: int) -> int:
        return int(self.random_share() * min(cap_ms, base_ms * 2 ** min(tries, _LARGEST_EXPONENT)))


@dataclass(frozen=True, slots=True)
class Unclear:
    """No answer, and no repetition of the attempt, can tell whether the provider has bound."""

    code: str
    message: str


def decide(claim: Claim, outcome: Outcome, rules: RetryRules) -> Settlement | Unclear:  # noqa: PLR0911 - one per verdict
    """What follows from a bind that was sent."""
    match outcome.verdict:
        case Verdict.DONE:
            return _bound(outcome)
        case Verdict.AMBIGUOUS:
            if rules.doubt_probe is not DoubtProbe.NONCE:
                return Unclear(outcome.code, outcome.message)
            return wait(outcome, rules.probe_after_ms, AttemptKnowledge.OPEN, had_doubt=1)
        case Verdict.NONCE_USED:
            return Unclear(outcome.code, "an earlier copy of this attempt reached the provider")
        case Verdict.THROTTLED:
            delay_ms = rules.backoff_ms(claim.throttles, outcome.retry_after_ms)
            return wait(outcome, delay_ms, _not_done(claim), throttles=claim.throttles + 1)
        case Verdict.ACCOUNT:
            delay_ms = rules.slow_backoff_ms(claim.throttles)
            return wait(outcome, delay_ms, _not_done(claim), throttles=claim.throttles + 1)
        case Verdict.NOT_PROCESSED:
            return _try_again(claim, outcome, rules.backoff_ms(claim.retries, outcome.retry_after_ms), rules)
        case Verdict.NO_NUMBER if not _may_be_our_own(claim):
            return _try_again(claim, outcome, rules.slow_backoff_ms(claim.retries), rules)
        case Verdict.CONFLICT | Verdict.NO_NUMBER if _may_be_our_own(claim):
            return Unclear(outcome.code, "an earlier attempt may hold the number that this one was refused")
        case _:
            return failed(outcome)


def on_doubt(claim: Claim, unclear: Unclear) -> Settlement:
    """Nobody can tell whether the provider has bound: hold for a person, or bind anew as the request says.

    An orphan that was risked once is not risked again: what then stays unclear is held.
    """
    fields: dict[str, str | int] = {"code": unclear.code, "message": unclear.message, "look_up_since": 0}
    if claim.on_doubt is OnDoubt.REBIND and not claim.is_late and not claim.possible_orphans:
        fields["possible_orphans"] = 1
        return Settlement(JobState.WAITING, AttemptKnowledge.CLOSED, fields)
    return Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN, fields)


def _may_be_our_own(claim: Claim) -> bool:
    return claim.is_probe or claim.had_doubt or claim.possible_orphans > 0


def _not_done(claim: Claim) -> AttemptKnowledge:
    # A refused probe says nothing of the copy that went before it.
    return AttemptKnowledge.OPEN if claim.is_probe else AttemptKnowledge.CLOSED


def _bound(outcome: Outcome) -> Settlement:
    number = bound_number(outcome.answer)
    assert number is not None, "DONE without a number"  # noqa: S101 - the outcome table calls that ambiguous
    return bound(number[1], number[0], told(outcome))


def bound(phone_no_x: str, subs_id: str, more: Mapping[str, str | int]) -> Settlement:
    """The provider has bound."""
    fields: dict[str, str | int] = {"phone_no_x": phone_no_x, "subs_id": subs_id, **more}
    return Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, fields)


def failed(outcome: Outcome) -> Settlement:
    """The provider has refused it for good."""
    return Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, told(outcome))


def _try_again(claim: Claim, outcome: Outcome, delay_ms: int, rules: RetryRules) -> Settlement | Unclear:
    if claim.retries < rules.attempts:
        return wait(outcome, delay_ms, _not_done(claim), retries=claim.retries + 1)
    return Unclear(outcome.code, outcome.message) if claim.is_probe else failed(outcome)


def wait(outcome: Outcome, delay_ms: int, knowledge: AttemptKnowledge, **counters: int) -> Settlement:
    """Another attempt follows."""
    return Settlement(JobState.WAITING, knowledge, {**told(outcome), **counters}, delay_ms=delay_ms)


def told(outcome: Outcome) -> dict[str, str | int]:
    """What the provider said, for the record."""
    return {"code": outcome.code, "message": outcome.message, "request_id": outcome.request_id}
