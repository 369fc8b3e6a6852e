"""One renewal, top to bottom: permit -> place in line -> begin -> send -> settle -> leave the line.

It sets an absolute end that follows from the binding and the number of its renewals, and so does its nonce. So a
process that dies anywhere in between is simply followed by another one, and only one of them is counted: settling is
refused once the number has moved on.

Renewals of a binding and jobs that change it go one at a time, in `BindingQueue`. A renewal never waits in line there:
it gives way and comes back, so that the last word is a person's.
"""

import dataclasses
import secrets
from dataclasses import dataclass
from typing import Protocol

from worker.attempt.binding_line import BindingOrder
from worker.attempt.paced_provider import PacedProvider
from worker.callbacks.events import BindingEvent
from worker.clock import Clock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.domain.renewal import due_at, next_target
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.ledger import Ledger
from worker.ledger.renewal_keys import renewal_holder
from worker.ledger.renewals import Place, RenewalEnd, Renewals
from worker.logs import get_log
from worker.pace.permit import Permit
from worker.provider.actions import UpdateSubscription
from worker.provider.nonce import attempt_nonce
from worker.renewals.expiry_guard import ExpiryGuard
from worker.renewals.rules import Failure, RenewalRules, bounded_delay_ms, failure_of, is_late
from worker.renewals.telling import moment_of, told_of, wire_of
from worker.steps import reached

_log = get_log(__name__)
_ACTION = "UpdateSubscription"
_CHANGED_MS = 200
_BUSY_MS = 500
_MOST_LEFTOVERS = 20
CLEAN = {"renew_failures": "", "renew_throttles": "", "renew_code": ""}
"""Of a record whose next renewal has not been tried."""


class Gone(Protocol):
    """Who sees to bindings that have ended: `worker.renewals.gone`."""

    async def look(self, kept: KeptBinding) -> Place | None:
        """Make sure that it has ended, and begin what its policy says."""

    async def follow(self, kept: KeptBinding) -> Place | None:
        """Go on with it."""

    async def unbind(self, binding_id: str) -> Place:
        """End it: its order was closed."""


def later(kept: KeptBinding, delay_ms: int, now_ms: int = 0) -> Place:
    """Look at it again after so long from now, or from when it was read; nothing was sent."""
    return Place(kept.binding_id, is_due=False, at_ms=(now_ms or kept.read_at) + delay_ms)


def dropped(binding_id: str) -> Place:
    """It is kept no more."""
    return Place(binding_id, is_due=False, at_ms=0)


