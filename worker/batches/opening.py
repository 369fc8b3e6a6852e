"""Finds out by its first bytes what a file is, and opens it as a table."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field

from worker.batches.csv_table import CsvTable
from worker.batches.json_table import JsonTable
from worker.batches.lines import Lines
from worker.batches.raw_rows import Table
from worker.batches.sources import Limits, Source, open_source
from worker.batches.xlsx_table import open_workbook
from worker.errors import BatchInputError

_ZIP = b"PK\x03\x04"
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True, slots=True)
class InputForm:
    """What the operator says of a file.

    Attributes:
        encoding: None to find it out.
        ignored: names of columns to leave out.
        limits: what it may not exceed.
    """

    encoding: str | None = None
    ignored: AbstractSet[str] = frozenset()
    limits: Limits = field(default_factory=Limits)


@contextmanager
def open_table(name: str, form: InputForm) -> Iterator[tuple[Table, Source]]:
    """Open a file, or standard input for `-`, as a table.

    Raises:
        BatchInputError: it cannot be read, or its header breaks a rule.
    """
    with open_source(name, form.limits) as source:
        head = source.stream.peek(64)[:64]
        if head.startswith(_OLD_EXCEL):
            raise BatchInputError("the file is of the old Excel format; save it as .xlsx or CSV")
        if head.startswith(_ZIP):
            with open_workbook(source, form.ignored) as sheet:
                yield sheet, source
            return
        lines = Lines(source.stream, form.encoding, form.limits)
        first = source.stream.peek(64)[:64].lstrip()
        if first.startswith(b"["):
            raise BatchInputError("the file is a JSON array; write one object a line instead")
        yield (JsonTable if first.startswith(b"{") else CsvTable)(lines, form.ignored), source
