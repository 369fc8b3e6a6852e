"""One try of a callback: sign, post, judge."""

from collections.abc import Callable, Mapping, Sequence

from worker.callbacks.keyring import Keyring, NoKeyError
from worker.callbacks.receivers import receiver_of
from worker.callbacks.results import TryResult, answered, failed
from worker.callbacks.signature import SigningKey, signature_headers
from worker.clock import Clock
from worker.http import HttpClient, MaybeSentError, NotSentError


class CallbackSender:
    """Sends callbacks; follows no redirect, uses no proxy of the environment, calls no denied address.

    Args:
        http: a client whose socket factory is the guard's.
        keyring: knows the live keys; without one nothing is sent.
        more_headers: asked for each try: they are sent, too, and not signed.
    """

    def __init__(
        self,
        http: HttpClient,
        *,
        keyring: Keyring,
        timeout_ms: int,
        clock: Clock,
        more_headers: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._http = http
        self._keyring = keyring
        self._timeout_ms = timeout_ms
        self._clock = clock
        self._more_headers = more_headers

    async def send(self, *, url: str, webhook_id: str, body: str, secret: str = "") -> TryResult:
        """Post the body once, signed for this moment. 2xx alone is success. Raises nothing.

        Args:
            url: of the receiver.
            webhook_id: of the event; the same for all its tries.
            body: as above.
            secret: the name of the request's secret; empty: the receiver's own keys.
        """
        try:
            keys = await self._keyring.keys_for(receiver_of(url), secret)
        except NoKeyError as lack:
            return TryResult("no_secret", lack=str(lack))
        content = body.encode()
        now_ms, began_ms = self._clock.unix_ms(), self._clock.monotonic_ms()
        headers = signed_headers(webhook_id, now_ms // 1000, content, keys) | dict(self._more_headers())
        try:
            answer = await self._http.post(url, headers=headers, content=content, total_timeout_ms=self._timeout_ms)
        except (NotSentError, MaybeSentError) as failure:
            return failed(failure, round(self._clock.monotonic_ms() - began_ms))
        took_ms = round(self._clock.monotonic_ms() - began_ms)
        return answered(answer, took_ms, now_ms + took_ms)


def signed_headers(webhook_id: str, unix_s: int, content: bytes, keys: Sequence[SigningKey]) -> dict[str, str]:
    """All headers of a try."""
    return {
        "content-type": "application/json",
        "user-agent": "axn-bind-worker",
        **signature_headers(webhook_id=webhook_id, unix_s=unix_s, body=content, keys=keys),
    }
