"""What became of each row, as the operator and the order system get it: whole numbers, for whoever gave the rows."""

import csv
import dataclasses
import json
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO

from worker.batches.csv_table import harmless
from worker.batches.rows import BindRow, RebindRow, Row
from worker.domain.batch import RowOutcome

_MARK = "\ufeff"
"""Without it spreadsheets take UTF-8 for something else."""


class ReportFormat(StrEnum):
    """How a report is written."""

    CSV = "csv"
    JSON_LINES = "jsonl"


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One row of a batch.

    Attributes:
        line: in the file, from 1; of rows that a program gave, one more than the index.
        key: see `worker.batches.rows`.
        op: what was asked for.
        outcome: state of its job, `refused` where it could not become one; empty where there is none yet.
        phone_no_x, subs_id: of its binding, as the outcome tells them.
        old_phone_no_x: of a rebind, X before.
        code, message: why it did not succeed.
        tries: attempts of its job.
        out_order_id: that the row gives, to find the order by.
        job_id: of its job; `axn job show` tells more as long as its record stays.
    """

    line: int
    key: str
    op: str
    outcome: str
    phone_no_x: str
    subs_id: str
    old_phone_no_x: str
    code: str
    message: str
    tries: int
    out_order_id: str
    job_id: str


COLUMNS = tuple(field.name for field in dataclasses.fields(ReportLine))


def report_line(row: Row, outcome: RowOutcome) -> ReportLine:
    """The line of a row."""
    out_order_id = "" if isinstance(row, BindRow) else row.binding.out_order_id
    if isinstance(row, BindRow | RebindRow):
        out_order_id = str(row.wishes.get("out_order_id", out_order_id))
    return ReportLine(
        line=row.line,
        key=row.key,
        op=row.operation.value,
        outcome=outcome.state,
        phone_no_x=outcome.phone_no_x,
        subs_id=outcome.subs_id,
        old_phone_no_x=outcome.old_phone_no_x,
        code=outcome.code,
        message=outcome.message,
        tries=outcome.tries,
        out_order_id=out_order_id,
        job_id=outcome.job_id,
    )


def write_report(lines: Iterable[ReportLine], to: TextIO, format_: ReportFormat) -> Iterator[int]:
    """Write line after line, yielding the count so far. Line ends of CSV are its own: open files with newline=""."""
    if format_ is ReportFormat.JSON_LINES:
        for count, line in enumerate(lines, 1):
            to.write(json.dumps(dict(zip(COLUMNS, _cells(line), strict=True)), ensure_ascii=False) + "\n")
            yield count
        return
    writer = csv.writer(to)
    to.write(_MARK)
    writer.writerow(COLUMNS)
    for count, line in enumerate(lines, 1):
        writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in _cells(line)])
        yield count


_cells_of = operator.attrgetter(*COLUMNS)


def _cells(line: ReportLine) -> tuple[str | int, ...]:
    cells: tuple[str | int, ...] = _cells_of(line)
    return cells
