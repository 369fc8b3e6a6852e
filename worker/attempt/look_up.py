"""What became of a bind with a chosen X: asked of the provider, whose queries find a binding by its X alone.

QuerySubsId names the bindings of X, QuerySubscriptionDetail says whose they are. A query may show an older state, so
finding the binding settles the matter at once, and not finding it only after the read lag.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from worker.attempt.decisions import RetryRules, Unclear, bound, on_doubt, wait
from worker.domain.job import JobState
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.records import AttemptKnowledge, Claim, Settlement
from worker.provider.actions import QuerySubscriptionDetail, QuerySubsId
from worker.provider.api import ProviderApi
from worker.provider.replies import SubscriptionDetail

_ACTIVE = 1
_FIRST_AGAIN_MS = 250


class Finding(StrEnum):
    """What the provider shows."""

    OURS = "ours"
    """X is bound as the job asked."""
    FREE = "free"
    """X has no binding."""
    TAKEN = "taken"
    """X is bound to another A."""
    ALTERED = "altered"
    """X is bound to our A, but with another B or Expiration: an earlier binding, or ours and changed since."""
    UNANSWERED = "unanswered"
    """The provider did not say."""


@dataclass(frozen=True, slots=True)
class LookedUp:
    """One look.

    Attributes:
        subs_id: of our binding.
        outcome: of the last query.
    """

    finding: Finding
    outcome: Outcome
    subs_id: str = ""


def can_look_up(parameters: Mapping[str, str]) -> bool:
    """Whether the request names what a look-up needs. Old accounts' NoType is no substitute for the pool."""
    return bool(parameters.get("PhoneNoX") and parameters.get("PoolKey"))


async def look_up(provider: ProviderApi, parameters: Mapping[str, str], *, ended: str = "") -> LookedUp:
    """Ask the provider whether X is bound as these parameters of BindAxn say. Raises nothing but CancelledError.

    Args:
        provider: whom to ask.
        parameters: of the bind in question.
        ended: SubsId of a binding that has ended, whatever an older state of it may look like.
    """
    x, pool = parameters["PhoneNoX"], parameters["PoolKey"]
    named = await provider.query_subs_id(QuerySubsId(phone_no_x=x, pool_key=pool))
    if named.content is None:
        finding = Finding.FREE if named.outcome.verdict in (Verdict.DONE, Verdict.GONE) else Finding.UNANSWERED
        return LookedUp(finding, named.outcome)
    seen = LookedUp(Finding.FREE, named.outcome)
    for subs_id in named.content.subs_ids:
        if subs_id == ended:
            continue
        one = await _detail(provider, parameters, subs_id)
        if one.finding in (Finding.OURS, Finding.UNANSWERED):
            return one
        if one.finding is not Finding.FREE and seen.finding is not Finding.ALTERED:
            seen = one
    return seen


async def _detail(provider: ProviderApi, parameters: Mapping[str, str], subs_id: str) -> LookedUp:
    x, pool = parameters["PhoneNoX"], parameters["PoolKey"]
    reply = await provider.query_subscription_detail(
        QuerySubscriptionDetail(subs_id=subs_id, phone_no_x=x, pool_key=pool)
    )
    if reply.content is None:
        is_gone = reply.outcome.verdict is Verdict.GONE
        return LookedUp(Finding.FREE if is_gone else Finding.UNANSWERED, reply.outcome)
    return LookedUp(_whose(reply.content, parameters), reply.outcome, subs_id)


def _whose(binding: SubscriptionDetail, parameters: Mapping[str, str]) -> Finding:
    if binding.status not in (None, _ACTIVE):
        return Finding.FREE
    if binding.phone_no_a != parameters["PhoneNoA"]:
        return Finding.TAKEN
    is_as_asked = binding.expire_date == parameters["Expiration"] and (
        "PhoneNoB" not in parameters or binding.phone_no_b == parameters["PhoneNoB"]
    )
    return Finding.OURS if is_as_asked else Finding.ALTERED


def decide_look_up(
    claim: Claim, looked_up: LookedUp, unclear: Unclear, *, now_ms: int, rules: RetryRules
) -> Settlement:
    """What follows from a look.

    Args:
        claim: of a bind in question.
        looked_up: what was seen.
        unclear: why it is in question.
        now_ms: Unix ms by Redis's clock.
        rules: of retries and doubt.
    """
    since = claim.look_up_since or now_ms
    asked_for_ms = now_ms - since
    finding, outcome = looked_up.finding, looked_up.outcome
    if finding is Finding.OURS:
        return _found(claim, looked_up)
    if finding is Finding.UNANSWERED:
        if asked_for_ms > rules.probe_window_ms:
            return on_doubt(claim, unclear)
        tries = max(0, asked_for_ms // _FIRST_AGAIN_MS).bit_length()
        return _look_again(since, unclear, max(_FIRST_AGAIN_MS, rules.backoff_ms(tries, outcome.retry_after_ms)))
    if asked_for_ms < rules.read_lag_ms:
        return _look_again(since, unclear, min(rules.read_lag_ms - asked_for_ms, max(_FIRST_AGAIN_MS, asked_for_ms)))
    if finding is Finding.ALTERED:
        return on_doubt(claim, Unclear("look_up.altered", "X is bound to this A, with another B or Expiration"))
    return _not_bound(claim, finding, unclear, rules)


def _found(claim: Claim, looked_up: LookedUp) -> Settlement:
    message = "found by look-up after an attempt whose outcome was unclear"
    return bound(
        claim.parameters["PhoneNoX"],
        looked_up.subs_id,
        {"code": "OK", "message": message, "request_id": looked_up.outcome.request_id},
    )


def _look_again(since_ms: int, unclear: Unclear, delay_ms: int) -> Settlement:
    fields: dict[str, str | int] = {
        "code": unclear.code, "message": unclear.message, "look_up_since": since_ms, "had_doubt": 1,
    }  # fmt: skip
    return Settlement(JobState.WAITING, AttemptKnowledge.OPEN, fields, delay_ms=delay_ms)


def _not_bound(claim: Claim, finding: Finding, unclear: Unclear, rules: RetryRules) -> Settlement:
    """The attempt did not bind X: nobody did, or somebody else."""
    if finding is Finding.TAKEN:
        fields: dict[str, str | int] = {"code": "isv.BIND_CONFLICT", "message": "X is bound to another A"}
        return Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, fields)
    if claim.retries >= rules.attempts:
        return on_doubt(claim, unclear)
    again = Outcome(Verdict.NOT_PROCESSED, "look_up.free", "the attempt did not bind X; it is tried anew")
    return wait(
        again,
        rules.backoff_ms(claim.retries),
        AttemptKnowledge.CLOSED,
        retries=claim.retries + 1,
        look_up_since=0,
        had_doubt=1,
    )
