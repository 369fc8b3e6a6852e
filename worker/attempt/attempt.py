"""One attempt at a job, top to bottom: claim -> permit -> call -> settle -> announce."""

import asyncio
import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from redis.exceptions import RedisError

from worker.attempt.announcing import Courier, owed_callback, owes_callback
from worker.attempt.binding_changes import decide_change
from worker.attempt.binding_effects import BindingEffects
from worker.attempt.binding_line import BINDING_BUSY_MS, BindingOrder, give_binding_back, is_first_in_line
from worker.attempt.decisions import RetryRules, Unclear, decide, on_doubt
from worker.attempt.leases import Lease, Leases
from worker.attempt.look_up import can_look_up, decide_look_up, look_up
from worker.attempt.paced_provider import PacedProvider
from worker.attempt.rebind import Replacements, rebind
from worker.attempt.rebind_decisions import has_bound
from worker.attempt.refusals import bind_refusal, change_refusal, unsent_wait
from worker.attempt.stopping import Phase, Stop
from worker.attempt.telling import log_broken_off, log_claimed, log_settled, settled_fields
from worker.attempt.tracing import spanning_attempt, spanning_settling
from worker.callbacks.receivers import receiver_of
from worker.clock import Clock
from worker.domain.job import DoubtProbe, JobKind, JobState, Lane
from worker.domain.outcome import Outcome
from worker.errors import SealError
from worker.ledger.callback_records import OwedCallback
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, BrokenRecordError, Claim, Settlement
from worker.ledger.unreadable import KEY_MISSING, KEY_MISSING_MS
from worker.logs import get_log, working_on
from worker.progress import Progress
from worker.provider.api import ProviderApi
from worker.provider.nonce import attempt_nonce
from worker.steps import reached
from worker.tracing import UNTRACED, Tracer

_log = get_log(__name__)
ACTIONS = {
    JobKind.BIND: "BindAxn",
    JobKind.UPDATE: "UpdateSubscription",
    JobKind.UNBIND: "UnbindSubscription",
}
_SETTLE_AGAIN_MS = 250
_REDIS_AWAY_MS = 1_000
_RESCUES_OF_A_SUSPECT = 2
_SUSPECT_AGAIN_MS = 500
_SHORT_WAITS = 5
_LOOK_LATER_MS = 2_000
_WAKE_LATER_MS = 10
NOT_CLAIMED = "not_claimed"
HANDED_BACK = "handed_back"


class FoundBindings(Protocol):
    """Where a binding goes whose job is in other hands: `worker.attempt.found_bindings`."""

    async def tell(self, claim: Claim, settlement: Settlement) -> None:
        """Make the job bound by it if that can still be, else report an orphan."""


@dataclass(frozen=True, slots=True)
class AttemptRules:
    """How long things may take, in ms.

    Attributes:
        expiration_margin: how much more than the provider's own minimum an Expiration must be ahead.
        callback_lease_ms: how long a delivery at once may take before somebody else looks at it.
        short_wait_ms: a job that waits for less stays in this process, a few times on end.
        full_phone_no_a: callbacks tell A itself, not its masked form.
    """

    lease_ms: int
    attempt_timeout_ms: int
    callback_lease_ms: int
    expiration_margin: timedelta
    retry: RetryRules
    short_wait_ms: int = 1_000
    full_phone_no_a: bool = False


