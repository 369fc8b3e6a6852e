"""One try of a callback: sign, post, judge."""

from collections.abc import Sequence

from worker.callbacks.results import TryResult, answered, failed
from worker.callbacks.signature import signature_headers
from worker.clock import Clock
from worker.http import HttpClient, MaybeSentError, NotSentError


class CallbackSender:
    """Sends callbacks; follows no redirect, uses no proxy of the environment, calls no denied address.

    Args:
        http: a client whose socket factory is the guard's.
        keys: all live keys; without one nothing is sent.
    """

    def __init__(self, http: HttpClient, *, keys: Sequence[bytes], timeout_ms: int, clock: Clock) -> None:
        self._http = http
        self._keys = keys
        self._timeout_ms = timeout_ms
        self._clock = clock

    async def send(self, *, url: str, webhook_id: str, body: str, secret: str = "") -> TryResult:  # noqa: ARG002 - one key for all
        """Post the body once, signed for this moment. 2xx alone is success. Raises nothing."""
        if not self._keys:
            return TryResult("no_secret")
        content = body.encode()
        now_ms, began_ms = self._clock.unix_ms(), self._clock.monotonic_ms()
        headers = signed_headers(webhook_id, now_ms // 1000, content, self._keys)
        try:
            answer = await self._http.post(url, headers=headers, content=content, total_timeout_ms=self._timeout_ms)
        except (NotSentError, MaybeSentError) as failure:
            return failed(failure, round(self._clock.monotonic_ms() - began_ms))
        took_ms = round(self._clock.monotonic_ms() - began_ms)
        return answered(answer, took_ms, now_ms + took_ms)


def signed_headers(webhook_id: str, unix_s: int, content: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """All headers of a try."""
    return {
        "content-type": "application/json",
        "user-agent": "axn-bind-worker",
        **signature_headers(webhook_id=webhook_id, unix_s=unix_s, body=content, keys=keys),
    }
