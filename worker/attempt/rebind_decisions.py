"""What follows from each step of a rebind. Pure: a claim and what the step came to in, a settlement out.

Never are both numbers lost in silence, and never is a second new one bound in silence. So with another X the old
binding is ended only after the new one is known; with the same X, which has to be given up first, whatever happens
after that ends with X bound again, or with an end that says what became of it.
"""

import dataclasses
import json
from collections.abc import Mapping

from worker.attempt.binding_changes import decide_change
from worker.attempt.decisions import RetryRules, Unclear, bound, decide, told, wait
from worker.domain.job import JobKind, JobState
from worker.domain.outcome import Outcome, Verdict
from worker.domain.rebinding import RebindStep
from worker.ledger.rebind_record import Rebinding
from worker.ledger.records import AttemptKnowledge, Claim, Settlement

NEXT_STEP_MS = 1
"""So short a wait is spent in the process that made the step before."""
_REFUSED_FOR_MS = 30_000
"""So long, or for the read lag if that is longer, X may be refused as taken after we have given it up."""
_FIRST_AGAIN_MS = 250
_OF_X_GIVEN_UP = (RebindStep.BIND_SAME_X, RebindStep.RESTORE)
_BINDING = (RebindStep.BIND_NEW, *_OF_X_GIVEN_UP, RebindStep.LAST_RESORT)
_LONGEST_REASON = 300

Fields = Mapping[str, str | int]


def rebinding(claim: Claim) -> Rebinding:
    """Of a claim that has one."""
    assert claim.rebind is not None  # noqa: S101 - refused requests are settled before
    return claim.rebind


def is_binding(claim: Claim) -> bool:
    """Whether the claim's attempt is a BindAxn; an update's or unbind's is not asked about."""
    return claim.rebind is None or claim.rebind.step in _BINDING


def is_old_restored(settlement: Settlement) -> bool:
    """Whether a rebind ends so with what was the old binding bound again."""
    return settlement.state is JobState.FAILED and "subs_id" in settlement.fields


def what_ended(claim: Claim) -> str:
    """To be added to the message of a rebind's end that binds nothing more."""
    step = claim.rebind.step if claim.rebind else None
    if step in (*_OF_X_GIVEN_UP, RebindStep.LAST_RESORT):
        return "; the old binding has ended"
    return "; the old binding may have ended" if step is RebindStep.UNBIND_OLD else ""


def has_bound(claim: Claim, settlement: Settlement) -> bool:
    """Whether this attempt has made a binding that nobody else may know of."""
    return "subs_id" in settlement.fields and is_binding(claim)


def next_step(step: RebindStep, fields: Fields, knowledge: AttemptKnowledge = AttemptKnowledge.CLOSED) -> Settlement:
    """The step before is done: its counters are not those of the next one."""
    anew = dict.fromkeys(("retries", "throttles", "had_doubt", "look_up_since", "refused_since"), 0)
    return Settlement(JobState.WAITING, knowledge, {**fields, **anew, "step": step.value}, delay_ms=NEXT_STEP_MS)


# --- what of each step is settled without the provider ---


def poisoned(claim: Claim) -> Settlement:
    """Whoever worked on it died, time and again: the end tells at which step, and what may be bound."""
    rebind, may_have_sent = rebinding(claim), _may_have_been_sent(claim)
    fields: dict[str, str | int] = {"code": "poison"}
    state, what = JobState.FAILED, "nothing was changed"
    match rebind.step:
        case RebindStep.BIND_NEW if may_have_sent:
            what = "the old number is bound; a new one may be, too: look for it before another rebind"
            fields["possible_orphans"] = claim.possible_orphans + 1
        case RebindStep.UNBIND_OLD if rebind.is_on_new_x:
            state, what = JobState.OLD_LEFT_BOUND, "the new number is bound; the old one may be, too"
            fields |= {"phone_no_x": rebind.phone_no_x, "subs_id": rebind.subs_id}
        case RebindStep.UNBIND_OLD if may_have_sent:
            what = "the old binding may have ended, and its X be bound to nobody: look it up"
        case RebindStep.BIND_SAME_X | RebindStep.RESTORE:
            what = "the old binding has ended, and its X may be bound to nobody: look it up"
            fields["possible_orphans"] = claim.possible_orphans + may_have_sent
        case RebindStep.LAST_RESORT:
            what = "the old binding has ended; another X may be bound in its place, or none"
            fields["possible_orphans"] = claim.possible_orphans + may_have_sent
    died = f"given up at the step {rebind.step}: whoever worked on it died or stuck, time and again"
    return Settlement(state, AttemptKnowledge.CLOSED, {**fields, "message": f"{died}; {what}"})


