"""What can be settled of a claim without the provider. Pure."""

from datetime import timedelta

from worker.attempt.decisions import RetryRules, Unclear
from worker.domain.expiration import PROVIDER_MINIMUM, parse_expiration, unix_ms
from worker.domain.job import DoubtProbe, JobState
from worker.ledger.records import AttemptKnowledge, Claim, Settlement


def bind_refusal(claim: Claim, rules: RetryRules, margin: timedelta) -> Settlement | Unclear | None:
    """Why a bind is not sent, or None where it may be."""
    if claim.is_poison or claim.refusal:
        return change_refusal(claim)
    if claim.look_up_since:
        return Unclear(claim.code, claim.message)
    if claim.is_probe:
        return _probe_refusal(claim, rules, margin)
    if claim.is_late:
        return _too_late()
    return too_near() if is_expiration_near(claim, margin) else None


def _probe_refusal(claim: Claim, rules: RetryRules, margin: timedelta) -> Unclear | None:
    """Why the nonce of an unclear attempt is not sent again."""
    if rules.doubt_probe is not DoubtProbe.NONCE:
        return Unclear("doubt.no_probe", "an attempt was unclear, and its nonce is not to be sent again")
    if claim.now_ms - claim.began_at > rules.probe_window_ms:
        return Unclear("doubt.window_passed", "the same nonce may not be sent again so late")
    if claim.is_late:
        return Unclear("doubt.deadline_passed", "the deadline passed while an attempt was unclear")
    if is_expiration_near(claim, margin):
        return Unclear("doubt.expiration_near", "the Expiration came too near while an attempt was unclear")
    return None


def change_refusal(claim: Claim) -> Settlement | None:
    """Why an update or unbind is not sent, or None where it may be."""
    if claim.is_poison:
        return _poison(claim)
    if claim.refusal:
        return _unsent_end(JobState.FAILED, "request.invalid", claim.refusal)
    return _too_late() if claim.is_late else None


def too_near() -> Settlement:
    """The provider would refuse the Expiration."""
    return _unsent_end(JobState.FAILED, "expiration.too_near", "the Expiration is too near to be accepted")


def is_expiration_near(claim: Claim, margin: timedelta) -> bool:
    """Whether it is not surely more than the provider's minimum ahead."""
    ahead_ms = unix_ms(parse_expiration(claim.parameters["Expiration"])) - claim.now_ms
    return timedelta(milliseconds=ahead_ms) <= PROVIDER_MINIMUM + margin


def _poison(claim: Claim) -> Settlement:
    fields: dict[str, str | int] = {
        "code": "poison",
        "message": "given up: whoever worked on it died or stuck, time and again",
    }
    if claim.is_probe:
        fields["message"] = f"{fields['message']}; it may have been sent, so look for its binding before a new one"
        fields["possible_orphans"] = claim.possible_orphans + 1
    return Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, fields)


def _too_late() -> Settlement:
    fields: dict[str, str | int] = {
        "code": "deadline.passed", "message": "the deadline passed before it could be submitted",
    }  # fmt: skip
    return Settlement(JobState.EXPIRED, AttemptKnowledge.CLOSED, fields)


def _unsent_end(state: JobState, code: str, message: str) -> Settlement:
    return Settlement(state, AttemptKnowledge.UNSENT, {"code": code, "message": message})


def unsent_wait(claim: Claim, delay_ms: int, code: str, **counters: int) -> Settlement:
    """Nothing was sent this time; a probe stays one."""
    knowledge = AttemptKnowledge.OPEN if claim.is_probe else AttemptKnowledge.UNSENT
    return Settlement(JobState.WAITING, knowledge, {"code": code, **counters}, delay_ms=delay_ms)
