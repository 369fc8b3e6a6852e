"""CSV as people have it: comma, semicolon or tab; quotes that may hold line ends; blank lines."""

import csv
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from worker.batches.columns import BAD_REASON, fields_of, known_count
from worker.batches.lines import BadLineError, Lines
from worker.batches.raw_rows import RawRow, row_of_cells, unreadable
from worker.errors import BatchInputError

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_TOLD_DELIMITER = re.compile(r'"?sep=([,;\t])"?', re.ASCII)
"""A first line with which spreadsheets tell each other the delimiter."""
_FORMULA_MARKS = "=+-@\t\r'"
"""A cell that begins with one is taken for a formula by spreadsheets, or, the last, for the mark that it is none."""


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in _FORMULA_MARKS and cell else cell


def as_it_was(cell: str) -> str:
    """What `harmless` was given."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA_MARKS and cell[1:2] else cell


class CsvTable:
    """A CSV file. Its delimiter is the one by which its header has most known names."""

    def __init__(self, lines: Lines, ignored: AbstractSet[str]) -> None:
        self._lines = lines
        self.blank = 0
        first, told = self._first_line()
        self._delimiter, self.header = _header_of(first, told, ignored, lines.number)
        self._fields = fields_of(self.header, ignored, where=f"line {lines.number}")
        self._is_of_bad_rows = BAD_REASON in self.header
        self.kind = f"CSV, {_DELIMITERS[self._delimiter]}"

    @property
    def encoding(self) -> str:
        return self._lines.encoding or "ASCII"

    def rows(self) -> Iterator[RawRow]:
        """All rows; see `worker.batches.raw_rows.Table`."""
        lines, fields = self._lines, self._fields
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        while True:
            line = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except BadLineError as bad:
                self._check_span(line)
                yield unreadable(lines.number, str(bad))
                continue
            except csv.Error as broken:
                self._check_span(line)
                yield unreadable(line, _rule_of(broken))
                continue
            if self._is_of_bad_rows:
                cells = [as_it_was(cell) for cell in cells]
            row = row_of_cells(line, cells, fields) if cells else None
            if row is None:
                self.blank += 1
            else:
                yield row

    def _check_span(self, line: int) -> None:
        """A quote that swallows lines leaves nobody knowing which rows there were."""
        if self._lines.number > line:
            raise BatchInputError(
                f"line {line}: a quote that opens in this row does not close rightly (read to line "
                f"{self._lines.number}); mend it, nothing from there on was read"
            )

    def _first_line(self) -> tuple[str, str]:
        told = ""
        try:
            for line in self._lines:
                if match := _TOLD_DELIMITER.fullmatch(line.strip("\r\n ")):
                    told = match[1]
                elif line.strip():
                    return line, told
                else:
                    self.blank += 1
        except BadLineError as bad:
            raise BatchInputError(f"line {self._lines.number} {bad}; the first line must name the columns") from None
        raise BatchInputError("the file is empty; its first line must name the columns")


def _header_of(line: str, told: str, ignored: AbstractSet[str], number: int) -> tuple[str, Sequence[str]]:
    best: tuple[tuple[int, int], str, Sequence[str]] | None = None
    for delimiter in told or _DELIMITERS:
        try:
            (cells,) = csv.reader([line], delimiter=delimiter, strict=True)
        except csv.Error as broken:
            if "new-line" in str(broken):
                raise BatchInputError(f"line {number} {_rule_of(broken)}") from None
            continue
        merit = (known_count(cells, ignored), len(cells))
        if best is None or merit > best[0]:
            best = (merit, delimiter, cells)
    if best is None:
        raise BatchInputError(f"line {number}: the quotes in the header do not match")
    return best[1], best[2]


def _rule_of(broken: csv.Error) -> str:
    if "new-line" in str(broken):
        return "ends in a carriage return alone; save the file with CRLF or LF line ends"
    if "field limit" in str(broken):
        return "has a cell that is too long"
    return 'has quotes that do not match; a quote within a quoted cell is written twice ("")'
