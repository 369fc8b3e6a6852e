"""How renewals are made, and what follows from an outcome that is no success. Pure."""

from dataclasses import dataclass

from worker.attempt.decisions import RetryRules
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.kept_binding import KeptBinding

_LEAST_DELAY_MS = 1_000
_TRIES_LEFT = 4
"""However long a failed renewal waits, so many more tries fit before the binding's end."""
_LATE_SHARE = 4
_SENT_AWAY = (Verdict.THROTTLED, Verdict.ACCOUNT)
_UNCLEAR = (Verdict.AMBIGUOUS, Verdict.NONCE_USED)
_FOR_A_PERSON = (Verdict.ACCOUNT, Verdict.WRONG_REQUEST, Verdict.CONFLICT, Verdict.NO_NUMBER)


@dataclass(frozen=True, slots=True)
class RenewalRules:
    """How long things may take, in ms.

    Attributes:
        lease_ms: how long a partition's session is this process's, unless it goes on.
        width: renewals of one partition at a time.
        hold_ms: how long a request may be under way: so long nobody else may change the binding.
        spread: as `worker.domain.renewal.due_at` takes it.
        read_lag_ms: how long the provider's queries may show an older state.
        full_phone_no_a: callbacks tell A itself, not its masked form.
    """

    lease_ms: int
    width: int
    hold_ms: int
    spread: float
    read_lag_ms: int
    retry: RetryRules
    full_phone_no_a: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """What follows from a try that came to nothing.

    Attributes:
        needs_person: it will not mend itself, as far as one can tell.
        is_throttle: it was only sent away, for now.
        is_unclear: it may still be under way.
    """

    delay_ms: int
    code: str
    message: str
    needs_person: bool
    is_throttle: bool = False
    is_unclear: bool = False


def failure_of(kept: KeptBinding, outcome: Outcome, now_ms: int, rules: RenewalRules) -> Failure:
    """Of a renewal that was sent: it sets something absolute, so whatever became of it, it may simply be repeated."""
    retry = rules.retry
    is_throttle = outcome.verdict in _SENT_AWAY
    tries = kept.throttles if is_throttle else kept.failures
    if outcome.verdict in _FOR_A_PERSON:
        delay_ms, needs_person = retry.slow_backoff_ms(tries), True
    else:
        delay_ms = retry.backoff_ms(tries, outcome.retry_after_ms)
        needs_person = not is_throttle and tries + 1 >= retry.attempts
    is_unclear = outcome.verdict in _UNCLEAR
    return Failure(
        max(bounded_delay_ms(kept, delay_ms, now_ms), rules.hold_ms if is_unclear else 0),
        outcome.code,
        outcome.message,
        needs_person or is_late(kept, now_ms),
        is_throttle=is_throttle,
        is_unclear=is_unclear,
    )


def is_late(kept: KeptBinding, now_ms: int) -> bool:
    """Whether three quarters of the lead have passed: whatever is in the way, a person should hear of it by now."""
    length_ms = kept.policy.extend_by_ms if kept.number else kept.expires_at - kept.bound_at
    return kept.expires_at - now_ms < min(kept.policy.lead_ms, length_ms // 2) // _LATE_SHARE


def bounded_delay_ms(kept: KeptBinding, delay_ms: int, now_ms: int) -> int:
    """A delay that leaves time for more tries before the binding's end; past it there is no hurry any more."""
    left_ms = kept.expires_at - now_ms
    return min(delay_ms, max(_LEAST_DELAY_MS, left_ms // _TRIES_LEFT)) if left_ms > 0 else delay_ms
