"""One call of the provider's API: sign, post, judge."""

from collections.abc import Mapping

from worker.clock import Clock
from worker.domain.outcome import Outcome, Verdict
from worker.http import HttpClient, HttpError
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


class ProviderClient:
    """The provider, seen by one account.

    Args:
        http: the pool of connections; closed by its owner.
        endpoint: `https://host[:port]`; http for a sandbox.
        credentials: of the account or its RAM user.
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
        credentials: Credentials,
        signature_version: SignatureVersion,
        answer_format: AnswerFormat,
        total_timeout_ms: int,
        clock: Clock,
    ) -> None:
        self._http = http
        self._endpoint = Endpoint.parse(endpoint)
        self._credentials = credentials
        self._build = build_v1 if signature_version == "v1" else build_v3
        self._answer_format = answer_format
        self._total_timeout_ms = total_timeout_ms
        self._clock = clock

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        """Send this action once, dated now. Raises nothing but CancelledError.

        Args:
            action: as the API names it, BindAxn.
            parameters: business parameters, wire names and texts.
            nonce: of this attempt, see `attempt_nonce`.
        """
        try:
            request = self._sign(action, parameters, nonce)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was sent
            return Outcome(Verdict.WRONG_REQUEST, "request.unsignable", f"not a text: {type(error).__name__}")
        return await self._send(action, request)

    def _sign(self, action: str, parameters: Mapping[str, str], nonce: str) -> SignedRequest:
        call = Call(action, parameters, nonce, timestamp_text(self._clock.unix_ms()))
        return self._build(
            call,
            endpoint=self._endpoint,
            credentials=self._credentials,
            answer_format=self._answer_format,
        )

    async def _send(self, action: str, request: SignedRequest) -> Outcome:
        try:
            answer = await self._http.post(
                request.url,
                headers=request.headers,
                content=request.content,
                total_timeout_ms=self._total_timeout_ms,
            )
        except HttpError as failure:
            return judge_failure(action, failure)
        return judge_answer(action, answer)
