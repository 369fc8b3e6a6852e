"""`axn batch`: files of many rows. Further commands are added in `main`."""

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from worker.batches.bad_rows import BadRowsFile
from worker.batches.checking import CheckReport, check
from worker.batches.opening import open_table
from worker.batches.operations import Operation
from worker.batches.raw_rows import Table
from worker.batches.row_rules import RowRules
from worker.batches.sources import Source
from worker.bootstrap import build_acceptance
from worker.cli.batch_input import (
    STOPPED,
    BadToOption,
    EncodingOption,
    FileArgument,
    IgnoreOption,
    OpOption,
    PoolKeyOption,
    bad_path_of,
    form_given,
    operation_given,
    reading_progress,
)
from worker.cli.batch_view import print_check
from worker.cli.output import Exit, complain, refuse
from worker.clock import SystemClock
from worker.errors import BatchInputError, BatchOutputError
from worker.settings import load_settings

app = typer.Typer(no_args_is_help=True)


@app.callback()
def batch() -> None:
    """Bind, rebind, change or unbind many at once, from a file."""


@app.command("check")
def check_file(
    file: FileArgument,
    *,
    op: OpOption = "",
    encoding: EncodingOption = "",
    ignore: IgnoreOption = None,
    pool_key: PoolKeyOption = "",
    callback_url: Annotated[str, typer.Option(help="Of rows that name none.")] = "",
    bad_to: BadToOption = "",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Bad rows are no failure, if any is good.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write no file of bad rows.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Check every row of a file, without Redis or the provider, and write the bad ones with their reasons to a file.

    What only the ledger knows is not looked at: whether a job is known, or a callback secret.

    Example: [bold]axn batch check renumber.csv --op rebind[/bold]

    Exit status: 0 all rows are good (with --skip-bad: at least one), 1 the bad rows cannot be written, 2 bad rows,
    or a file that cannot be read.
    """
    operation = operation_given(op, as_json=as_json)
    form = form_given(encoding, ignore, as_json=as_json)
    bad_path = None if dry_run else bad_path_of(file, bad_to, as_json=as_json)
    rules = _rules(operation, pool_key, callback_url)
    try:
        with open_table(file, form) as (table, source):
            report = _check(table, source, rules, bad_path, most_rows=form.limits.rows)
    except KeyboardInterrupt:
        complain("stopped; nothing was written", as_json=as_json)
        raise typer.Exit(STOPPED) from None
    except BatchInputError as refused:
        refuse(str(refused), as_json=as_json)
    except BatchOutputError as failed:
        complain(str(failed), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    print_check(file, table, report, bad_path if report.bad else None, as_json=as_json)
    raise typer.Exit(Exit.DONE if report.is_good(skips_bad=skip_bad) else Exit.BAD_INPUT)


def _rules(operation: Operation | None, pool_key: str, callback_url: str) -> RowRules:
    acceptance = build_acceptance(load_settings(), SystemClock())
    if pool_key:
        acceptance = dataclasses.replace(acceptance, rules=dataclasses.replace(acceptance.rules, pool_key=pool_key))
    return RowRules(acceptance, operation, {"callback_url": callback_url} if callback_url else {})


def _check(table: Table, source: Source, rules: RowRules, bad_path: Path | None, *, most_rows: int) -> CheckReport:
    sink = BadRowsFile(bad_path, table.header) if bad_path else nullcontext()
    with sink as bad_rows, reading_progress(source) as tell:
        return check(table, rules, most_rows=most_rows, sink=bad_rows, tell=tell)
