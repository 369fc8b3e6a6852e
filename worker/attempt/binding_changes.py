"""What follows from the outcome of an update or an unbind. Both set something absolute, so both may be repeated."""

from worker.attempt.decisions import RetryRules, failed, told, wait
from worker.domain.job import JobKind, JobState
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.records import AttemptKnowledge, Claim, Settlement

_SUCCESS = {JobKind.UPDATE: JobState.UPDATED, JobKind.UNBIND: JobState.UNBOUND}


def decide_change(claim: Claim, outcome: Outcome, rules: RetryRules) -> Settlement:
    """What follows from an update or unbind that was sent."""
    match outcome.verdict:
        case Verdict.DONE:
            return Settlement(_SUCCESS[claim.kind], AttemptKnowledge.CLOSED, told(outcome))
        case Verdict.GONE if claim.kind is JobKind.UNBIND and claim.is_confirmed:
            # A wrong SubsId, X or pool is answered alike: only of a confirmed binding it means that it has ended.
            return Settlement(JobState.UNBOUND, AttemptKnowledge.CLOSED, told(outcome))
        case Verdict.THROTTLED:
            delay_ms = rules.backoff_ms(claim.throttles, outcome.retry_after_ms)
            return wait(outcome, delay_ms, AttemptKnowledge.CLOSED, throttles=claim.throttles + 1)
        case Verdict.ACCOUNT:
            delay_ms = rules.slow_backoff_ms(claim.throttles)
            return wait(outcome, delay_ms, AttemptKnowledge.CLOSED, throttles=claim.throttles + 1)
        case Verdict.NOT_PROCESSED | Verdict.AMBIGUOUS | Verdict.NONCE_USED if claim.retries < rules.attempts:
            # Closed although it may have been done: the repetition needs a nonce of its own.
            delay_ms = rules.backoff_ms(claim.retries, outcome.retry_after_ms)
            return wait(outcome, delay_ms, AttemptKnowledge.CLOSED, retries=claim.retries + 1)
        case _:
            return failed(outcome)
