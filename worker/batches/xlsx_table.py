"""Excel's .xlsx, row by row: the first sheet that is shown."""

import zipfile
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager

from worker.batches.cells import EXACT_DIGITS, NumberCell
from worker.batches.columns import fields_of
from worker.batches.raw_rows import RawRow, one_line, row_of_cells
from worker.batches.sources import Source
from worker.batches.xlsx_parts import (
    Book,
    SharedTexts,
    check_length,
    read_book,
    read_date_styles,
    read_shared_texts,
    walk_xml,
)
from worker.errors import BatchInputError

_MOST_COLUMNS = 16_384
_EXACT = 10**EXACT_DIGITS
_NOT_COMPUTED = "#CALC!"
"""Of a formula that a program wrote and no spreadsheet computed: it is refused as an error of a formula is."""


@contextmanager
def open_workbook(source: Source, ignored: AbstractSet[str]) -> Iterator["XlsxTable"]:
    """Open an .xlsx file.

    Raises:
        BatchInputError: it is damaged, unpacks to too much, or its header breaks a rule.
    """
    with source.seekable() as file:
        try:
            package = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError):
            raise BatchInputError("the .xlsx file is damaged or cut short; save it anew") from None
        with package:
            for part in package.infolist():
                source.limits.check_unpacked(part.file_size, part.compress_size)
            source.limits.check_unpacked(sum(part.file_size for part in package.infolist()), 1 << 62)
            yield XlsxTable(package, ignored)


class XlsxTable:
    """One sheet."""

    encoding = ""

    def __init__(self, package: zipfile.ZipFile, ignored: AbstractSet[str]) -> None:
        self.blank = 0
        self._book = read_book(package)
        self._rows = _sheet_rows(package, self._book)
        of_all = f" (the first shown of {self._book.sheet_count})" if self._book.sheet_count > 1 else ""
        self.kind = f"Excel, sheet {one_line(self._book.sheet)}{of_all}"
        for line, cells in self._rows:
            if any(map(str.strip, cells)):
                self.header: Sequence[str] = _trimmed(cells)
                self._fields = fields_of(self.header, ignored, where=f"row {line}")
                return
            self.blank += 1
        raise BatchInputError(f"the sheet {self._book.sheet} is empty; its first row must name the columns")

    def rows(self) -> Iterator[RawRow]:
        """All rows; see `worker.batches.raw_rows.Table`."""
        width = len(self._fields)
        for line, cells in self._rows:
            row = row_of_cells(line, _fitted(cells, width), self._fields)
            if row is None:
                self.blank += 1
            else:
                yield row


def _trimmed(cells: list[str]) -> list[str]:
    while cells and not cells[-1].strip():
        cells.pop()
    return cells


def _fitted(cells: list[str], width: int) -> list[str]:
    """As wide as the header: a sheet does not keep empty cells, and has formats in cells that nobody ever filled."""
    if len(cells) > width:
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
    elif len(cells) < width:
        cells.extend([""] * (width - len(cells)))
    return cells


def _sheet_rows(package: zipfile.ZipFile, book: Book) -> Iterator[tuple[int, list[str]]]:
    sheet = _Sheet(book, read_shared_texts(package), read_date_styles(package))
    for _ in walk_xml(package, book.part, sheet.start, sheet.end, sheet.text):
        done, sheet.done = sheet.done, []
        yield from done


class _Sheet:
    """Gathers rows from a sheet's elements."""

    def __init__(self, book: Book, texts: SharedTexts, date_styles: frozenset[str]) -> None:
        self.done: list[tuple[int, list[str]]] = []
        self._book = book
        self._texts = texts
        self._date_styles = date_styles
        self._line = 0
        self._cells: list[str] = []
        self._cell: dict[str, str] = {}
        self._pieces: list[str] = []
        self._length = 0
        self._is_value = False
        self._is_formula = False
        self._phonetic = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            self._cell = attributes
            self._is_formula = False
        elif name in ("v", "t"):
            self._is_value = not self._phonetic
        elif name == "f":
            self._is_formula = True
        elif name == "row":
            number = attributes.get("r", "")
            line = int(number) if number.isdigit() and len(number) < EXACT_DIGITS else self._line + 1
            if line <= self._line:
                raise BatchInputError(f"row {line} comes after row {self._line} in the .xlsx file; save it anew")
            self._line = line
            self._cells = []
        elif name == "rPh":
            self._phonetic += 1

    def text(self, piece: str) -> None:
        if self._is_value:
            self._pieces.append(piece)
            self._length = check_length(self._length + len(piece))

    def end(self, name: str) -> None:
        if name in ("v", "t"):
            self._is_value = False
        elif name == "c":
            self._add_cell("".join(self._pieces))
            self._pieces.clear()
            self._length = 0
        elif name == "row":
            self.done.append((self._line, self._cells))
        elif name == "rPh":
            self._phonetic -= 1

    def _add_cell(self, value: str) -> None:
        column = _column_of(self._cell.get("r", ""))
        if column >= _MOST_COLUMNS:
            raise BatchInputError(f"row {self._line}: has more columns than Excel can")
        column = max(column, len(self._cells))
        self._cells.extend([""] * (column - len(self._cells)))
        if value:
            value = self._text_of(value)
        elif self._is_formula and self._cell.get("t") != "str":
            value = _NOT_COMPUTED
        self._cells.append(value)

    def _text_of(self, value: str) -> str:
        kind = self._cell.get("t", "n")
        if kind == "s":
            try:
                return self._texts[int(value)]
            except (ValueError, IndexError):
                raise BatchInputError(f"row {self._line}: the .xlsx file lacks a text; save it anew") from None
        if kind == "b":
            return "true" if value == "1" else "false"
        if kind == "n":
            return self._number(value)
        return value.replace("T", " ") if kind == "d" else value

    def _number(self, value: str) -> str:
        if self._cell.get("s") in self._date_styles and (moment := self._book.moment(_float(value))):
            return moment
        if value.isdigit():
            return NumberCell(value)
        number = _float(value)
        if number.is_integer():
            return NumberCell(str(int(number)) if abs(number) < _EXACT else f"{number:.0f}")
        return NumberCell(repr(number))


def _float(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise BatchInputError("the .xlsx file has a number cell without a number; save it anew") from None


def _column_of(reference: str) -> int:
    """0 for A5, 27 for AB5; -1 for none."""
    column = 0
    for letter in reference:
        if not "A" <= letter <= "Z":
            break
        column = column * 26 + ord(letter) - 64
        if column > _MOST_COLUMNS:
            break
    return column - 1
