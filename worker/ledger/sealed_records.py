"""Where numbers stand in the ledger's records, and how they get in and out: the one seam of the encryption.

A number is sealed by itself, so that scripts go on reading the rest of a JSON text (an Expiration, an order's id).
Callbacks' bodies are sealed whole. What producers call things in their own words (ids, order keys, URLs) stays plain.
"""

import re
from collections.abc import Mapping, Sequence

from worker.ledger.seal import MARK, Seal

NUMBER_FIELDS = frozenset({"phone_no_x", "old_phone_no_x"})
JSON_FIELDS = frozenset({"request", "old"})
BODY = "body"
_FIXED = frozenset({*NUMBER_FIELDS, *JSON_FIELDS, BODY})
ORPHAN_PREFIX = "orphan:"
"""Of the record's fields that hold an orphan each, as report_orphan.lua writes them."""
_PREFIX_LETTERS = len(ORPHAN_PREFIX)
_NAMES = "PhoneNoA|PhoneNoB|PhoneNoX|SecretNo|phone_no_x"
_PLAIN = re.compile(rf'"({_NAMES})"(\s*:\s*)"([^"\\]+)"')
_SEALED = re.compile(rf'"({_NAMES})"(\s*:\s*)"({re.escape(MARK)}[^"\\]+)"')


def is_sealed_field(name: str) -> bool:
    """Whether a record's field of this name is sealed, wholly or in part."""
    return name in _FIXED or name[:_PREFIX_LETTERS] == ORPHAN_PREFIX


def sealed_value(seal: Seal, owner: str, name: str, value: str) -> str:
    """A field's value as it goes into Redis."""
    if name in NUMBER_FIELDS:
        return seal.number(owner, name, value)
    if name == BODY:
        return seal.text(owner, name, value)
    return sealed_json(seal, owner, name, value) if is_sealed_field(name) else value


def sealed_json(seal: Seal, owner: str, place: str, text: str) -> str:
    """A JSON text with the numbers in it sealed."""
    if not seal.is_on:
        return text
    return _PLAIN.sub(
        lambda found: f'"{found[1]}"{found[2]}"{seal.number(owner, f"{place}.{found[1]}", found[3])}"', text
    )


def sealed_pairs(seal: Seal, owner: str, pairs: list[str]) -> list[str]:
    """Field, value, field, value … with the numbers in them sealed.

    Args:
        seal: by which.
        owner: the job's id, or the callback's webhook-id.
        pairs: as the scripts take them.
    """
    if not seal.is_on:
        return pairs
    sealed = list(pairs)
    for at in range(0, len(sealed), 2):
        if is_sealed_field(sealed[at]):
            sealed[at + 1] = sealed_value(seal, owner, sealed[at], sealed[at + 1])
    return sealed


def opened_value(seal: Seal, owner: str, name: str, value: str) -> str:
    """A field's value as it was given. Raises SealError where it cannot be read."""
    if MARK not in value:
        return value
    if name in NUMBER_FIELDS or name == BODY:
        return seal.opened(owner, name, value)
    return _SEALED.sub(
        lambda found: f'"{found[1]}"{found[2]}"{seal.opened(owner, f"{name}.{found[1]}", found[3])}"', value
    )


def opened_record(seal: Seal, owner: str, record: Mapping[str, str]) -> dict[str, str]:
    """A record as it was given; see `opened_value`."""
    names = [name for name in _FIXED if MARK in record.get(name, "")]
    if "orphans" in record:
        names += [name for name in record if name.startswith(ORPHAN_PREFIX)]
    return {**record, **{name: opened_value(seal, owner, name, record[name]) for name in names}}


def opened_fields(seal: Seal, owner: str, names: Sequence[str], values: Sequence[str | None]) -> dict[str, str | None]:
    """Some fields of a record, as HMGET answers; see `opened_value`."""
    return {
        name: opened_value(seal, owner, name, value) if value and is_sealed_field(name) else value
        for name, value in zip(names, values, strict=True)
    }


def sealed_texts(name: str, value: str) -> list[str]:
    """The sealed texts in a field's value."""
    if MARK not in value:
        return []
    if name in NUMBER_FIELDS or name == BODY:
        return [value] if value.startswith(MARK) else []
    return [found[3] for found in _SEALED.finditer(value)]


def plain_numbers(name: str, value: str) -> bool:
    """Whether a field's value holds something that would be sealed, and is not."""
    if name in NUMBER_FIELDS or name == BODY:
        return bool(value) and not value.startswith(MARK)
    return any(not found[3].startswith(MARK) for found in _PLAIN.finditer(value))


def resealed_value(seal: Seal, owner: str, name: str, value: str) -> str:
    """A field's value under the first key of the ring; the very same where it is that already. Raises SealError."""
    if name in NUMBER_FIELDS or name == BODY:
        return (
            value
            if not value or seal.is_current(value)
            else sealed_value(seal, owner, name, opened_value(seal, owner, name, value))
        )

    def resealed(found: re.Match[str]) -> str:
        sealed = found[3]
        if not seal.is_current(sealed):
            place = f"{name}.{found[1]}"
            sealed = seal.number(owner, place, seal.opened(owner, place, sealed))
        return f'"{found[1]}"{found[2]}"{sealed}"'

    return _PLAIN.sub(resealed, value)
