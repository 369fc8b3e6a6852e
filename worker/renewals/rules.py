"""How renewals are made, and what follows from an outcome that is no success. Pure."""

from dataclasses import dataclass

from worker.attempt.decisions import RetryRules
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.kept_binding import KeptBinding

_LEAST_DELAY_MS = 1_000
_TRIES_LEFT = 4
"""However long a failed renewal waits, so many more tries fit before the binding's end."""
_LATE_SHARE = 4
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
    """

    delay_ms: int
    code: str
    message: str
    needs_person: bool


def failure_of(kept: KeptBinding, outcome: Outcome, now_ms: int, rules: RenewalRules) -> Failure:
    """Of a renewal that was sent: it sets something absolute, so whatever became of it, it may simply be repeated."""
    retry = rules.retry
    if outcome.verdict in _FOR_A_PERSON:
        delay_ms, needs_person = retry.slow_backoff_ms(kept.failures), True
    else:
        delay_ms = retry.backoff_ms(kept.failures, outcome.retry_after_ms)
        needs_person = kept.failures + 1 >= retry.attempts and outcome.verdict is not Verdict.THROTTLED
    needs_person = needs_person or is_late(kept, now_ms)
    return Failure(bounded_delay_ms(kept, delay_ms, now_ms), outcome.code, outcome.message, needs_person)


def is_late(kept: KeptBinding, now_ms: int) -> bool:
    """Whether three quarters of the lead have passed: whatever is in the way, a person should hear of it by now."""
    length_ms = kept.policy.extend_by_ms if kept.number else kept.expires_at - kept.bound_at
    return kept.expires_at - now_ms < min(kept.policy.lead_ms, length_ms // 2) // _LATE_SHARE


def bounded_delay_ms(kept: KeptBinding, delay_ms: int, now_ms: int) -> int:
    """A delay that leaves time for more tries before the binding's end."""
    return min(delay_ms, max(_LEAST_DELAY_MS, (kept.expires_at - now_ms) // _TRIES_LEFT))
