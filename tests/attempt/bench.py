"""One worker's attempts on a real ledger, with a provider and a courier that do as they are told."""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from tests.ledger.support import bindings_of, lapse, ledger_of, opened, record_of
from worker.attempt.attempt import ACTIONS, AttemptRules, Attempts
from worker.attempt.binding_effects import BindingEffects
from worker.attempt.decisions import RetryRules
from worker.attempt.leases import Leases
from worker.attempt.paced_provider import PacedProvider
from worker.attempt.stopping import Stop
from worker.clock import SystemClock
from worker.domain.job import DoubtProbe, Job, Lane
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.callback_records import CallbackClaim
from worker.ledger.records import Claim, NewJob, Settlement
from worker.pace.concurrency import InFlight
from worker.pace.keys import PaceKeys
from worker.pace.pace import Pace
from worker.pace.rules import CircuitRules, PaceRules, RetryBudget
from worker.progress import Progress

LEASE_MS = 30_000
READ_LAG_MS = 20_000
SENT = (*ACTIONS.values(), "QuerySubsId", "QuerySubscriptionDetail")
URL = "https://shop.example/axn"
NUMBER = {"SecretBindDTO": {"SubsId": "100", "SecretNo": "17000001111"}}
DONE = Outcome(Verdict.DONE, "OK", "OK", "request-1", 200, answer=NUMBER)
AMBIGUOUS = Outcome(Verdict.AMBIGUOUS, "transport.timeout")
NONCE_USED = Outcome(Verdict.NONCE_USED, "SignatureNonceUsed")
THROTTLED = Outcome(Verdict.THROTTLED, "Throttling.User")
WRONG = Outcome(Verdict.WRONG_REQUEST, "isv.PHONE_INVALID", "no such number")


class FakeProvider:
    """Answers in order, and remembers the nonces; breaks where the next answer is an exception."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        self.answers = list(answers)
        self.actions: list[str] = []
        self.nonces: list[str] = []
        self.parameters: list[dict[str, str]] = []

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        self.actions.append(action)
        self.nonces.append(nonce)
        self.parameters.append(dict(parameters))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeCourier:
    """Takes what it is given; has no hand free where told so."""

    def __init__(self, token: str = "c1") -> None:
        self.token = token
        self.started: list[CallbackClaim] = []
        self.released = 0

    def reserve(self, host: str, *, is_checkout: bool) -> str:
        return self.token

    def start(self, claim: CallbackClaim) -> None:
        self.started.append(claim)

    def release(self, host: str) -> None:
        self.released += 1


class LeapingClock(SystemClock):
    """Each look at it finds it `step_ms` later."""

    def __init__(self, step_ms: float = 0.0) -> None:
        self.step_ms = step_ms
        self.at_ms = 0.0

    def monotonic_ms(self) -> float:
        self.at_ms += self.step_ms
        return self.at_ms

    async def sleep_ms(self, delay_ms: float) -> None:
        await asyncio.sleep(0)


class FakeFoundBindings:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def tell(self, claim: Claim, settlement: Settlement) -> None:
        self.told.append((claim.job_id, str(settlement.fields["subs_id"])))


class FakeReplacements:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.replaced_for: list[str] = []
        self.restored_as: list[tuple[str, str]] = []

    async def made_by(self, claim: Claim) -> str:
        return claim.binding_id

    async def replaced(self, claim: Claim) -> None:
        self.replaced_for.append(claim.job_id)

    async def restored(self, claim: Claim, phone_no_x: str, subs_id: str) -> None:
        self.restored_as.append((phone_no_x, subs_id))


class Bench:
    """One worker's attempts with a fake provider and courier on a real ledger."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.ledger = ledger_of(redis)
        self.provider = FakeProvider()
        self.courier = FakeCourier()
        self.found = FakeFoundBindings()
        self.replacements = FakeReplacements()
        self.clock: SystemClock = LeapingClock()
        self.per_second = 1_000.0
        self.patience_ms = 1_000
        self.short_wait_ms = 0
        self.retry_base_ms = 100
        self.doubt_probe = DoubtProbe.NONCE
        self.read_lag_ms = READ_LAG_MS
        self.stop = Stop()
        self.in_flight = InFlight(1_000, SystemClock())
        self.retries = RetryBudget()
        self.circuit = CircuitRules()

    def _pace(self, action: str) -> Pace:
        return Pace(
            self.redis,
            keys=PaceKeys("acc", action, "endpoint"),
            rules=PaceRules(
                self.per_second, {Lane.CHECKOUT: 50_000, Lane.BATCH: 30_000}, retries=self.retries, circuit=self.circuit
            ),
            in_flight=self.in_flight,
            clock=self.clock,
        )

    async def silence(self, silence_ms: int) -> None:
        """The provider wants to hear nothing of binds for so long."""
        permit = await self._pace("BindAxn").permit(Lane.CHECKOUT, patience_ms=100_000)
        pace = self._pace("BindAxn")
        pace.report(permit, Outcome(Verdict.THROTTLED, "Throttling.User", retry_after_ms=silence_ms), 20)
        await pace.permit(Lane.CHECKOUT, patience_ms=0)

    def attempts(self) -> Attempts:
        retry = RetryRules(
            base_ms=self.retry_base_ms,
            cap_ms=1_000,
            slow_base_ms=1_000,
            slow_cap_ms=10_000,
            attempts=2,
            probe_after_ms=1_000,
            probe_window_ms=600_000,
            doubt_probe=self.doubt_probe,
            read_lag_ms=self.read_lag_ms,
        )
        rules = AttemptRules(
            lease_ms=LEASE_MS,
            attempt_timeout_ms=10_000,
            callback_lease_ms=7_000,
            expiration_margin=timedelta(seconds=30),
            retry=retry,
            short_wait_ms=self.short_wait_ms,
        )
        return Attempts(
            ledger=self.ledger,
            provider=PacedProvider(
                self.provider, {action: self._pace(action) for action in SENT}, self.patience_ms, self.clock
            ),
            bindings=BindingQueue(self.redis, ttl_ms=60_000),
            effects=BindingEffects(bindings_of(self.redis)),
            courier=self.courier,
            found_bindings=self.found,
            replacements=self.replacements,
            rules=rules,
            clock=self.clock,
            slots=asyncio.Semaphore(10),
            leases=Leases(self.ledger, lease_ms=LEASE_MS, clock=self.clock),
            progress=Progress(),
            stop=self.stop,
        )

    async def opened(self, **overrides: Any) -> NewJob:
        return await opened(self.ledger, callback_url=URL, **overrides)

    async def attempt(self, job: NewJob) -> str:
        """One attempt, its time having come."""
        if (await record_of(self.redis, job.job_id))["state"] in {"submitting", "waiting"}:
            await lapse(self.redis, job.job_id)
        return await self.attempts().attempt(Lane.CHECKOUT, job.job_id)

    async def read(self, job: NewJob) -> Job:
        return await self.ledger.read(job.job_id)

    def event(self) -> dict[str, Any]:
        """The one callback that was started."""
        (claim,) = self.courier.started
        event: dict[str, Any] = json.loads(claim.body)
        return event
