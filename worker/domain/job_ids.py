"""Job ids: 26 characters of lower-case Crockford base 32.

Without an idempotency key an id is random and time-ordered (48 bits of Unix milliseconds, then 80 random bits: its
first character is a digit up to 7). With one, it is the letter `k` and 125 bits of the key's SHA-256, so that the same
key is always the same job, whoever asks.
"""

import hashlib
import secrets
from collections.abc import Callable

PARTITION_COUNT = 16
"""Partitions of the ledger. Never to be changed on a ledger in use: ids choose their partition by it."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(5 * (_LENGTH - 2), -1, -10)
_RANDOM_BITS = 80
_DERIVED_BITS = 125


def _base32(number: int, length: int) -> str:
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])[_LENGTH - length :]


def new_job_id(unix_ms: int, random_bits: Callable[[int], int] = secrets.randbits) -> str:
    """A random id that sorts after those of earlier milliseconds."""
    return _base32((unix_ms << _RANDOM_BITS) | random_bits(_RANDOM_BITS), _LENGTH)


def job_id_for_key(idempotency_key: str) -> str:
    """The id that this key stands for, in every process and for ever."""
    digest = hashlib.sha256(f"axn1:{idempotency_key}".encode()).digest()
    return "k" + _base32(int.from_bytes(digest) >> (256 - _DERIVED_BITS), _LENGTH - 1)


def is_job_id(text: str) -> bool:
    """Whether it has an id's form."""
    return len(text) == _LENGTH and not text.strip(_ALPHABET)


def partition_of(job_id: str) -> int:
    """The partition, 0 to 15, that holds this job's record and its place in the timetable."""
    return hashlib.blake2s(job_id.encode(), digest_size=1).digest()[0] % PARTITION_COUNT
