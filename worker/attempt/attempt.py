"""One attempt at a job, top to bottom: claim -> permit -> call -> settle -> announce."""

import asyncio
import dataclasses
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from redis.exceptions import RedisError

from worker.attempt.decisions import RetryRules, decide, doubt
from worker.callbacks.events import ended_body
from worker.clock import Clock
from worker.domain.expiration import PROVIDER_MINIMUM, parse_expiration, unix_ms
from worker.domain.job import JobKind, JobState, Lane
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.keys import webhook_id_of
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, CallbackClaim, Claim, OwedCallback, Settlement
from worker.pace.pace import Pace, Permit
from worker.provider.nonce import attempt_nonce
from worker.steps import reached

_log = logging.getLogger(__name__)
ACTION = "BindAxn"
_SETTLE_AGAIN_MS = 250
_PROVES_NOTHING_OF_THE_ACCOUNT = (Verdict.AMBIGUOUS, Verdict.NOT_PROCESSED, Verdict.THROTTLED)


class Caller(Protocol):
    """The provider, as an attempt needs it."""

    async def call(self, action: str, parameters: dict[str, str], *, nonce: str) -> Outcome:
        """Send one signed request; never raises."""


class Courier(Protocol):
    """Who takes the callbacks of settled jobs, as an attempt needs him."""

    def reserve(self) -> str:
        """A claim token for one delivery at once, or empty where all hands are full."""

    def start(self, claim: CallbackClaim) -> None:
        """Deliver in the background."""

    def release(self) -> None:
        """Give a reserved delivery back."""


@dataclass(frozen=True, slots=True)
class AttemptRules:
    """How long things may take, in ms.

    Attributes:
        expiration_margin: how much more than the provider's own minimum an Expiration must be ahead.
        callback_lease_ms: how long a delivery at once may take before somebody else looks at it.
    """

    lease_ms: int
    attempt_timeout_ms: int
    patience_ms: int
    callback_lease_ms: int
    expiration_margin: timedelta
    retry: RetryRules


