"""Whose record is it? A number is compared with what a record holds, plain or by its blind index, without any key.

The blind index stands beside each sealed number, so it needs no room and no write of its own, and goes when the record
does. The price is that a person is looked for in all records: docs/decisions/0041-numbers-sealed-one-by-one.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from worker.ledger.seal import MARK, Seal, index_in
from worker.ledger.sealed_records import JSON_FIELDS

_PEOPLE = re.compile(r'"(PhoneNoA|PhoneNoB)"\s*:\s*"([^"\\]+)"')
_PRIVATE = re.compile(r'"(?:PhoneNoX|SecretNo|phone_no_x)"\s*:\s*"([^"\\]+)"')


@dataclass(frozen=True, slots=True)
class Person:
    """A number as records may hold it."""

    number: str
    names: frozenset[str]

    @classmethod
    def of(cls, number: str, seal: Seal) -> "Person":
        """Whoever has this number."""
        index = [seal.blind(number)] if seal.index_key else []
        return cls(number, frozenset([number, *index]))

    def is_in(self, stored: str) -> bool:
        """Whether a stored number is this one."""
        return index_in(stored) in self.names

    def roles_in(self, record: Mapping[str, str]) -> str:
        """As what a job's record names the number: `A`, `B`, `AB`, or `X` where only that; empty for not at all."""
        roles, is_x = set(), any(self.is_in(record.get(name, "")) for name in ("phone_no_x", "old_phone_no_x"))
        for name in JSON_FIELDS:
            text = record.get(name, "")
            roles |= {found[1][-1] for found in _PEOPLE.finditer(text) if self.is_in(found[2])}
            is_x = is_x or any(self.is_in(found[1]) for found in _PRIVATE.finditer(text))
        return "".join(sorted(roles)) or ("X" if is_x else "")


def is_beyond_search(record: Mapping[str, str], seal: Seal) -> bool:
    """Whether a record holds sealed numbers, and there is no index key to compare them by."""
    return not seal.index_key and any(MARK in record.get(name, "") for name in JSON_FIELDS)
