"""Phone numbers made unreadable in Redis: AES-256-GCM by a ring of keys, and a blind index beside each number.

A sealed number reads `~1.<key id>.<blind index>.<nonce, ciphertext and tag>`, the last two in base64url; `1` is the
version of this form. Everything before the last dot, the record's id and the place in the record go into the tag: no
sealed text can be moved to another record or field, or be given another index.

The blind index is the first 16 bytes of HMAC-SHA256 of the number, by a key of its own. Equal numbers have equal ones:
by it a binding's X is found, and whoever a number belongs to, without a key to read it.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from worker.errors import SealError

MARK = "~1."
"""Begins a sealed text. No number, JSON text or packed chunk begins so."""
DIGEST_MARK = "~"
"""Begins the digest of a request where it is made with the index key: a plain one can be guessed back to its number."""
_NONCE_BYTES = 12
_INDEX_BYTES = 16
_PARTS = 4


def key_id_of(text: str) -> str:
    """By which key a text is sealed; empty for a plain one."""
    return text.split(".", 2)[1] if text.startswith(MARK) else ""


def index_in(text: str) -> str:
    """What stands for a number in indexes, in scripts, too: the blind index of a sealed one, a plain one itself."""
    return text.split(".", _PARTS - 1)[2] if text.startswith(MARK) else text


@dataclass(frozen=True)
class Seal:
    """Seals and opens.

    Attributes:
        keys: by their ids. The first seals, all open; without any, what is written stays plain.
        index_key: of the blind index.
        writes_plain: the keys only open: before the first process seals, and after the last one has.
    """

    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    index_key: bytes = field(default=b"", repr=False)
    writes_plain: bool = False

    @property
    def is_on(self) -> bool:
        """Whether what is written is sealed."""
        return bool(self.keys) and not self.writes_plain

    @cached_property
    def writes_with(self) -> str:
        """The id of the key that seals; empty where nothing is sealed."""
        return next(iter(self.keys)) if self.is_on else ""

    def is_current(self, text: str) -> bool:
        """Whether a text stands as it would be written now."""
        return key_id_of(text) == self.writes_with

    @cached_property
    def _ciphers(self) -> Mapping[str, Any]:
        if not self.keys:
            return {}
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra of its own

        return {key_id: AESGCM(key) for key_id, key in self.keys.items()}

    @cached_property
    def _refusals(self) -> tuple[type[Exception], ...]:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above

        return InvalidTag, ValueError

    @cached_property
    def _encrypt(self) -> Callable[[bytes, bytes, bytes], bytes]:
        encrypt: Callable[[bytes, bytes, bytes], bytes] = self._ciphers[self.writes_with].encrypt
        return encrypt

    def check(self) -> None:
        """Raises ImportError where the package that it takes is not installed."""
        _ = self._ciphers

    def blind(self, number: str) -> str:
        """The blind index of a number."""
        return _text_of(self._hmac(b"number:" + number.encode())[:_INDEX_BYTES])

    def _hmac(self, content: bytes) -> bytes:
        """HMAC-SHA256, its two hashes of the key kept: `hmac.digest` makes them anew each time, at twice the cost."""
        inner, outer = (prepared.copy() for prepared in self._hashed_key)
        inner.update(content)
        outer.update(inner.digest())
        digest: bytes = outer.digest()
        return digest

    @cached_property
    def _hashed_key(self) -> tuple[Any, Any]:
        block = self.index_key.ljust(hashlib.sha256().block_size, b"\0")
        return tuple(hashlib.sha256(bytes(byte ^ pad for byte in block)) for pad in (0x36, 0x5C))  # type: ignore[return-value]

    def name_of(self, number: str) -> str:
        """What stands for this number in indexes, as it is written now."""
        return self.blind(number) if self.is_on else number

    def names_of(self, number: str) -> list[str]:
        """All that may stand for this number in indexes: first as it is written now, then as others may have."""
        if not self.keys:
            return [number]
        names = [self.blind(number), number]
        return names if self.is_on else names[::-1]

    def number(self, owner: str, place: str, number: str) -> str:
        """A number, sealed together with its blind index.

        Args:
            owner: id of the record that it goes into.
            place: where in that record.
            number: itself; an empty one stays empty.
        """
        return self._sealed(owner, place, number, self.blind(number)) if self.is_on and number else number

    def text(self, owner: str, place: str, text: str) -> str:
        """A text that nobody looks for, sealed; as `number`."""
        return self._sealed(owner, place, text, "") if self.is_on and text else text

    def _sealed(self, owner: str, place: str, text: str, index: str) -> str:
        head = f"{MARK}{self.writes_with}.{index}."
        nonce = os.urandom(_NONCE_BYTES)
        return head + _text_of(nonce + self._encrypt(nonce, text.encode(), _bound_to(head, owner, place)))

    def opened(self, owner: str, place: str, text: str) -> str:
        """What was sealed; a plain text as it is.

        Raises:
            SealError: its key is not in the ring, or it is not what was written here.
        """
        if not text.startswith(MARK):
            return text
        parts = text.split(".", _PARTS - 1)
        if len(parts) != _PARTS:
            raise SealError("a sealed text in the ledger is cut off")
        _, key_id, index, content = parts
        try:
            sealed = base64.urlsafe_b64decode(content + "==")
        except (binascii.Error, ValueError):
            raise SealError("a sealed text in the ledger is damaged") from None
        return self._open(key_id, sealed, _bound_to(f"{MARK}{key_id}.{index}.", owner, place)).decode()

    def packed(self, owner: str, place: str, content: bytes) -> bytes:
        """Bytes, sealed: `~1.<key id>.` and then nonce, ciphertext and tag as they are."""
        if not self.is_on:
            return content
        head = f"{MARK}{self.writes_with}."
        nonce = os.urandom(_NONCE_BYTES)
        return head.encode() + nonce + self._encrypt(nonce, content, _bound_to(head, owner, place))

    def unpacked(self, owner: str, place: str, content: bytes) -> bytes:
        """The bytes that were sealed; plain ones as they are. Raises SealError as `opened`."""
        if not content.startswith(MARK.encode()):
            return content
        _, key_id, sealed = content.split(b".", 2)
        head = f"{MARK}{key_id.decode()}."
        return self._open(key_id.decode(), sealed, _bound_to(head, owner, place))

    def _open(self, key_id: str, sealed: bytes, bound_to: bytes) -> bytes:
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SealError(
                f"the ledger holds numbers under the key {key_id!r}, which AXN_ENCRYPTION__KEYS does not name; "
                "add it behind the first key. Nothing is lost: jobs wait until it is there"
            )
        try:
            opened: bytes = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
        except self._refusals:
            raise SealError(
                f"a text under the key {key_id!r} is not what was written at its place: another key has that id, or "
                "the record was changed by other hands"
            ) from None
        return opened

    def digests(self, digest: str) -> Sequence[str]:
        """A request's digest: first as it is written now, then as others may have."""
        if not (self.keys and digest):
            return [digest]
        digests = [DIGEST_MARK + self._hmac(b"digest:" + digest.encode()).hex()[:32], digest]
        return digests if self.is_on else digests[::-1]

    def digests_of_rows(self, digest: bytes) -> Sequence[bytes]:
        """The same for a digest of 16 bytes, which keeps its length: as it is written now, and as others may have."""
        if not self.keys:
            return [digest, digest]
        digests = [self._hmac(b"rows:" + digest)[:_INDEX_BYTES], digest]
        return digests if self.is_on else digests[::-1]


NO_SEAL = Seal()
"""Writes plain texts, and cannot read sealed ones."""


def _text_of(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bound_to(head: str, owner: str, place: str) -> bytes:
    return f"{head}\0{owner}\0{place}".encode()