def _may_have_been_sent(claim: Claim) -> bool:
    return claim.is_probe or claim.had_doubt


def is_untouched(claim: Claim) -> bool:
    """Whether the provider has surely been asked for no change yet: the job may still be left alone."""
    rebind = rebinding(claim)
    if rebind.step is RebindStep.LOOK_UP:
        return True
    is_first_change = rebind.step is RebindStep.UNBIND_OLD and not rebind.is_on_new_x
    return is_first_change and not _may_have_been_sent(claim)


# --- look_up ---


def looked_up(claim: Claim, outcome: Outcome, new: Fields, old: Fields, *, made_by: str = "") -> Settlement:
    """The old binding was read.

    Args:
        claim: of the rebind.
        outcome: of the query.
        new: parameters of the bind to come.
        old: parameters that would make the old binding again.
        made_by: the job that made the old one, where that is known.
    """
    step = RebindStep.BIND_NEW if rebinding(claim).is_on_new_x else RebindStep.UNBIND_OLD
    known: Fields = {"binding_id": made_by} if made_by else {}
    return next_step(step, {**told(outcome), **known, "request": _json(new), "old": _json(old)})


def not_looked_up(claim: Claim, outcome: Outcome, rules: RetryRules) -> Settlement:
    """The provider did not say; nothing is changed yet."""
    closed = AttemptKnowledge.CLOSED
    match outcome.verdict:
        case Verdict.THROTTLED:
            delay_ms = rules.backoff_ms(claim.throttles, outcome.retry_after_ms)
            return wait(outcome, delay_ms, closed, throttles=claim.throttles + 1)
        case Verdict.ACCOUNT:
            return wait(outcome, rules.slow_backoff_ms(claim.throttles), closed, throttles=claim.throttles + 1)
        case Verdict.WRONG_REQUEST:
            return _failed(told(outcome))
        case _ if claim.retries < rules.attempts:
            return wait(outcome, rules.backoff_ms(claim.retries), closed, retries=claim.retries + 1)
        case _:
            return _failed(told(outcome))


def unreadable(outcome: Outcome) -> Settlement:
    """The provider does not say enough of the old binding; nothing was changed."""
    message = "the provider tells no A or no Expiration of the old binding; nothing was changed"
    return _failed({**told(outcome), "code": "binding.unreadable", "message": message})


def gone(outcome: Outcome) -> Settlement:
    """There is no old binding to replace; nothing was changed."""
    message = "the old binding has ended already, and a new one was not made"
    return _failed({**told(outcome), "code": "binding.gone", "message": message})


# --- unbind_old ---


def decide_unbind(claim: Claim, outcome: Outcome, rules: RetryRules) -> Settlement:
    """The old binding was asked to end. It was seen active, so that GONE means that it has ended."""
    settlement = decide_change(dataclasses.replace(claim, kind=JobKind.UNBIND, is_confirmed=True), outcome, rules)
    if rebinding(claim).is_on_new_x:
        return _after_unbinding_second(claim, settlement)
    return _after_unbinding_first(claim, outcome, settlement)


def _after_unbinding_second(claim: Claim, settlement: Settlement) -> Settlement:
    if settlement.state is JobState.WAITING:
        return settlement
    rebind = rebinding(claim)
    if settlement.state is JobState.UNBOUND:
        fields = {**settlement.fields, "code": "OK", "message": "bound anew, and the old binding has ended"}
        return bound(rebind.phone_no_x, rebind.subs_id, fields)
    fields = {**settlement.fields, "phone_no_x": rebind.phone_no_x, "subs_id": rebind.subs_id}
    return Settlement(JobState.OLD_LEFT_BOUND, AttemptKnowledge.CLOSED, fields)


def _after_unbinding_first(claim: Claim, outcome: Outcome, settlement: Settlement) -> Settlement:
    if settlement.state is JobState.UNBOUND:
        return next_step(RebindStep.BIND_SAME_X, {**settlement.fields, "deadline_at": 0})
    is_unclear = _may_have_been_sent(claim) or outcome.verdict in (Verdict.AMBIGUOUS, Verdict.NONCE_USED)
    if not is_unclear:
        return settlement
    # Too late for a deadline: the number may be gone.
    fields = {**settlement.fields, "had_doubt": 1, "deadline_at": 0}
    if settlement.state is JobState.WAITING:
        return dataclasses.replace(settlement, fields=fields)
    message = f"the old binding may have ended, and its X was not bound again: {outcome.message}"
    return Settlement(JobState.IN_DOUBT, AttemptKnowledge.CLOSED, {**fields, "message": message})


