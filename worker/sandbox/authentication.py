"""Who may ask: access key, token, timestamp, signature and nonce, in this order."""

import re
from collections import deque
from datetime import UTC, datetime

from worker.sandbox.config import AccessKey, SandboxConfig
from worker.sandbox.envelopes import Envelope
from worker.sandbox.refusals import GatewayError
from worker.sandbox.signatures import same

_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)


class UsedNonces:
    """The nonces seen lately, from whichever key: the provider's support says they are unique network-wide."""

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._seen: set[str] = set()
        self._in_order: deque[tuple[float, str]] = deque()

    def burn(self, nonce: str, now: float) -> bool:
        """Mark a nonce as used. False if it already was."""
        while self._in_order and self._in_order[0][0] <= now - self._memory_s:
            self._seen.discard(self._in_order.popleft()[1])
        if nonce in self._seen:
            return False
        self._seen.add(nonce)
        self._in_order.append((now, nonce))
        return True

    def unburn_last(self, nonce: str) -> None:
        """Take the latest burning back, if it was this nonce's."""
        if self._in_order and self._in_order[-1][1] == nonce:
            self._in_order.pop()
            self._seen.discard(nonce)


class Authenticator:
    """Checks a request against the keys and the clock, and burns its nonce."""

    def __init__(self, config: SandboxConfig) -> None:
        self._keys = {key.key_id: key for key in config.access_keys}
        self._clock_skew_s = config.clock_skew_s
        self._burned_by = config.unknowns.nonce_burned_by
        self._nonces = UsedNonces(config.nonce_memory_s)

    def check(self, envelope: Envelope, now: float) -> None:
        """Let a request pass, or raise.

        Raises:
            GatewayError: With the code of the provider's public error table.
        """
        if self._burned_by == "received":
            self._burn(envelope, now)
        self._check_signer(envelope, now)
        # Only now: a request that fails its signature must not use up the nonce of one that does not.
        if self._burned_by != "received":
            self._burn(envelope, now)

    def forget(self, envelope: Envelope) -> None:
        """Take back that a request came: its nonce is unused again."""
        self._nonces.unburn_last(envelope.nonce)

    def refused(self, envelope: Envelope) -> None:
        """Say that a request with a good signature went no further than the gateway."""
        if self._burned_by == "accepted":
            self.forget(envelope)

    def _burn(self, envelope: Envelope, now: float) -> None:
        if not self._nonces.burn(envelope.nonce, now):
            raise GatewayError(400, "SignatureNonceUsed", "Specified signature nonce was used already.")

    def _check_signer(self, envelope: Envelope, now: float) -> None:
        key = self._keys.get(envelope.access_key_id)
        if key is None:
            raise GatewayError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
        _check_token(key, envelope.security_token, now)
        self._check_timestamp(envelope.timestamp, now)
        string_to_sign = envelope.string_to_sign()
        if not envelope.is_signed_with(key.secret, string_to_sign):
            raise _does_not_match(string_to_sign)

    def _check_timestamp(self, timestamp: str, now: float) -> None:
        sent_at = _parse_timestamp(timestamp)
        if sent_at is None:
            raise GatewayError(
                400, "InvalidTimeStamp.Format", "Specified time stamp must be yyyy-MM-ddTHH:mm:ssZ, in UTC."
            )
        if abs(now - sent_at) > self._clock_skew_s:
            raise GatewayError(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")


def _check_token(key: AccessKey, token: str, now: float) -> None:
    if key.token is not None and not token:
        raise GatewayError(400, "MissingSecurityToken", "SecurityToken is mandatory for this access key.")
    if not same(token, key.token or ""):
        raise GatewayError(
            400, "InvalidSecurityToken.MismatchWithAccessKey", "Specified SecurityToken mismatch with the AccessKey."
        )
    if key.expires_at is not None and now >= key.expires_at:
        raise GatewayError(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")


def _parse_timestamp(text: str) -> float | None:
    if not _TIMESTAMP.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _does_not_match(string_to_sign: str) -> GatewayError:
    # Exactly one colon stands before the string: the provider's older client compares what follows the first.
    return GatewayError(
        400,
        "SignatureDoesNotMatch",
        f"Specified signature is not matched with our calculation. server string to sign is:{string_to_sign}",
    )