@dataclass(frozen=True, slots=True)
class Stay:
    """The job waits in this process: it may be claimed again after so many ms."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class Attempts:
    """Works on jobs. `slots` bounds how many this process holds a lease of.

    A job whose workers have died twice is a suspect: a process works on one suspect at a time, so that the one that
    kills its process does not take the others, which merely stood beside it, down with it until they count as poison.
    """

    ledger: Ledger
    provider: PacedProvider
    bindings: BindingOrder
    effects: BindingEffects
    courier: Courier
    found_bindings: FoundBindings
    replacements: Replacements
    rules: AttemptRules
    clock: Clock
    slots: asyncio.Semaphore
    leases: Leases
    progress: Progress
    stop: Stop
    traces: Tracer = UNTRACED
    suspects: asyncio.Semaphore = dataclasses.field(default_factory=lambda: asyncio.Semaphore(1))

    async def work_on(self, lane: Lane, job_ids: Sequence[str], *, published_at_ms: int = 0) -> list[str]:
        """All jobs of a message. One job's trouble is its own: the others go on, and its timetable entry stays.

        Returns:
            The jobs that were handed back because this process stops: worth publishing again at once.
        """
        reached("attempt.received")
        ends = await asyncio.gather(
            *(self.attempt(lane, job_id, published_at_ms=published_at_ms) for job_id in job_ids),
            return_exceptions=True,
        )
        for job_id, end in zip(job_ids, ends, strict=True):
            if isinstance(end, Exception):
                log_broken_off(lane, job_id, end)
        reached("attempt.done")
        return [job_id for job_id, end in zip(job_ids, ends, strict=True) if end in (NOT_CLAIMED, HANDED_BACK)]

    async def attempt(self, lane: Lane, job_id: str, *, published_at_ms: int = 0) -> str:
        """One attempt, and those that follow it soon. Returns the job's new state, or why nothing was done."""
        working_on(job_id, lane.value)
        self.stop.enter(Phase.QUEUED)
        try:
            for waits_left in range(_SHORT_WAITS, -1, -1):
                async with self.slots:
                    self.progress.note(lane, published_at_ms)
                    end = await self._attempt_in_slot(lane, job_id, may_stay=waits_left > 0)
                if not isinstance(end, Stay):
                    return end
                # Should this process die meanwhile, the timetable brings the job back.
                self.stop.enter(Phase.QUEUED)
                await self.clock.sleep_ms(end.delay_ms + _WAKE_LATER_MS)
            raise AssertionError("the last attempt may not stay")
        except asyncio.CancelledError:
            if not self.stop.is_begun:
                raise
            return NOT_CLAIMED
        finally:
            self.stop.leave()

    async def _attempt_in_slot(self, lane: Lane, job_id: str, *, may_stay: bool) -> str | Stay:
        if self.stop.is_begun:
            return NOT_CLAIMED
        self.stop.enter(Phase.CLAIMING)
        asked_ms = self.clock.monotonic_ms()
        try:
            claim = await self.ledger.claim(job_id, lane, token=secrets.token_hex(8), lease_ms=self.rules.lease_ms)
        except (BrokenRecordError, SealError) as broken:
            _log.error("job's record is broken", job_id=job_id, lane=lane.value, message=str(broken))
            return "broken"
        if isinstance(claim, str):
            if claim == "condemned":
                _log.error(
                    "job failed as poison: its record is missing or tells no state", job_id=job_id, code="poison"
                )
            return claim
        reached(
            "attempt.claimed", job_id, token=claim.token, fence=claim.fence, attempt=claim.attempt,
            is_probe=claim.is_probe,
        )  # fmt: skip
        log_claimed(claim)
        with spanning_attempt(self.traces, claim, self.clock.monotonic_ms() - asked_ms):
            return await self._hold(claim, asked_ms, may_stay=may_stay)

    async def _hold(self, claim: Claim, asked_ms: float, *, may_stay: bool) -> str | Stay:
        lease = self.leases.hold(claim, asked_ms)
        try:
            settlement = await self._settlement(lease)
            self.stop.enter(Phase.SETTLING)
            stays = may_stay and self._is_short_wait(settlement)
            if stays:
                settlement = dataclasses.replace(settlement, grace_ms=_LOOK_LATER_MS)
            state = await self._settle_and_announce(claim, settlement, self._now_ms(lease))
            return Stay(settlement.delay_ms) if stays and state == JobState.WAITING else state
        finally:
            self.leases.let_go(lease)

    def _is_short_wait(self, settlement: Settlement) -> bool:
        is_waiting = settlement.state is JobState.WAITING and not self.stop.is_begun
        return is_waiting and 0 < settlement.delay_ms < self.rules.short_wait_ms

    def _now_ms(self, lease: Lease) -> int:
        """Unix ms by Redis's clock, as far as this process can tell."""
        return lease.claim.now_ms + round(self.clock.monotonic_ms() - lease.claimed_ms)

    async def _settlement(self, lease: Lease) -> Settlement:
        """What the claim comes to; also where this process stops, or Redis goes away, in the midst of it."""
        claim = lease.claim
        try:
            self.stop.enter(Phase.HELD)
            if self.stop.is_begun:
                return self._cut_short(lease, "worker.stopped", 0)
            if claim.rescues < _RESCUES_OF_A_SUSPECT or claim.is_poison:
                return await self._work(lease)
            if self.suspects.locked():
                return unsent_wait(claim, _SUSPECT_AGAIN_MS, "rescue.in_turn", rescues=claim.rescues)
            async with self.suspects:
                return await self._work(lease)
        except asyncio.CancelledError:
            if not self.stop.is_begun:
                raise
            return self._cut_short(lease, "worker.stopped", 0)
        except (RedisError, OSError) as failure:
            _log.warning("Redis is away, a job waits", job_id=claim.job_id, error=type(failure).__name__)
            code, delay_ms = "redis.away", _REDIS_AWAY_MS
        except SealError as sealed:  # of another record that the job needs
            _log.error("a record cannot be read, a job waits", job_id=claim.job_id, message=str(sealed))
            code, delay_ms = KEY_MISSING, KEY_MISSING_MS
        return self._cut_short(lease, code, delay_ms)

    async def _work(self, lease: Lease) -> Settlement:
        if lease.claim.kind is JobKind.REBIND:
            return await rebind(self, lease)
        return await (self._bind(lease) if lease.claim.kind is JobKind.BIND else self._change(lease))

    def _cut_short(self, lease: Lease, code: str, delay_ms: int) -> Settlement:
        if not lease.is_sending:
            return unsent_wait(lease.claim, delay_ms, code)
        return Settlement(
            JobState.WAITING,
            AttemptKnowledge.OPEN,
            {"code": code, "had_doubt": 1},
            delay_ms=self.rules.retry.probe_after_ms,
        )

    async def _bind(self, lease: Lease) -> Settlement:
        claim, rules = lease.claim, self.rules
        end = bind_refusal(claim, rules.retry, rules.expiration_margin)
        if end is None:
            sent = await self.send(lease, ACTIONS[JobKind.BIND], claim.parameters)
            end = sent if isinstance(sent, Settlement) else decide(claim, sent, rules.retry)
        return await self.clear_up(lease, end) if isinstance(end, Unclear) else end

    async def clear_up(self, lease: Lease, unclear: Unclear) -> Settlement:
        """Ask the provider for the binding of the chosen X; without one, do as the request says."""
        claim = lease.claim
        if self.rules.retry.doubt_probe is DoubtProbe.OFF or not can_look_up(claim.parameters):
            return on_doubt(claim, unclear)
        ended = claim.rebind.old_subs_id if claim.rebind else ""
        looked_up = await look_up(ProviderApi(self.provider.for_lane(claim.lane)), claim.parameters, ended=ended)
        return decide_look_up(claim, looked_up, unclear, now_ms=self._now_ms(lease), rules=self.rules.retry)

    async def _change(self, lease: Lease) -> Settlement:
        """An update or unbind: one at a time for each binding, in the order in which they were accepted."""
        claim = lease.claim
        end = change_refusal(claim)
        if end is not None:
            return end
        if not await is_first_in_line(self.bindings, self.ledger, claim):
            return unsent_wait(claim, BINDING_BUSY_MS, "binding.busy")
        sent = await self.send(lease, ACTIONS[claim.kind], claim.parameters)
        end = sent if isinstance(sent, Settlement) else decide_change(claim, sent, self.rules.retry)
        return await self.effects.of(claim, end)

    async def send(self, lease: Lease, action: str, parameters: Mapping[str, str]) -> Outcome | Settlement:
        """Send the attempt, once there is a permit and the lease surely outlasts it; else why it was not sent."""
        claim = lease.claim
        permit = await self.provider.permit(action, claim.lane, is_retry=claim.was_sent_in_vain)
        if permit.come_back_ms:
            return unsent_wait(claim, permit.come_back_ms, permit.refusal.code)
        is_covered = False
        try:
            is_covered = await self.leases.covers(lease, self.rules.attempt_timeout_ms)
        finally:
            if not is_covered:
                self.provider.unused(action, permit)
        if not is_covered:
            return unsent_wait(claim, 0, "lease.lost")
        reached(
            "attempt.sending", claim.job_id, token=claim.token, fence=claim.fence, attempt=claim.attempt, action=action
        )
        self.stop.enter(Phase.SENDING)
        lease.is_sending = True
        nonce = attempt_nonce(claim.seed, claim.attempt)
        outcome = await self.provider.send(action, parameters, nonce=nonce, permit=permit)
        reached("attempt.answered", claim.job_id, token=claim.token, fence=claim.fence, verdict=outcome.verdict.value)
        return outcome

    async def _settle_and_announce(self, claim: Claim, settlement: Settlement, now_ms: int) -> str:
        owed = self._owed_callback(claim, settlement, now_ms)
        is_settled = False
        try:
            is_settled = await self._settle(claim, dataclasses.replace(settlement, callback=owed))
        finally:
            reached(
                "attempt.settled", claim.job_id, token=claim.token, fence=claim.fence, state=settlement.state.value,
                knowledge=settlement.knowledge.value, is_settled=is_settled,
            )  # fmt: skip
            if owed is not None and owed.token:
                self._announce(claim.job_id, owed, is_settled=is_settled)
        if not is_settled:
            _log.warning("job's lease lost before it could be settled", **settled_fields(claim, settlement))
            if has_bound(claim, settlement):
                await self.found_bindings.tell(claim, settlement)
            return "lease_lost"
        log_settled(claim, settlement)
        if settlement.state.is_end:
            await give_binding_back(self.bindings, claim)
        is_handed_back = settlement.fields.get("code") == "worker.stopped" and not settlement.delay_ms
        return HANDED_BACK if is_handed_back else settlement.state.value

    async def _settle(self, claim: Claim, settlement: Settlement) -> bool:
        """Settle, and again while Redis is away: what is known must not be lost. A process that stops gives up."""
        stops_ms: float | None = None
        while True:
            try:
                with spanning_settling(self.traces, claim, settlement):
                    return await self.ledger.settle(claim, settlement)
            except (RedisError, OSError) as failure:
                now_ms = self.clock.monotonic_ms()
                if self.stop.is_begun:
                    stops_ms = stops_ms or now_ms + self.rules.attempt_timeout_ms
                if stops_ms is not None and now_ms > stops_ms:
                    raise
                _log.warning("Redis is away, settling a job again", job_id=claim.job_id, error=type(failure).__name__)
                await self.clock.sleep_ms(_SETTLE_AGAIN_MS)

    def _owed_callback(self, claim: Claim, settlement: Settlement, now_ms: int) -> OwedCallback | None:
        if not owes_callback(claim, settlement):
            return None
        token = self.courier.reserve(receiver_of(claim.callback_url), is_checkout=claim.lane is Lane.CHECKOUT)
        lease_ms = self.rules.callback_lease_ms
        return owed_callback(
            claim, settlement, now_ms=now_ms, full_phone_no_a=self.rules.full_phone_no_a, token=token, lease_ms=lease_ms
        )

    def _announce(self, job_id: str, owed: OwedCallback, *, is_settled: bool) -> None:
        if not is_settled:
            self.courier.release(owed.host)
            return
        self.courier.start(owed.first_claim(job_id))
