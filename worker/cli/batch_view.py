"""What `axn batch check` says of a file."""

from pathlib import Path
from typing import Any

import typer

from worker.batches.checking import CheckReport
from worker.batches.raw_rows import Table
from worker.cli.output import complain, print_json

_MOST_LINES = 10
"""Of any kind; the file of bad rows has them all."""


def print_check(file: str, table: Table, report: CheckReport, bad_path: Path | None, *, as_json: bool) -> None:
    """The summary on standard output, what is wrong on standard error; with --json all as one line.

    Args:
        file: as the operator named it.
        table: that was read.
        report: of it.
        bad_path: where the bad rows are, if they are anywhere.
        as_json: print JSON.
    """
    if as_json:
        print_json(check_as_dict(file, table, report, bad_path))
        return
    tell_faults(report)
    form = ", ".join(filter(None, (table.kind, table.encoding)))
    typer.echo(f"{file}: {form}; {report.rows} rows" + (f" and {table.blank} blank" if table.blank else ""))
    by_operation = ", ".join(f"{name} {count}" for name, count in report.by_operation.most_common())
    typer.echo(f"good: {report.good}" + (f" ({by_operation})" if by_operation else ""))
    typer.echo(f"bad: {report.bad}" + (f", in {bad_path}" if bad_path else ""))
    for reason, count in report.by_reason.most_common(_MOST_LINES):
        typer.echo(f"  {count:>7}  {reason}")
    if (more := len(report.by_reason) - _MOST_LINES) > 0:
        typer.echo(f"           and {more} more reasons")
    if report.duplicates:
        pairs = ", ".join(f"{line} of {first}" for line, first in report.first_duplicates[:_MOST_LINES])
        typer.echo(f"duplicates: {report.duplicates} (lines {pairs}{' …' if report.duplicates > _MOST_LINES else ''})")


def tell_faults(report: CheckReport) -> None:
    """What is wrong, on standard error; of many rows the first."""
    for row in report.first_bad[:_MOST_LINES]:
        typer.echo(f"axn: line {row.line}: {row.reason}", err=True)
    if report.bad > _MOST_LINES:
        typer.echo(f"axn: … and {report.bad - _MOST_LINES} more bad rows", err=True)
    if report.stopped_by:
        complain(report.stopped_by)
    elif not report.rows:
        complain("the file has no rows")


def check_as_dict(file: str, table: Table, report: CheckReport, bad_path: Path | None) -> dict[str, Any]:
    """The summary, for JSON."""
    return {
        "file": file,
        "kind": table.kind,
        "encoding": table.encoding,
        "rows": report.rows,
        "blank": table.blank,
        "good": report.good,
        "bad": report.bad,
        "by_operation": dict(report.by_operation),
        "by_reason": dict(report.by_reason),
        "duplicates": report.duplicates,
        "first_duplicates": [{"line": line, "first_line": first} for line, first in report.first_duplicates],
        "first_bad": [
            {
                "line": row.line,
                "faults": [{"field": fault.field, "value": fault.value, "rule": fault.rule} for fault in row.faults],
            }
            for row in report.first_bad
        ],
        "bad_rows_file": str(bad_path) if bad_path else "",
        "error": report.stopped_by,
    }
