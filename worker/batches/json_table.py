"""JSON lines: one object a line, its keys the columns' names."""

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from worker.batches.columns import given_of
from worker.batches.lines import BadLineError, Lines
from worker.batches.raw_rows import WHOLE_ROW, RawRow, unreadable


class JsonTable:
    """A file of JSON lines."""

    kind = "JSON lines"
    header: Sequence[str] = (WHOLE_ROW,)

    def __init__(self, lines: Lines, ignored: AbstractSet[str]) -> None:
        self._lines = lines
        self._ignored = ignored
        self.blank = 0

    @property
    def encoding(self) -> str:
        return self._lines.encoding or "ASCII"

    def rows(self) -> Iterator[RawRow]:
        """All rows; see `worker.batches.raw_rows.Table`."""
        while True:
            try:
                line = next(self._lines)
            except StopIteration:
                return
            except BadLineError as bad:
                yield unreadable(self._lines.number, str(bad))
                continue
            text = line.strip()
            if text:
                yield self._row(self._lines.number, text)
            else:
                self.blank += 1

    def _row(self, number: int, text: str) -> RawRow:
        try:
            given = json.loads(text, object_pairs_hook=_once_each, parse_constant=_refused)
        except json.JSONDecodeError as broken:
            return unreadable(number, f"is no JSON at its character {broken.pos + 1} ({broken.msg})", [text])
        except (ValueError, RecursionError) as broken:
            rule = str(broken) if isinstance(broken, _RefusedError) else "is no JSON of a row"
            return unreadable(number, rule, [text])
        if not isinstance(given, Mapping):
            return unreadable(number, "must be a JSON object", [text])
        fields, faults = given_of(given, self._ignored)
        return RawRow(number, fields, [text], faults)


class _RefusedError(ValueError):
    """JSON that Python takes and we do not."""


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) != len(pairs):
        raise _RefusedError("gives a name twice")
    return given


def _refused(name: str) -> None:
    raise _RefusedError(f"has {name}, which is no JSON")
