"""A rebind: several steps, each a claim and an attempt of its own.

What a step came to is settled before the next one is begun: a worker that dies in between leaves a job that says where
to go on, and one that dies in a step leaves an open attempt, whose nonce the next worker sends again.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from redis.exceptions import RedisError

from worker.attempt.binding_line import BINDING_BUSY_MS, BindingOrder, is_first_in_line
from worker.attempt.decisions import RetryRules, Unclear
from worker.attempt.leases import Lease
from worker.attempt.paced_provider import PacedProvider
from worker.attempt.rebind_decisions import (
    after_bind,
    decide_bind,
    decide_unbind,
    gone,
    is_old_restored,
    is_untouched,
    looked_up,
    not_looked_up,
    poisoned,
    rebinding,
    unreadable,
)
from worker.attempt.rebind_parameters import is_enough, new_parameters, old_parameters
from worker.attempt.refusals import bind_refusal, change_refusal, is_expiration_near, too_near, unsent_wait
from worker.attempt.stopping import Stop
from worker.attempt.telling import settled_fields
from worker.clock import Clock
from worker.domain.outcome import Outcome, Verdict
from worker.domain.rebinding import RebindStep
from worker.errors import JobNotFoundError
from worker.ledger.ledger import Ledger
from worker.ledger.rebind_record import Rebinding
from worker.ledger.records import BrokenRecordError, Claim, Settlement
from worker.logs import get_log
from worker.provider.actions import QuerySubscriptionDetail
from worker.provider.api import ProviderApi

_log = get_log(__name__)
_ACTIVE = 1
_SEEN_AGAIN_MS = 1_000
_TELL_AGAIN_MS = 250


class Replacements(Protocol):
    """Who keeps the record of the old binding. Each may be told twice. Raises RedisError where Redis is away."""

    async def made_by(self, claim: Claim) -> str:
        """The job that made the old binding, as far as is known; else empty."""

    async def replaced(self, claim: Claim) -> None:
        """The old binding has ended for this rebind."""

    async def restored(self, claim: Claim, phone_no_x: str, subs_id: str) -> None:
        """What was the old binding is bound again, under this SubsId and on this X."""


class Rules(Protocol):
    """What a rebind needs to know of `AttemptRules`."""

    @property
    def retry(self) -> RetryRules: ...

    @property
    def expiration_margin(self) -> timedelta: ...


class Hands(Protocol):
    """What a rebind needs of `worker.attempt.attempt`."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def provider(self) -> PacedProvider: ...

    @property
    def bindings(self) -> BindingOrder: ...

    @property
    def replacements(self) -> Replacements: ...

    @property
    def rules(self) -> Rules: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def stop(self) -> Stop: ...

    async def send(self, lease: Lease, action: str, parameters: Mapping[str, str]) -> Outcome | Settlement:
        """Send the claim's attempt, or say why it was not sent."""

    async def clear_up(self, lease: Lease, unclear: Unclear) -> Settlement:
        """What follows from a bind whose outcome no answer tells."""


async def rebind(hands: Hands, lease: Lease) -> Settlement:
    """One step of the job."""
    claim = lease.claim
    end = _refusal(hands, claim)
    if end is None and not await is_first_in_line(hands.bindings, hands.ledger, claim):
        return unsent_wait(claim, BINDING_BUSY_MS, "binding.busy")
    if end is None:
        match rebinding(claim).step:
            case RebindStep.LOOK_UP:
                end = await _look_up(hands, claim)
            case RebindStep.UNBIND_OLD:
                end = await _unbind_old(hands, lease)
            case _:
                end = await _bind(hands, lease)
    _log_loss(claim, end)
    return end


def _refusal(hands: Hands, claim: Claim) -> Settlement | None:
    """Why nothing is sent, where the step before the provider's first change decides, or the job is poison."""
    if claim.rebind is None or (claim.refusal and not claim.is_poison):
        return change_refusal(claim)
    if claim.is_poison:
        return poisoned(claim)
    if not is_untouched(claim):
        return None
    if claim.is_late:
        return change_refusal(claim)
    if claim.rebind.step is RebindStep.UNBIND_OLD and is_expiration_near(claim, hands.rules.expiration_margin):
        return too_near()
    return None