@dataclass(frozen=True, slots=True)
class Attempts:
    """Works on jobs. `slots` bounds how many this process holds a lease of."""

    ledger: Ledger
    pace: Pace
    provider: Caller
    courier: Courier
    rules: AttemptRules
    clock: Clock
    slots: asyncio.Semaphore

    async def work_on(self, lane: Lane, job_ids: Sequence[str]) -> None:
        """All jobs of a message. One job's trouble is its own: the others go on, and its timetable entry stays."""
        reached("attempt.received")
        ends = await asyncio.gather(*(self.attempt(lane, job_id) for job_id in job_ids), return_exceptions=True)
        for job_id, end in zip(job_ids, ends, strict=True):
            if isinstance(end, Exception):
                _log.error("job %s: attempt broke off (%s); the timetable brings it back", job_id, type(end).__name__)
        reached("attempt.done")

    async def attempt(self, lane: Lane, job_id: str) -> str:
        """One attempt. Returns the job's new state, or why nothing was done."""
        async with self.slots:
            claim = await self.ledger.claim(job_id, lane, token=secrets.token_hex(8), lease_ms=self.rules.lease_ms)
            if isinstance(claim, str):
                return claim
            reached(
                "attempt.claimed",
                job_id,
                token=claim.token,
                fence=claim.fence,
                attempt=claim.attempt,
                is_probe=claim.is_probe,
            )
            claimed_at_ms = self.clock.monotonic_ms()
            settlement = self._refuse(claim) or await self._send(claim, claimed_at_ms)
            now_ms = claim.now_ms + round(self.clock.monotonic_ms() - claimed_at_ms)
            return await self._settle_and_announce(claim, settlement, now_ms)

    def _refuse(self, claim: Claim) -> Settlement | None:  # noqa: PLR0911 - one return per reason
        """What can be settled without the provider."""
        if claim.refusal:
            return _unsent_end(JobState.FAILED, "request.invalid", claim.refusal)
        if claim.is_probe and claim.now_ms - claim.began_at > self.rules.retry.probe_window_ms:
            return doubt(claim, "doubt.window_passed", "the same nonce may not be sent again so late")
        if claim.is_late:
            if claim.is_probe:
                return doubt(claim, "doubt.deadline_passed", "the deadline passed while an attempt was unclear")
            return _unsent_end(JobState.EXPIRED, "deadline.passed", "the deadline passed before it could be submitted")
        ahead_ms = unix_ms(parse_expiration(claim.parameters["Expiration"])) - claim.now_ms
        if timedelta(milliseconds=ahead_ms) <= PROVIDER_MINIMUM + self.rules.expiration_margin:
            if claim.is_probe:
                return doubt(
                    claim, "doubt.expiration_near", "the Expiration came too near while an attempt was unclear"
                )
            return _unsent_end(JobState.FAILED, "expiration.too_near", "the Expiration is too near to be accepted")
        return None

    async def _send(self, claim: Claim, claimed_at_ms: float) -> Settlement:
        permit = await self.pace.permit(claim.lane, patience_ms=self.rules.patience_ms)
        if permit.come_back_ms:
            return _unsent_wait(claim, permit.come_back_ms, "account.stopped" if permit.is_stopped else "pace.busy")
        held_ms = self.clock.monotonic_ms() - claimed_at_ms
        if held_ms + self.rules.attempt_timeout_ms >= self.rules.lease_ms:
            return _unsent_wait(claim, 0, "lease.short")
        nonce = attempt_nonce(claim.seed, claim.attempt)
        reached("attempt.sending", claim.job_id, token=claim.token, fence=claim.fence, attempt=claim.attempt)
        outcome = await self.provider.call(ACTION, dict(claim.parameters), nonce=nonce)
        reached("attempt.answered", claim.job_id, token=claim.token, fence=claim.fence, verdict=outcome.verdict.value)
        await self._judge_account(outcome, permit)
        return decide(claim, outcome, self.rules.retry)

    async def _judge_account(self, outcome: Outcome, permit: Permit) -> None:
        """Stop the account for all workers when it is refused, and open it again when a probe gets through."""
        try:
            if outcome.verdict is Verdict.ACCOUNT:
                if await self.pace.stop_account(outcome.code, by_probe=permit.is_probe):
                    _log.error("account stopped, all its jobs wait: %s %s", outcome.code, outcome.message)
            elif permit.is_probe and outcome.verdict not in _PROVES_NOTHING_OF_THE_ACCOUNT:
                await self.pace.reopen_account()
                _log.warning("account good again, its jobs go on")
        except (RedisError, OSError) as failure:
            _log.warning("account: Redis is away (%s), the next answer decides", type(failure).__name__)

    async def _settle_and_announce(self, claim: Claim, settlement: Settlement, now_ms: int) -> str:
        owed = self._owed_callback(claim, settlement, now_ms)
        is_settled = False
        try:
            is_settled = await self._settle(claim, dataclasses.replace(settlement, callback=owed))
        finally:
            reached(
                "attempt.settled",
                claim.job_id,
                token=claim.token,
                fence=claim.fence,
                state=settlement.state.value,
                knowledge=settlement.knowledge.value,
                is_settled=is_settled,
            )
            if owed is not None and owed.token:
                self._announce(claim.job_id, owed, is_settled=is_settled)
        if not is_settled:
            _log.warning("job %s: lease lost before the attempt could be settled as %s", claim.job_id, settlement.state)
            return "lease_lost"
        _log.info("job %s: %s %s", claim.job_id, settlement.state.value, settlement.fields.get("code", ""))
        return settlement.state.value

    async def _settle(self, claim: Claim, settlement: Settlement) -> bool:
        """Settle, and while the lease may still hold, again when Redis is away: what is known must not be lost."""
        gives_up_ms = self.clock.monotonic_ms() + self.rules.lease_ms
        while True:
            try:
                return await self.ledger.settle(claim, settlement)
            except (RedisError, OSError) as failure:
                if self.clock.monotonic_ms() > gives_up_ms:
                    raise
                _log.warning("job %s: Redis is away (%s), settling again", claim.job_id, type(failure).__name__)
                await self.clock.sleep_ms(_SETTLE_AGAIN_MS)

    def _owed_callback(self, claim: Claim, settlement: Settlement, now_ms: int) -> OwedCallback | None:
        if not claim.callback_url or not settlement.state.is_end:
            return None
        body = ended_body(
            kind=JobKind.BIND,
            job_id=claim.job_id,
            state=settlement.state,
            unix_ms=now_ms,
            attempts=claim.attempt - (settlement.knowledge is AttemptKnowledge.UNSENT),
            parameters=claim.parameters,
            fields={"possible_orphans": claim.possible_orphans, **settlement.fields},
        )
        token = self.courier.reserve()
        webhook_id = webhook_id_of(claim.job_id, claim.fence)
        first_look_ms = self.rules.callback_lease_ms if token else 0
        return OwedCallback(webhook_id, claim.callback_url, body, token, first_look_ms)

    def _announce(self, job_id: str, owed: OwedCallback, *, is_settled: bool) -> None:
        if not is_settled:
            self.courier.release()
            return
        self.courier.start(CallbackClaim(owed.webhook_id, owed.token, job_id, owed.url, owed.body, tries=1))


def _unsent_end(state: JobState, code: str, message: str) -> Settlement:
    knowledge = AttemptKnowledge.CLOSED if state is JobState.EXPIRED else AttemptKnowledge.UNSENT
    return Settlement(state, knowledge, {"code": code, "message": message})


def _unsent_wait(claim: Claim, delay_ms: int, code: str) -> Settlement:
    knowledge = AttemptKnowledge.OPEN if claim.is_probe else AttemptKnowledge.UNSENT
    return Settlement(JobState.WAITING, knowledge, {"code": code}, delay_ms=delay_ms)
