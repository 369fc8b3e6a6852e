"""Whether a call is signed as Standard Webhooks demands: `v1` by the specification's own library, `v1a` by ed25519."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
TOLERANCE_S = 300
_PUBLIC, _PRIVATE = "whpk_", "whsk_"


class _Key(Protocol):
    def verify(self, body: bytes, headers: dict[str, str]) -> None:
        """Raises WebhookVerificationError, or a ValueError of some decoder."""


class Verifier:
    """Verifies calls against several secrets, so that one can be replaced while both are in use.

    Raises:
        ValueError: a secret is empty, not base64, or of a kind that cannot verify; it is named by its place.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [_key(place, secret) for place, secret in enumerate(secrets, start=1)]

    def refusal(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Return why a call is not verified, or None when it is."""
        wanted = {name: headers[name] for name in HEADERS if name in headers}
        reasons = [_refusal(key, wanted, body) for key in self._keys]
        return None if None in reasons else reasons[0]


class _SymmetricKey:
    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)

    def verify(self, body: bytes, headers: dict[str, str]) -> None:
        self._webhook.verify(body, headers, json_parse=False)


class _PublicKey:
    def __init__(self, secret: str, now_s: Callable[[], float] = lambda: datetime.now(UTC).timestamp()) -> None:
        self._key = _ed25519_key(base64.b64decode(secret.removeprefix(_PUBLIC) + "==", validate=False))
        self._now_s = now_s

    def verify(self, body: bytes, headers: dict[str, str]) -> None:
        if not all(headers.get(name) for name in HEADERS):
            raise WebhookVerificationError("Missing required headers")
        webhook_id, timestamp, signatures = (headers[name] for name in HEADERS)
        self._check_time(timestamp)
        content = f"{webhook_id}.{timestamp}.".encode() + body
        for signature in signatures.split(" "):
            kind, _, encoded = signature.partition(",")
            if kind == "v1a" and self._fits(base64.b64decode(encoded, validate=True), content):
                return
        raise WebhookVerificationError("No matching signature found")

    def _check_time(self, timestamp: str) -> None:
        if not (timestamp.isascii() and timestamp.isdigit()):
            raise WebhookVerificationError("Invalid Signature Headers")
        age_s = self._now_s() - int(timestamp)
        if abs(age_s) > TOLERANCE_S:
            raise WebhookVerificationError(f"Message timestamp too {'old' if age_s > 0 else 'new'}")

    def _fits(self, signature: bytes, content: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an optional extra

        try:
            self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


def _ed25519_key(raw: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - as above
    except ImportError:
        raise ValueError("needs the package cryptography: pip install 'axn-bind-worker[ed25519]'") from None
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise ValueError("must hold the 32 bytes of an ed25519 public key behind whpk_") from None


def _key(place: int, secret: str) -> _Key:
    # The secret itself must not get into a log.
    if secret.startswith(_PRIVATE):
        raise ValueError(f"secret number {place} is the sender's private key (whsk_); the receiver has whpk_…")
    try:
        return _PublicKey(secret) if secret.startswith(_PUBLIC) else _SymmetricKey(secret)
    except (EmptyWebhookSecretError, binascii.Error) as error:
        raise ValueError(f"secret number {place} is empty or not base64") from error
    except ValueError as error:
        raise ValueError(f"secret number {place} {error}") from None


def _refusal(key: _Key, headers: dict[str, str], body: bytes) -> str | None:
    try:
        key.verify(body, headers)
    except WebhookVerificationError as error:
        return str(error)
    except ValueError as error:
        # The decoders' errors come through: bad base64, no comma in a signature, a body that is not UTF-8.
        return f"Malformed signature or body ({type(error).__name__})"
    return None
