"""The file of bad rows: as they stood, each with its line and what is wrong, to be mended and checked again.

CSV in UTF-8 with the mark that spreadsheets want. Its columns `bad_line` and `bad_reason` are passed over when it is
read as a batch. Cells that a spreadsheet would take for formulas have a `'` before them, which reading takes off again.
The rows are whole, numbers too, so nobody but its owner may read the file.
"""

import contextlib
import csv
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from worker.batches.columns import BAD_LINE, BAD_REASON
from worker.batches.csv_table import harmless
from worker.errors import BatchOutputError


class BadRowsFile:
    """Made when the first row is written, and seen under its name only when it is complete.

    Attributes:
        count: rows written.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path = path
        self.count = 0
        self._header = header
        self._columns = [column for column, name in enumerate(header) if name.strip() not in (BAD_LINE, BAD_REASON)]
        self._held = contextlib.ExitStack()
        self._partial = ""
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._held.close()
            if kind is None and self._partial:
                Path(self._partial).replace(self.path)
                self._partial = ""
        except OSError as failed:
            raise self._error(failed) from None
        finally:
            if self._partial:
                Path(self._partial).unlink(missing_ok=True)

    def add(self, line: int, reason: str, cells: Sequence[str]) -> None:
        """Write one row.

        Raises:
            BatchOutputError: the file cannot be written.
        """
        shown = [cells[column] for column in self._columns if column < len(cells)]
        try:
            if self._writer is None:
                self._open()
            self._writer.writerow([line, reason, *map(harmless, shown), *map(harmless, cells[len(self._header) :])])
        except OSError as failed:
            raise self._error(failed) from None
        self.count += 1

    def _open(self) -> None:
        handle, self._partial = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        file = self._held.enter_context(os.fdopen(handle, "w", encoding="utf-8-sig", newline=""))
        self._writer = csv.writer(file)
        self._writer.writerow([BAD_LINE, BAD_REASON, *(self._header[column] for column in self._columns)])

    def _error(self, failed: OSError) -> BatchOutputError:
        return BatchOutputError(f"{self.path}: the bad rows cannot be written: {failed.strerror}")
