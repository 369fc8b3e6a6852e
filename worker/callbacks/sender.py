"""One try of a callback: sign, post, judge."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.callbacks.signature import signature_headers
from worker.clock import Clock
from worker.http import HttpClient, MaybeSentError, NotSentError

_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class TryResult:
    """What a try came to. `text` is for people: a status or a kind of failure."""

    is_delivered: bool
    text: str


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

    async def send(self, *, url: str, webhook_id: str, body: str) -> TryResult:
        """Post the body once, signed for this moment. 2xx alone is success. Raises nothing."""
        if not self._keys:
            return TryResult(is_delivered=False, text="not sent: AXN_CALLBACK_SECRET is not set")
        content = body.encode()
        headers = signed_headers(webhook_id, self._clock.unix_ms() // 1000, content, self._keys)
        try:
            answer = await self._http.post(url, headers=headers, content=content, total_timeout_ms=self._timeout_ms)
        except (NotSentError, MaybeSentError) as failure:
            return TryResult(is_delivered=False, text=failure.kind)
        return TryResult(is_delivered=answer.status in _SUCCESS, text=f"HTTP {answer.status}")


def signed_headers(webhook_id: str, unix_s: int, content: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """All headers of a try."""
    return {
        "content-type": "application/json",
        "user-agent": "axn-bind-worker",
        **signature_headers(webhook_id=webhook_id, unix_s=unix_s, body=content, keys=keys),
    }
