"""One try of a callback: send it, log it, settle it."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from worker.callbacks.results import TryResult
from worker.clock import Clock
from worker.delivery.schedule import next_delay_ms
from worker.ledger.callback_records import CallbackClaim, LoggedTry
from worker.ledger.callbacks import CallbackLedger
from worker.logs import get_log
from worker.steps import reached
from worker.tracing import UNTRACED, Tracer

_log = get_log(__name__)


def _fields(claim: CallbackClaim, result: TryResult | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "job_id": claim.job_id,
        "webhook_id": claim.webhook_id,
        "host": claim.host,
        "tries": claim.tries,
    }
    return fields | {"status": result.status, "ms": result.ms} if result else fields


class Sender(Protocol):
    """Who posts: `worker.callbacks.sender`."""

    async def send(self, *, url: str, webhook_id: str, body: str, secret: str = "") -> TryResult:
        """Post once. Raises nothing."""


class Tries:
    """What becomes of tries.

    Args:
        schedule_ms: delays before the second, third … try; after the last the callback is given up.
        random_share: a number in [0, 1); delays vary by ±20 %.
    """

    def __init__(
        self,
        ledger: CallbackLedger,
        sender: Sender,
        *,
        schedule_ms: Sequence[int],
        clock: Clock,
        random_share: Callable[[], float] = random.random,
        traces: Tracer = UNTRACED,
    ) -> None:
        self._ledger = ledger
        self._sender = sender
        self._schedule_ms = schedule_ms
        self._clock = clock
        self._random_share = random_share
        self._traces = traces

    async def send(self, claim: CallbackClaim) -> TryResult:
        """Post it."""
        with self._traces.begin("axn.callback", claim.trace, is_call=True, **_fields(claim)) as span:
            result = await self._sender.send(
                url=claim.url, webhook_id=claim.webhook_id, body=claim.body, secret=claim.secret
            )
            span.tell(status=result.status, result=result.error or "delivered")
            if not result.is_delivered:
                span.fail(result.error)
            return result

    async def settle(self, claim: CallbackClaim, result: TryResult) -> bool:
        """Write down what the try came to. Returns whether the callback is done with: delivered or given up."""
        reached("callback.answered", claim.job_id)
        if result.is_delivered:
            is_settled = await self._ledger.delivered(claim)
            _log.info("callback delivered", **_fields(claim, result))
            return is_settled
        log = claim.log_with(LoggedTry(self._clock.unix_ms(), result.status, result.ms, result.error, result.answer))
        delay_ms = next_delay_ms(
            self._schedule_ms, claim.tries, retry_after_ms=result.retry_after_ms, share=self._random_share()
        )
        if result.is_gone or delay_ms is None:
            _log.warning("callback given up", **_fields(claim, result), code=result.error)
            return await self._ledger.dead(claim, error=result.error, log=log)
        _log.info("callback is tried again", **_fields(claim, result), code=result.error, in_ms=delay_ms)
        await self._ledger.again(claim, delay_ms=delay_ms, error=result.error, log=log)
        return False

    async def bury(self, claim: CallbackClaim, error: str = "") -> bool:
        """Give a callback up without a try; of one that is late that is the reason. Returns whether it is done with."""
        error = claim.late_error or error
        _log.warning("callback given up", **_fields(claim), code=error)
        return await self._ledger.dead(claim, error=error, log=claim.log or "[]")