@dataclass(frozen=True, slots=True)
class Renewer:
    """Renews bindings.

    Attributes:
        queue: who may change a binding.
        ledger: tells which of those before a renewal in line have ended.
        gone: what follows where there is nothing to renew any more.
    """

    renewals: Renewals
    queue: BindingOrder
    ledger: Ledger
    provider: PacedProvider
    expiry: ExpiryGuard
    gone: Gone
    rules: RenewalRules
    clock: Clock

    async def renew(self, kept: KeptBinding) -> Place | None:
        """Renew one binding whose time has come.

        Returns:
            Where it belongs now; None where that is written already.

        Raises:
            RedisError: Redis is away; somebody makes the same renewal again.
        """
        if kept.step:
            return await self.gone.follow(kept)
        if kept.is_active and not kept.is_closed:
            return await self._keep(kept)
        return dropped(kept.binding_id)

    async def unbind(self, binding_id: str) -> Place:
        """End one whose order was closed while it was bound. Returns and raises as `renew`."""
        return await self.gone.unbind(binding_id)

    async def _keep(self, kept: KeptBinding) -> Place | None:
        if kept.expires_at <= kept.read_at:
            return await self.gone.look(kept)
        target = next_target(kept.policy, kept.expires_at, kept.read_at)
        if target is None:
            return dropped(kept.binding_id)
        permission = await self.expiry.permission(kept, target)
        if permission.wait_ms:
            return await self._stands_still(kept, permission.wait_ms, permission.code)
        sent = await (self._checked(kept, target) if permission.is_check else self._sent(kept, target))
        if isinstance(sent, Place):
            return sent
        return await self.gone.look(kept) if sent.verdict is Verdict.GONE else None

    async def _checked(self, kept: KeptBinding, target: int) -> Outcome | Place:
        """Send it, and read it back: the account's others wait for that."""
        is_done = False
        try:
            sent = await self._sent(kept, target)
            is_done = isinstance(sent, Outcome) and sent.verdict is Verdict.DONE
        finally:
            if not is_done:
                await self.expiry.stop_checking()
        if is_done:
            await self.expiry.read_back(kept, target)
        return sent

    async def _sent(self, kept: KeptBinding, target: int) -> Outcome | Place:
        """Send it, and settle all outcomes but GONE."""
        asked_ms = self.clock.monotonic_ms()
        permit = await self.provider.permit(_ACTION, Lane.RENEWAL, is_retry=kept.failures > 0)
        now_ms = kept.read_at + round(self.clock.monotonic_ms() - asked_ms)
        if permit.come_back_ms:
            return await self._refused(kept, permit, now_ms)
        token, holder, is_used = secrets.token_hex(8), renewal_holder(kept.binding_id), False
        try:
            if not await self._is_first_in_line(kept, holder):
                return later(kept, _BUSY_MS, now_ms)
            status = await self.renewals.begin(kept, token=token, hold_ms=self.rules.hold_ms, target=target)
            if status != 1:
                # -1: another session's renewal of the same binding stands in line under the same name: it leaves it.
                if status == 0:
                    await self.queue.leave(kept.subs_id, holder)
                return later(kept, _CHANGED_MS if status == 0 else _BUSY_MS, now_ms)
            is_used = True
        finally:
            if not is_used:
                self.provider.unused(_ACTION, permit)
        reached("renewal.sending", kept.binding_id, number=kept.number, tries=kept.tries)
        nonce = attempt_nonce(f"{kept.seed}.{kept.number}", kept.tries)
        outcome = await self.provider.send(_ACTION, _parameters(kept, target), nonce=nonce, permit=permit)
        reached("renewal.answered", kept.binding_id, number=kept.number, verdict=outcome.verdict.value)
        now_ms = kept.read_at + round(self.clock.monotonic_ms() - asked_ms)
        if await self._is_over(kept, target, outcome, now_ms):
            await self.queue.leave(kept.subs_id, holder)
        return outcome

    async def _is_over(self, kept: KeptBinding, target: int, outcome: Outcome, now_ms: int) -> bool:
        """Settle it. Whether the binding may be changed by others now: nothing of it can be under way any more."""
        if outcome.verdict is Verdict.GONE:
            return True
        if outcome.verdict is Verdict.DONE:
            is_settled, is_unclear = await self._renewed(kept, target, now_ms), False
        else:
            failure = failure_of(kept, outcome, now_ms, self.rules)
            is_settled, is_unclear = await self.failed(kept, failure, now_ms), failure.is_unclear
        if not is_settled:
            _log.info("renewal settled by another session", binding_id=kept.binding_id)
        return is_settled and not is_unclear

    async def _refused(self, kept: KeptBinding, permit: Permit, now_ms: int) -> Place:
        """The pace lets nothing through. Nothing was tried, but where time runs out a person hears of it."""
        code = permit.refusal.code
        place = later(kept, bounded_delay_ms(kept, permit.come_back_ms, now_ms), now_ms)
        if is_late(kept, now_ms) and kept.told != kept.number + 1:
            message = "nothing may be sent, and its end is near"
            failure = Failure(place.at_ms - now_ms, code, message, needs_person=True, is_throttle=True)
            await self.failed(kept, failure, now_ms)
        return place

    async def _is_first_in_line(self, kept: KeptBinding, holder: str) -> bool:
        if kept.failures and await self.ledger.has_ended(holder):
            await self.queue.leave(kept.subs_id, holder)  # an unclear try's place: whoever waits goes first
        for _ in range(_MOST_LEFTOVERS):
            before = await self.queue.enlist(kept.subs_id, holder, kept.read_at)
            if not before:
                return True
            if not await self.ledger.has_ended(before):
                await self.queue.leave(kept.subs_id, holder)
                return False
            await self.queue.leave(kept.subs_id, before)  # its worker died between its end and this
        return False

    async def _renewed(self, kept: KeptBinding, target: int, now_ms: int) -> bool:
        is_settled = await self.renewals.settle(kept, renewed_end(kept, target, now_ms, self.rules))
        reached("renewal.settled", kept.binding_id, number=kept.number + 1, is_settled=is_settled)
        if is_settled:
            _log.info("binding renewed", binding_id=kept.binding_id, number=kept.number + 1)
        return is_settled

    async def failed(self, kept: KeptBinding, failure: Failure, now_ms: int) -> bool:
        """Put a renewal off that came to nothing, and tell of it, once per period, if a person is needed."""
        return await self.renewals.settle(kept, failed_end(kept, failure, now_ms, self.rules))

    async def _stands_still(self, kept: KeptBinding, wait_ms: int, code: str) -> Place | None:
        """The whole account does: nothing was tried, but a person sees that it is late."""
        if code != "expiry.mismatch" or kept.code == code:
            return later(kept, wait_ms)
        failure = Failure(
            wait_ms, code, "ExpireDate does not read as it was set", needs_person=True, is_throttle=True
        )  # fmt: skip
        end = failed_end(kept, failure, kept.read_at, self.rules)
        fields = {name: value for name, value in end.fields.items() if name != "renew_throttles"}
        await self.renewals.settle(kept, dataclasses.replace(end, fields=fields))
        return None


