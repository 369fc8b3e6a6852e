"""The provider behind the pace: nothing is sent without a permit, and what an answer tells of the account is heeded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from worker.clock import Clock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.logs import get_log
from worker.pace.pace import Pace
from worker.pace.permit import Permit
from worker.tracing import UNTRACED, Tracer

_log = get_log(__name__)
_PROVES_NOTHING_OF_THE_ACCOUNT = (Verdict.AMBIGUOUS, Verdict.NOT_PROCESSED, Verdict.THROTTLED)


class Caller(Protocol):
    """The provider, as an attempt needs it."""

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        """Send one signed request; never raises."""


@dataclass(frozen=True, slots=True)
class PacedProvider:
    """Asks for permits and uses them.

    Attributes:
        paces: one for each action that may be sent.
        patience_ms: the longest wait for a permit.
    """

    provider: Caller
    paces: Mapping[str, Pace]
    patience_ms: int
    clock: Clock
    traces: Tracer = UNTRACED

    async def permit(self, action: str, lane: Lane, *, is_retry: bool = False) -> Permit:
        """A permit to send this action once, or when to come back."""
        with self.traces.step("axn.permit", action=action) as span:
            permit = await self.paces[action].permit(lane, patience_ms=self.patience_ms, is_retry=is_retry)
            span.tell(code=permit.refusal.code if permit.come_back_ms else "")
            return permit

    async def send(self, action: str, parameters: Mapping[str, str], *, nonce: str, permit: Permit) -> Outcome:
        """Use a permit."""
        pace, sent_ms = self.paces[action], self.clock.monotonic_ms()
        try:
            outcome = await self._call(action, parameters, nonce)
        except BaseException:
            pace.unused(permit)
            raise
        pace.report(permit, outcome, self.clock.monotonic_ms() - sent_ms)
        await self._judge_account(action, outcome, permit)
        return outcome

    async def _call(self, action: str, parameters: Mapping[str, str], nonce: str) -> Outcome:
        with self.traces.step(action, is_call=True, action=action) as span:
            outcome = await self.provider.call(action, dict(parameters), nonce=nonce)
            span.tell(verdict=outcome.verdict.value, code=outcome.code, request_id=outcome.request_id)
            if outcome.verdict is not Verdict.DONE:
                span.fail(outcome.code)
            return outcome

    def unused(self, action: str, permit: Permit) -> None:
        """Nothing was sent with this permit."""
        self.paces[action].unused(permit)

    async def aclose(self) -> None:
        """Ask for no permits any more."""
        for pace in self.paces.values():
            await pace.aclose()

    def for_lane(self, lane: Lane) -> "LaneCaller":
        """Calls that ask for their own permits."""
        return LaneCaller(self, lane)

    async def _judge_account(self, action: str, outcome: Outcome, permit: Permit) -> None:
        """Stop the account for all workers when it is refused, and open it again when a probe gets through."""
        pace = self.paces[action]
        try:
            if outcome.verdict is Verdict.ACCOUNT:
                if await pace.stop_account(outcome.code, by_probe=permit.is_probe):
                    _log.error(
                        "account stopped, all its jobs wait",
                        action=action, code=outcome.code, message=outcome.message, request_id=outcome.request_id,
                    )  # fmt: skip
            elif permit.is_probe and outcome.verdict not in _PROVES_NOTHING_OF_THE_ACCOUNT:
                await pace.reopen_account()
                _log.warning("account good again, its jobs go on", action=action)
        except (RedisError, OSError) as failure:
            _log.warning("account: Redis is away, the next answer decides", error=type(failure).__name__)


@dataclass(frozen=True, slots=True)
class LaneCaller:
    """A `Caller` whose every call waits for its permit; without one nothing is sent."""

    paced: PacedProvider
    lane: Lane

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        """Send one signed request, when the pace allows.

        Raises:
            RedisError: the pace cannot be asked.
        """
        permit = await self.paced.permit(action, self.lane)
        if permit.come_back_ms:
            return Outcome(Verdict.THROTTLED, permit.refusal.code, retry_after_ms=permit.come_back_ms)
        return await self.paced.send(action, parameters, nonce=nonce, permit=permit)
