"""Keys for numbers at rest, as the settings take them: base64 of 32 bytes, in a ring of `id:key`."""

import base64
import binascii
import hashlib
import re
import secrets

KEY_BYTES = 32
PLAIN = "plain"
"""First in a ring: see `is_plain_first`."""
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,15}", re.ASCII)
_KEY_RULE = "must be the base64 of 32 bytes, as `axn keys new` prints it"


def new_key() -> str:
    """A random key."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def is_key_id(text: str) -> bool:
    """Whether a key may have this id."""
    return _ID.fullmatch(text) is not None


def parse_key(text: str) -> bytes:
    """Read a key.

    Raises:
        ValueError: it is none. The key is not in the message.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(_KEY_RULE)
    return key


def is_plain_first(text: str) -> bool:
    """Whether a ring begins with the word `plain`: its keys read, and what is written is not sealed."""
    return text.partition(",")[0].strip() == PLAIN


def parse_ring(text: str) -> dict[str, bytes]:
    """Read `id:key,id:key`, the first of which writes; or `plain,id:key`, of which none does.

    Raises:
        ValueError: names the entry, never a key.
    """
    ring: dict[str, bytes] = {}
    for place, entry in enumerate((part.strip() for part in text.split(",")), 1):
        if not entry or (place == 1 and entry == PLAIN):
            continue
        key_id, colon, key = entry.partition(":")
        if not colon or not is_key_id(key_id):
            raise ValueError(
                f"entry {place}: must be id:key, the id of up to 16 lower-case letters, digits, - and _, such as "
                "2026a:…; `axn keys new` prints one"
            )
        if key_id in ring:
            raise ValueError(f"entry {place}: the id {key_id} stands for another key already; ids are never used again")
        try:
            ring[key_id] = parse_key(key)
        except ValueError as wrong:
            raise ValueError(f"entry {place} ({key_id}): {wrong}") from None
    return ring


def fingerprint_of(key: bytes) -> str:
    """By which two people can tell that they hold the same key."""
    return hashlib.sha256(b"axn key:" + key).hexdigest()[:12]