# --- the steps that bind ---


def decide_bind(claim: Claim, outcome: Outcome, rules: RetryRules) -> Settlement | Unclear:
    """What follows from a BindAxn of any step, in the words of a bind job; `after_bind` says what that means here."""
    if rebinding(claim).step not in _OF_X_GIVEN_UP:
        return decide(claim, outcome, rules)
    if outcome.verdict is Verdict.CONFLICT and not (_may_have_been_sent(claim) or claim.possible_orphans):
        return _x_refused(claim, outcome, rules)
    if outcome.verdict is Verdict.NO_NUMBER:  # for a chosen X no pool needs to fill up: do not wait for it long
        outcome = dataclasses.replace(outcome, verdict=Verdict.NOT_PROCESSED)
    return decide(claim, outcome, rules)


def _x_refused(claim: Claim, outcome: Outcome, rules: RetryRules) -> Settlement:
    """Taken, though we have just given it up, and not by us: the provider is behind, or another has it."""
    since = rebinding(claim).refused_since or claim.now_ms
    for_ms = claim.now_ms - since
    if for_ms >= max(_REFUSED_FOR_MS, rules.read_lag_ms):
        return _failed(told(outcome))
    tries = max(0, for_ms // _FIRST_AGAIN_MS).bit_length()
    delay_ms = max(_FIRST_AGAIN_MS, rules.backoff_ms(tries))
    return wait(outcome, delay_ms, AttemptKnowledge.CLOSED, refused_since=since)


def after_bind(claim: Claim, settlement: Settlement) -> Settlement:
    """What a bind's settlement means at this step of a rebind."""
    match settlement.state:
        case JobState.BOUND:
            return after_bound(claim, settlement)
        case JobState.FAILED:
            return _after_refused(claim, settlement)
        case _:
            return settlement


def after_bound(claim: Claim, settlement: Settlement) -> Settlement:
    """A number is bound."""
    rebind, fields = rebinding(claim), settlement.fields
    match rebind.step:
        case RebindStep.BIND_NEW:
            return next_step(RebindStep.UNBIND_OLD, {**fields, "deadline_at": 0})
        case RebindStep.RESTORE:
            message = f"X is bound as it was before, since it could not be bound as asked: {rebind.reason}"
            return _failed({**fields, "code": "rebind.restored", "message": message})
        case RebindStep.LAST_RESORT:
            message = f"another X is bound as the old one was, since that could not be kept: {rebind.reason}"
            return _failed({**fields, "code": "rebind.moved", "message": message})
        case _:
            return settlement


def _after_refused(claim: Claim, settlement: Settlement) -> Settlement:
    rebind = rebinding(claim)
    code, message = (str(settlement.fields.get(name, "")) for name in ("code", "message"))
    refusal = f"{code} {message}"[:_LONGEST_REASON]
    match rebind.step:
        case RebindStep.BIND_SAME_X if code not in _TAKEN_CODES:
            fields = {**settlement.fields, "reason": refusal, "request": _json(rebind.old)}
            return next_step(RebindStep.RESTORE, fields, settlement.knowledge)
        case RebindStep.BIND_SAME_X | RebindStep.RESTORE:
            anywhere = {name: value for name, value in rebind.old.items() if name != "PhoneNoX"}
            fields = {**settlement.fields, "reason": rebind.reason or refusal, "request": _json(anywhere)}
            return next_step(RebindStep.LAST_RESORT, fields, settlement.knowledge)
        case RebindStep.LAST_RESORT:
            message = f"the old binding has ended, and nothing could be bound in its place: {rebind.reason}; {refusal}"
            return _failed({**settlement.fields, "code": "rebind.lost", "message": message}, settlement.knowledge)
        case _:
            return settlement


_TAKEN_CODES = ("isv.BIND_CONFLICT", "isv.NO_USED_BY_OTHERS")
"""X is another's: to restore the old binding would meet the same."""


def _failed(fields: Fields, knowledge: AttemptKnowledge = AttemptKnowledge.CLOSED) -> Settlement:
    return Settlement(JobState.FAILED, knowledge, fields)


def _json(parameters: Fields) -> str:
    return json.dumps(dict(parameters), ensure_ascii=False, separators=(",", ":"))
