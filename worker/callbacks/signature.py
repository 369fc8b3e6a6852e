"""Callback signatures as the Standard Webhooks specification 1.0.0 writes them.

Signed are the id, the time of this try in Unix seconds and the exact body, joined by dots. Each live key gives one
signature, separated by spaces, so that a key can be changed without a gap: `v1` is HMAC-SHA256 with a `whsec_` secret,
`v1a` ed25519 with a `whsk_` key, whose holder of the `whpk_` key verifies.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_HMAC, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_HMAC_BYTES = range(24, 65)
"""The specification's bounds. Shorter secrets are refused, though some of its libraries take them."""
_NEW_HMAC_BYTES = 32
_SEED_BYTES = 32
_PAIR_BYTES = 64
_FINGERPRINT_DIGITS = 12
_HMAC_RULE = "must be whsec_ followed by the base64 of 24 to 64 bytes, such as `openssl rand -base64 32` prints"
_ED25519_RULE = "must, behind whsk_, be the base64 of an ed25519 seed (32 bytes) or of seed and public key (64)"


class MissingExtraError(ValueError):
    """An ed25519 key is used where the package `cryptography` is not installed."""

    def __init__(self) -> None:
        super().__init__("whsk_ keys (ed25519) need the package cryptography: pip install 'axn-bind-worker[ed25519]'")


class SigningKey(Protocol):
    """One live key."""

    @property
    def secret(self) -> str:
        """As the specification writes it, prefix and padding included."""

    @property
    def public_key(self) -> str:
        """`whpk_…`; empty for a symmetric key."""

    def sign(self, content: bytes) -> str:
        """One signature with its identifier in front."""


@dataclass(frozen=True, slots=True)
class HmacKey:
    """A key of `v1`: whoever verifies holds it, too."""

    key: bytes = field(repr=False)
    public_key: str = field(default="", init=False)

    @property
    def secret(self) -> str:
        """`whsec_…`."""
        return _HMAC + base64.b64encode(self.key).decode()

    def sign(self, content: bytes) -> str:
        """`v1,<base64>`."""
        return "v1," + base64.b64encode(hmac.digest(self.key, content, hashlib.sha256)).decode()


class Ed25519Key:
    """A key of `v1a`: it stays with the sender.

    Raises:
        MissingExtraError: `cryptography` is not installed.
    """

    __slots__ = ("_private", "_public", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._private = _private_key(seed)
        self._public = self._private.public_key().public_bytes_raw()

    @property
    def secret(self) -> str:
        """`whsk_…` of seed and public key, the form that libsodium and others read."""
        return _PRIVATE + base64.b64encode(self._seed + self._public).decode()

    @property
    def public_key(self) -> str:
        """`whpk_…`, for the receiver."""
        return _PUBLIC + base64.b64encode(self._public).decode()

    def sign(self, content: bytes) -> str:
        """`v1a,<base64>`."""
        return "v1a," + base64.b64encode(self._private.sign(content)).decode()


def _private_key(seed: bytes) -> "Ed25519PrivateKey":
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtraError from None
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed)


def fingerprint_of(key: SigningKey) -> str:
    """Twelve hex digits that name a key and do not tell it: of the SHA-256 of what its receiver holds, as text."""
    held = key.public_key or key.secret
    return hashlib.sha256(held.encode()).hexdigest()[:_FINGERPRINT_DIGITS]


def new_key(*, is_ed25519: bool, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> SigningKey:
    """A random key.

    Raises:
        MissingExtraError: ed25519 is asked for and `cryptography` is not installed.
    """
    return Ed25519Key(random_bytes(_SEED_BYTES)) if is_ed25519 else HmacKey(random_bytes(_NEW_HMAC_BYTES))


def parse_secret(secret: str) -> SigningKey:
    """The key of a `whsec_` or `whsk_` secret; one without prefix is symmetric, padding may be missing.

    Raises:
        ValueError: it is not of that form; the message does not hold it. MissingExtraError is one.
    """
    if secret.startswith(_PUBLIC):
        raise ValueError("must not be a public key (whpk_): nothing can be signed with it")
    if secret.startswith(_PRIVATE):
        return _parse_ed25519(_decoded(secret.removeprefix(_PRIVATE)))
    key = _decoded(secret.removeprefix(_HMAC))
    if len(key) not in _HMAC_BYTES:
        raise ValueError(_HMAC_RULE)
    return HmacKey(key)


def _parse_ed25519(raw: bytes) -> SigningKey:
    if len(raw) not in (_SEED_BYTES, _PAIR_BYTES):
        raise ValueError(_ED25519_RULE)
    key = Ed25519Key(raw[:_SEED_BYTES])
    if len(raw) == _PAIR_BYTES and key.secret != _PRIVATE + base64.b64encode(raw).decode():
        raise ValueError(f"{_ED25519_RULE}: this public key is not the seed's")
    return key


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return b""


def decode_secrets(text: str) -> tuple[SigningKey, ...]:
    """Keys of AXN_CALLBACK_SECRET: secrets separated by spaces.

    Raises:
        ValueError: one of them is not of that form; the message names the variable.
    """
    try:
        return tuple(parse_secret(secret) for secret in text.split())
    except ValueError as wrong:
        raise ValueError(f"AXN_CALLBACK_SECRET {wrong}") from None


def signature_headers(*, webhook_id: str, unix_s: int, body: bytes, keys: Sequence[SigningKey]) -> dict[str, str]:
    """The three headers of one try."""
    content = b".".join((webhook_id.encode(), str(unix_s).encode(), body))
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(unix_s),
        "webhook-signature": " ".join(key.sign(content) for key in keys),
    }
