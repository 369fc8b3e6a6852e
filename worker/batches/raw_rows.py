"""Rows as they are read, before any of them is judged; and what all formats' readers share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from worker.errors import FieldFault

WHOLE_ROW = "row"
"""The field of faults that no one column has."""


@dataclass(slots=True)
class RawRow:
    """One row of a file.

    Attributes:
        line: where it stands, from 1: the file's line, or the sheet's row.
        given: what it gives, by the fields' names; empty cells give nothing.
        cells: what stood in the file, for the file of bad rows.
        faults: why it cannot be read.
    """

    line: int
    given: Mapping[str, Any]
    cells: Sequence[str]
    faults: Sequence[FieldFault] = field(default=())


class Table(Protocol):
    """A file that is being read.

    Attributes:
        kind: for people: CSV and by what its cells are separated, JSON lines, or a sheet.
        header: the columns' names as they stand in the file.
        encoding: as far as known, empty where it does not matter.
        blank: rows passed over because they are empty, so far.
    """

    kind: str
    header: Sequence[str]
    blank: int

    @property
    def encoding(self) -> str: ...

    def rows(self) -> Iterator[RawRow]:
        """All rows, once.

        Raises:
            BatchInputError: what follows cannot be read.
        """


def one_line(text: str) -> str:
    """A text from a file as a terminal may show it: line ends and control characters written out."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def unreadable(line: int, rule: str, cells: Sequence[str] = ()) -> RawRow:
    """A row whose form is wrong."""
    return RawRow(line, {}, cells, (FieldFault(WHOLE_ROW, "", rule),))


def row_of_cells(line: int, cells: Sequence[str], fields: Sequence[str | None]) -> RawRow | None:
    """A row of a table with a header, None for one without any text. A cell of blanks alone gives nothing.

    Too many cells are refused even when they are empty: a comma too many may have moved all cells after it.

    Args:
        line: where it stands.
        cells: as many as the header has, or the row is bad.
        fields: of the columns, None for those left out, "" for those that have no name: their cells must be empty.
    """
    given = {name: cell for name, cell in zip(fields, cells, strict=False) if cell and name and not cell.isspace()}
    is_full = len(cells) == len(fields)
    if is_full and given and "" not in fields:
        return RawRow(line, given, cells)
    if not any(map(str.strip, cells)):
        return None
    if not is_full:
        return unreadable(line, f"has {len(cells)} columns, the header has {len(fields)}", cells)
    for column, (name, cell) in enumerate(zip(fields, cells, strict=True), 1):
        if name == "" and cell.strip():
            return unreadable(line, f"has a value in column {column}, which has no name", cells)
    return RawRow(line, given, cells)
