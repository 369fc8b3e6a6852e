"""A new key for a receiver host or a named secret, without a gap: the old ones sign on until the grace ends."""

import re
from dataclasses import dataclass, field

from worker.callbacks.receivers import receiver_of
from worker.callbacks.signature import SigningKey, fingerprint_of, new_key
from worker.domain.callback_secret import SecretOwner, check_secret_name
from worker.errors import AxnError
from worker.ledger.callback_secrets import MOST_LIVE_KEYS, CallbackSecrets, RefusedRotation, StoredSecret

LONGEST_GRACE_MS = 7 * 86_400_000
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*|[0-9a-f:]*:[0-9a-f:.]*")
_LONGEST_HOST = 253


class RotationRefusedError(AxnError):
    """Nothing was changed; the message says why and what can be done."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation that was made.

    Attributes:
        key: the new one: the only place that its secret is ever told.
        stored: all keys as they stand now.
    """

    key: SigningKey = field(repr=False)
    fingerprint: str
    stored: StoredSecret


def host_owner(host: str) -> SecretOwner:
    """The owner that a person means by a host, such as Shop.Example.

    Raises:
        ValueError: it is no host; the message says what one is.
    """
    bracketed = f"[{host}]" if ":" in host else host
    found = "" if set(host) & set("/?#@[]\\") else receiver_of(f"https://{bracketed}/")
    if not _HOST.fullmatch(found) or len(found) > _LONGEST_HOST:
        raise ValueError("must be a host alone, such as shop.example: no scheme, port or path")
    return SecretOwner(found, is_host=True)


def named_owner(name: str) -> SecretOwner:
    """The owner of this name.

    Raises:
        ValueError: says what a name is.
    """
    return SecretOwner(check_secret_name(name), is_host=False)


@dataclass(frozen=True, slots=True)
class Rotations:
    """Makes them."""

    secrets: CallbackSecrets

    async def rotate(
        self, owner: SecretOwner, *, grace_ms: int, given: SigningKey | None = None, is_ed25519: bool = False
    ) -> Rotation:
        """Make a key, or take the given one; it signs within seconds, the others until the grace ends.

        Of two rotations at once one is refused, so that no key is live whose maker was not told of it.

        Raises:
            RotationRefusedError: nothing was changed.
            MissingExtraError: an ed25519 key, and `cryptography` is not installed.
            RedisError: Redis is away; the key may be live or not. The old ones sign on as said.
        """
        key = given or new_key(is_ed25519=is_ed25519)
        fingerprint = fingerprint_of(key)
        before = await self.secrets.read(owner)
        made = await self.secrets.rotate(
            owner, fingerprint=fingerprint, secret=key.secret, version=before.version, grace_ms=grace_ms
        )
        if isinstance(made, RefusedRotation):
            raise RotationRefusedError(_refusal(made, owner.name))
        return Rotation(key, fingerprint, made)


def _refusal(refused: RefusedRotation, who: str) -> str:
    if refused.why == "full":
        return (
            f"{who} has {MOST_LIVE_KEYS} live keys, the most there may be; the next of them retires in "
            f"{refused.free_in_ms / 3_600_000:.1f} h, or end them sooner with a shorter --grace"
        )
    if refused.why == "current":
        return f"this is {who}'s newest key already"
    return f"somebody else rotated {who} in this very moment; look at `axn callbacks secrets`, and repeat if need be"