async def _look_up(hands: Hands, claim: Claim) -> Settlement:
    reply = await ProviderApi(hands.provider.for_lane(claim.lane)).query_subscription_detail(
        _query_of(rebinding(claim))
    )
    if reply.content is None and reply.outcome.verdict is not Verdict.GONE:
        return not_looked_up(claim, reply.outcome, hands.rules.retry)
    job_id = await hands.replacements.made_by(claim)
    made = await _record_of(hands.ledger, job_id)
    if reply.outcome.verdict is Verdict.GONE and _is_too_new_to_be_seen(claim, made, hands.rules.retry):
        return unsent_wait(claim, _SEEN_AGAIN_MS, "binding.unseen")
    if reply.content is None or reply.content.status not in (None, _ACTIVE):
        return gone(reply.outcome)
    record = made.parameters if made else {}
    old = old_parameters(rebinding(claim), reply.content, record)
    new = new_parameters(rebinding(claim), old, claim.parameters)
    if not is_enough(new) or not (is_enough(old) or rebinding(claim).is_on_new_x):
        return unreadable(reply.outcome)
    return looked_up(claim, reply.outcome, new, old, made_by=job_id)


def _query_of(rebind: Rebinding) -> QuerySubscriptionDetail:
    return QuerySubscriptionDetail(
        subs_id=rebind.old_subs_id,
        phone_no_x=rebind.old_phone_no_x,
        pool_key=rebind.old_pool_key or None,
        product_type=None if rebind.old_pool_key else rebind.old_product_type,
    )


async def _record_of(ledger: Ledger, job_id: str) -> Claim | None:
    """Of the job that made the old binding, if it is still there."""
    try:
        return await ledger.claim_of_ended(job_id) if job_id else None
    except (JobNotFoundError, BrokenRecordError):
        return None


def _is_too_new_to_be_seen(claim: Claim, made: Claim | None, rules: RetryRules) -> bool:
    return made is not None and claim.now_ms - made.finished_at < rules.read_lag_ms


async def _unbind_old(hands: Hands, lease: Lease) -> Settlement:
    sent = await hands.send(lease, "UnbindSubscription", rebinding(lease.claim).unbind_parameters)
    if isinstance(sent, Settlement):
        return sent
    if sent.verdict in (Verdict.DONE, Verdict.GONE):
        # Before it is settled: a worker that dies in between finds the binding gone, and says this again.
        await hands.replacements.replaced(lease.claim)
    return decide_unbind(lease.claim, sent, hands.rules.retry)


async def _bind(hands: Hands, lease: Lease) -> Settlement:
    claim, retry = lease.claim, hands.rules.retry
    end = bind_refusal(claim, retry, hands.rules.expiration_margin)
    if end is None:
        sent = await hands.send(lease, "BindAxn", claim.parameters)
        end = sent if isinstance(sent, Settlement) else decide_bind(claim, sent, retry)
    if isinstance(end, Unclear):
        end = await hands.clear_up(lease, end)
    end = after_bind(claim, end)
    if is_old_restored(end):
        await _tell_restored(hands, claim, end)
    return end


async def _tell_restored(hands: Hands, claim: Claim, end: Settlement) -> None:
    """However long Redis is away: what was bound is known here alone. A process that stops gives up."""
    while True:
        try:
            await hands.replacements.restored(claim, str(end.fields["phone_no_x"]), str(end.fields["subs_id"]))
        except (RedisError, OSError) as failure:
            if hands.stop.is_begun:
                _log.error(
                    "replacement of a binding told to nobody", job_id=claim.job_id, subs_id=end.fields["subs_id"]
                )
                return
            _log.warning(
                "Redis is away, telling a replacement again", job_id=claim.job_id, error=type(failure).__name__
            )
            await hands.clock.sleep_ms(_TELL_AGAIN_MS)
        else:
            return


def _log_loss(claim: Claim, end: Settlement) -> None:
    step = claim.rebind.step if claim.rebind else None
    is_lost = end.fields.get("code") in ("rebind.lost", "rebind.moved")
    if is_lost or (end.state.is_end and claim.is_poison and not (step is None or is_untouched(claim))):
        _log.error("number lost by a rebind", **settled_fields(claim, end), step=step, message=end.fields["message"])
