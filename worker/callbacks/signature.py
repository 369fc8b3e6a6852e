"""Callback signatures as the Standard Webhooks specification 1.0.0 writes them.

Signed are the id, the time of this try in Unix seconds and the exact body, joined by dots, with HMAC-SHA256; several
keys give several signatures, separated by spaces, so that a key can be changed without a gap.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

_SECRET_PREFIX = "whsec_"  # noqa: S105 - the specification's prefix, not a secret


def decode_secrets(text: str) -> tuple[bytes, ...]:
    """Keys of `whsec_<base64>` secrets, separated by spaces.

    Raises:
        ValueError: one of them is not of that form.
    """
    return tuple(_decode_secret(secret) for secret in text.split())


def _decode_secret(secret: str) -> bytes:
    encoded = secret.removeprefix(_SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError(
            "AXN_CALLBACK_SECRET must be whsec_ followed by base64, such as `openssl rand -base64 24` prints"
        )
    return key


def signature_headers(*, webhook_id: str, unix_s: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The three headers of one try."""
    signed = b".".join((webhook_id.encode(), str(unix_s).encode(), body))
    signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(unix_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
