"""One call of the provider's API: sign, post, judge."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from worker.clock import Clock
from worker.domain.outcome import Outcome, Verdict
from worker.http import HttpClient, HttpError
from worker.provider.credentials import CredentialsSource, CredentialsUnavailableError, StaticCredentials
from worker.provider.outcomes import judge_answer, judge_failure
from worker.provider.requests import (
    AnswerFormat,
    Call,
    Credentials,
    Endpoint,
    SignatureVersion,
    SignedRequest,
    build_v1,
    build_v3,
    timestamp_text,
)
from worker.provider.server_time import ServerTime

_REFUSED_TIMESTAMP = "InvalidTimeStamp.Expired"
_REFUSED_KEYS = ("InvalidSecurityToken", "InvalidAccessKeyId")


@dataclass(frozen=True, slots=True)
class _Sent:
    """One request and its end.

    Attributes:
        signed_ms: its timestamp, Unix milliseconds.
        at_ms: when it was signed, monotonic.
        date: of the answer, or empty.
    """

    outcome: Outcome
    signed_ms: int
    at_ms: float
    date: str = ""


class ProviderClient:
    """The provider, seen by one account.

    Args:
        http: the pool of connections; closed by its owner.
        endpoint: `https://host[:port]`; http for a sandbox.
        credentials: of the account or its RAM user, or where they come from.
        signature_version: v3 as the official SDK signs, or v1 for old accounts and proxies.
        answer_format: what the provider is asked to answer in.
        total_timeout_ms: for one call, waiting for a connection included.
        clock: dates the signatures.

    Raises:
        ValueError: the endpoint is not a bare origin.
    """

    def __init__(
        self,
        http: HttpClient,
        *,
        endpoint: str,
        credentials: Credentials | CredentialsSource,
        signature_version: SignatureVersion,
        answer_format: AnswerFormat,
        total_timeout_ms: int,
        clock: Clock,
    ) -> None:
        self._http = http
        self._endpoint = Endpoint.parse(endpoint)
        self._credentials = StaticCredentials(credentials) if isinstance(credentials, Credentials) else credentials
        self._fixed = self._credentials.key if isinstance(self._credentials, StaticCredentials) else None
        self._build = build_v1 if signature_version == "v1" else build_v3
        self._answer_format = answer_format
        self._total_timeout_ms = total_timeout_ms
        self._clock = clock
        self._time = ServerTime(clock)

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        """Send this action once, dated now. Raises nothing but CancelledError.

        A refused timestamp is the exception: the provider's time is learnt from the answer, and the attempt sent again
        once, within the same total timeout. It keeps its nonce: the refusal came before any processing, so there is
        nothing to do twice, and whoever later asks after this attempt knows no other nonce. Should the provider have
        remembered the nonce all the same, it answers SignatureNonceUsed, which is never taken for a success.

        Args:
            action: as the API names it, BindAxn.
            parameters: business parameters, wire names and texts.
            nonce: of this attempt, see `attempt_nonce`.
        """
        began_ms = self._clock.monotonic_ms()
        sent = await self._attempt(action, parameters, nonce, began_ms)
        if self._is_clock_refused(sent) and self._left_ms(began_ms) > 0:
            sent = await self._attempt(action, parameters, nonce, began_ms)
        return sent.outcome

    async def _attempt(self, action: str, parameters: Mapping[str, str], nonce: str, began_ms: float) -> _Sent:
        credentials = self._fixed or await self._current_credentials(began_ms)
        signed_ms, at_ms = self._time.unix_ms(), self._clock.monotonic_ms()
        if isinstance(credentials, Outcome):
            return _Sent(credentials, signed_ms, at_ms)
        try:
            request = self._sign(Call(action, parameters, nonce, timestamp_text(signed_ms)), credentials)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was sent
            return _Sent(_unsignable(error), signed_ms, at_ms)
        outcome, date = await self._send(action, request, max(self._left_ms(began_ms), 1))
        if outcome.code.startswith(_REFUSED_KEYS):
            self._credentials.forget()
        return _Sent(outcome, signed_ms, at_ms, date)

    async def _current_credentials(self, began_ms: float) -> Credentials | Outcome:
        try:
            async with asyncio.timeout(self._left_ms(began_ms) / 1000):
                return await self._credentials.current()
        except CredentialsUnavailableError as unavailable:
            reason = str(unavailable)
        except TimeoutError:
            reason = "no answer in time"
        return Outcome(Verdict.ACCOUNT, "credentials.unavailable", f"no key from the credentials chain: {reason}")

    def _is_clock_refused(self, sent: _Sent) -> bool:
        """Whether another timestamp would help."""
        if sent.outcome.code != _REFUSED_TIMESTAMP or sent.outcome.verdict is not Verdict.NOT_PROCESSED:
            return False
        sent_ms_ago = self._clock.monotonic_ms() - sent.at_ms
        return self._time.learn(sent.date, signed_ms=sent.signed_ms, sent_ms_ago=sent_ms_ago)

    def _left_ms(self, began_ms: float) -> int:
        return int(self._total_timeout_ms - (self._clock.monotonic_ms() - began_ms))

    def _sign(self, call: Call, credentials: Credentials) -> SignedRequest:
        return self._build(
            call,
            endpoint=self._endpoint,
            credentials=credentials,
            answer_format=self._answer_format,
        )

    async def _send(self, action: str, request: SignedRequest, timeout_ms: int) -> tuple[Outcome, str]:
        """The outcome, and the answer's Date."""
        try:
            answer = await self._http.post(
                request.url, headers=request.headers, content=request.content, total_timeout_ms=timeout_ms
            )
        except HttpError as failure:
            return judge_failure(action, failure), ""
        return judge_answer(action, answer), answer.headers.get("date", "")


def _unsignable(error: Exception) -> Outcome:
    return Outcome(Verdict.WRONG_REQUEST, "request.unsignable", f"not a text: {type(error).__name__}")
