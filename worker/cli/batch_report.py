"""`axn batch report`: what became of every row, on standard output."""

import os
import sys
from typing import Annotated

import typer

from worker import batch_producers
from worker.batches.report import ReportFormat, write_report
from worker.cli.batch_input import STOPPED
from worker.cli.batch_watch import BatchArgument
from worker.cli.output import Exit, complain, refuse
from worker.errors import BatchNotFoundError, LedgerUnavailableError


def report(
    batch: BatchArgument,
    *,
    format_: Annotated[str, typer.Option("--format", help="csv or jsonl.")] = ReportFormat.CSV,
) -> None:
    """Write every row in the file's order: line, key, op, outcome, X, SubsId, old X, code, message, tries.

    Numbers are whole: it is the file of whoever gave the rows. Rows without an outcome have an empty one. It may be
    asked for at any time.

    Example: [bold]axn batch report renumber.csv > renumber.report.csv[/bold]

    Exit status: 0 all rows are written, 1 not all are (unknown, no answer from Redis, no room), 2 bad input,
    130 Ctrl-C.
    """
    try:
        form = ReportFormat(format_)
    except ValueError:
        refuse(f"--format: must be {' or '.join(ReportFormat)}")
    count = 0
    try:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", newline="")
        for count in write_report(batch_producers.batch_report(batch), sys.stdout, form):  # noqa: B007 - told below
            pass
        sys.stdout.flush()
    except KeyboardInterrupt:
        complain(f"stopped; the report ends after {count} rows")
        raise typer.Exit(STOPPED) from None
    except BatchNotFoundError as missing:
        complain(str(missing))
        raise typer.Exit(Exit.FAILED) from None
    except LedgerUnavailableError as away:
        complain(f"{away}; the report ends after {count} rows")
        raise typer.Exit(Exit.FAILED) from None
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Exit.FAILED) from None
    except OSError as failed:
        complain(f"the report cannot be written: {failed.strerror}; it ends after {count} rows")
        raise typer.Exit(Exit.FAILED) from None
