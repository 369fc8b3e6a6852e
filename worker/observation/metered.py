"""Parts of the engine that count what goes through them, and otherwise are the parts themselves."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from worker.callbacks.results import TryResult
from worker.clock import Clock
from worker.delivery.tries import Sender
from worker.domain.job import JobState, Lane
from worker.domain.outcome import Outcome
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.ledger import Ledger
from worker.ledger.records import Claim, Settlement
from worker.ledger.renewals import RenewalEnd, Renewals
from worker.observation.meters import Meters
from worker.provider.api import Caller

_OTHER_CODE = "other"
_MOST_CODES = 200
"""The provider has some eighty; a label must not grow with whatever a broken answer holds."""
_MS_PER_S = 1_000


class KnownCodes:
    """Keeps the number of a label's values bounded."""

    def __init__(self, most: int = _MOST_CODES) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, code: object) -> str:
        """The code, or `other` once there are too many."""
        text = str(code)
        if text not in self._known and len(self._known) >= self._most:
            return _OTHER_CODE
        self._known.add(text)
        return text


class MeteredLedger(Ledger):
    """Counts claims and ends."""

    def __init__(self, redis: Redis, *, meters: Meters, **rules: Any) -> None:
        """As `Ledger`, with what it counts in."""
        super().__init__(redis, **rules)
        self._meters = meters
        self._codes = KnownCodes()

    async def claim(self, job_id: str, lane: Lane, *, token: str, lease_ms: int, resume: str = "") -> Claim | str:
        """See `Ledger.claim`."""
        claim = await super().claim(job_id, lane, token=token, lease_ms=lease_ms, resume=resume)
        if isinstance(claim, Claim):
            if claim.fence == 1:
                self._meters.job_wait.labels(lane.value).observe((claim.now_ms - claim.accepted_at) / _MS_PER_S)
            if claim.rescues:
                self._meters.jobs_rescued.labels(lane.value).inc()
        return claim

    async def settle(self, claim: Claim, settlement: Settlement) -> bool:
        """See `Ledger.settle`."""
        is_settled = await super().settle(claim, settlement)
        code, lane = self._codes.label(settlement.fields.get("code", "")), claim.lane.value
        if not is_settled:
            self._meters.leases_lost.labels(lane).inc()
        elif settlement.state is JobState.WAITING:
            self._meters.jobs_waiting_again.labels(lane, code).inc()
        elif settlement.state.is_end:
            self._meters.jobs_ended.labels(claim.kind.value, lane, settlement.state.value, code).inc()
        return is_settled


class MeteredRenewals(Renewals):
    """Counts what renewals come to."""

    def __init__(self, redis: Redis, *, meters: Meters, **rules: Any) -> None:
        """As `Renewals`, with what it counts in."""
        super().__init__(redis, **rules)
        self._meters = meters
        self._codes = KnownCodes()

    async def settle(self, kept: KeptBinding, end: RenewalEnd) -> bool:
        """See `Renewals.settle`."""
        is_settled = await super().settle(kept, end)
        if is_settled:
            code = self._codes.label(end.code or end.fields.get("renew_code", ""))
            self._meters.renewals.labels("failed" if end.code else end.what or "moved", code).inc()
        return is_settled


class MeteredCaller:
    """Counts and times calls to the provider."""

    def __init__(self, caller: Caller, meters: Meters, clock: Clock) -> None:
        self._caller = caller
        self._meters = meters
        self._clock = clock
        self._codes = KnownCodes()

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        """See `ProviderClient.call`."""
        began_ms = self._clock.monotonic_ms()
        outcome = await self._caller.call(action, parameters, nonce=nonce)
        self._meters.call_duration.labels(action).observe((self._clock.monotonic_ms() - began_ms) / _MS_PER_S)
        self._meters.calls.labels(action, outcome.verdict.value, self._codes.label(outcome.code)).inc()
        return outcome


class MeteredSender:
    """Counts and times tries of callbacks."""

    def __init__(self, sender: Sender, meters: Meters, clock: Clock) -> None:
        self._sender = sender
        self._meters = meters
        self._clock = clock

    async def send(self, *, url: str, webhook_id: str, body: str, secret: str = "") -> TryResult:
        """See `CallbackSender.send`."""
        began_ms = self._clock.monotonic_ms()
        result = await self._sender.send(url=url, webhook_id=webhook_id, body=body, secret=secret)
        self._meters.callback_duration.observe((self._clock.monotonic_ms() - began_ms) / _MS_PER_S)
        self._meters.callbacks.labels(result.error or "delivered").inc()
        return result
