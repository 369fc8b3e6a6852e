"""Rows that a program gives, as mappings of field names to values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from worker.batches.columns import given_of
from worker.batches.raw_rows import WHOLE_ROW, RawRow, unreadable
from worker.domain.masking import mask_value
from worker.errors import FieldFault


class MappingTable:
    """Rows from any iterable, read once. The first stands on line 1."""

    kind = "rows"
    encoding = ""
    header: Sequence[str] = (WHOLE_ROW,)
    blank = 0

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = rows

    def rows(self) -> Iterator[RawRow]:
        """All rows; see `worker.batches.raw_rows.Table`."""
        for line, row in enumerate(self._rows, 1):
            yield _raw_row(line, row)


def _raw_row(line: int, row: object) -> RawRow:
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        return unreadable(line, "must be a mapping of field names to values")
    given, faults = given_of(row, frozenset())
    values = {name: _as_text(value) for name, value in given.items()}
    for name, value in values.items():
        if not isinstance(value, str | int | float):
            rule = "must be text, a number, true or false, or a time with its zone or a span"
            faults.append(FieldFault(name, mask_value(type(value).__name__), rule))
    return RawRow(line, values, (), faults)


def _as_text(value: Any) -> Any:
    """Moments and spans as files write them; a row may wait for hours in the ledger."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.isoformat()
    return value.total_seconds() if isinstance(value, timedelta) else value
