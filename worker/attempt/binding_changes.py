"""What follows from the outcome of an update or an unbind. Both set something absolute, so both may be repeated."""

import dataclasses

from worker.attempt.decisions import RetryRules, failed, told, wait
from worker.domain.job import JobKind, JobState
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.records import AttemptKnowledge, Claim, Settlement

_SUCCESS = {JobKind.UPDATE: JobState.UPDATED, JobKind.UNBIND: JobState.UNBOUND}
_PERHAPS_DONE = "an earlier attempt of this job may have ended it"


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
            counters = {"retries": claim.retries + 1}
            if outcome.verdict is not Verdict.NOT_PROCESSED:
                counters["had_doubt"] = 1
            return wait(outcome, delay_ms, AttemptKnowledge.CLOSED, **counters)
        case _:
            return failed(_perhaps_done(claim, outcome))


def _perhaps_done(claim: Claim, outcome: Outcome) -> Outcome:
    """A refusal, which says so where it may be this very job that has ended the binding."""
    is_unclear = (
        claim.kind is JobKind.UNBIND and outcome.verdict is Verdict.GONE and (claim.is_probe or claim.had_doubt)
    )
    return dataclasses.replace(outcome, message=f"{outcome.message}; {_PERHAPS_DONE}") if is_unclear else outcome