def renewed_end(kept: KeptBinding, target: int, now_ms: int, rules: RenewalRules) -> RenewalEnd:
    """What is written of a renewal that is done."""
    number, expiration = kept.number + 1, wire_of(target)
    return RenewalEnd(
        next_at=due_at(kept.policy, kept.binding_id, target, now_ms, rules.spread),
        expiration=expiration,
        expires_at=target,
        what="renewed",
        fields={"renewals": number, **CLEAN},
        callback=told_of(
            kept, BindingEvent.RENEWED, now_ms=now_ms, renewals=number, expiration=expiration,
            full_phone_no_a=rules.full_phone_no_a,
        ),
    )  # fmt: skip


def failed_end(kept: KeptBinding, failure: Failure, now_ms: int, rules: RenewalRules) -> RenewalEnd:
    """What is written of a try that came to nothing; its receiver is told once per period, if a person is needed."""
    fields: dict[str, str | int] = {"renew_code": failure.code}
    fields |= {"renew_throttles": kept.throttles + 1} if failure.is_throttle else {"renew_failures": kept.failures + 1}
    callback = None
    is_told_now = failure.needs_person and kept.told != kept.number + 1
    if is_told_now:
        fields["renew_told"] = kept.number + 1
        callback = told_of(
            kept, BindingEvent.RENEWAL_FAILED, now_ms=now_ms, renewals=kept.number,
            fields={"code": failure.code, "message": failure.message}, full_phone_no_a=rules.full_phone_no_a,
        )  # fmt: skip
        _log.error(
            "binding cannot be renewed, and ends soon", binding_id=kept.binding_id,
            ends_in_s=(kept.expires_at - now_ms) // 1000, code=failure.code, message=failure.message,
        )  # fmt: skip
    else:
        _log.warning("binding not renewed yet", binding_id=kept.binding_id, code=failure.code)
    what = "failed" if failure.code != kept.code else ""
    return RenewalEnd(
        now_ms + failure.delay_ms, code=failure.code, what=what, is_unclear=failure.is_unclear, fields=fields,
        callback=callback,
    )  # fmt: skip


def _parameters(kept: KeptBinding, target: int) -> dict[str, str]:
    return UpdateSubscription(
        subs_id=kept.subs_id,
        phone_no_x=kept.phone_no_x,
        pool_key=kept.pool_key,
        operate_type="updateExpire",
        expiration=moment_of(target),
    ).parameters()  # fmt: skip
