"""`axn batch`: files of many rows."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worker.batches.bad_rows import BadRowsFile
from worker.batches.checking import CheckReport, check
from worker.batches.lines import ENCODINGS
from worker.batches.opening import InputForm, open_table
from worker.batches.operations import Operation
from worker.batches.raw_rows import Table
from worker.batches.row_rules import RowRules
from worker.batches.sources import STANDARD_INPUT, Source
from worker.bootstrap import build_acceptance
from worker.cli.batch_view import print_check
from worker.cli.output import Exit, complain, refuse
from worker.clock import SystemClock
from worker.errors import BatchInputError, BatchOutputError
from worker.settings import load_settings

_STOPPED = 130
"""As shells count a process that Ctrl-C ended."""

app = typer.Typer(no_args_is_help=True)


@app.callback()
def batch() -> None:
    """Bind, rebind, change or unbind many at once, from a file."""


@app.command("check")
def check_file(
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV, JSON lines or .xlsx, gzip or not; - for stdin.")],
    *,
    op: Annotated[str, typer.Option(help=f"For all rows, without a column op: {', '.join(Operation)}.")] = "",
    encoding: Annotated[str, typer.Option(help=f"{' or '.join(ENCODINGS)}; default: found out.")] = "",
    ignore: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A column to leave out; repeatable.")] = None,
    pool_key: Annotated[str, typer.Option(help="Of rows that name no pool; default AXN_POOL_KEY.")] = "",
    callback_url: Annotated[str, typer.Option(help="Of rows that name none.")] = "",
    bad_to: Annotated[str, typer.Option(metavar="PATH", help="Where bad rows go; default FILE.bad.csv.")] = "",
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
    operation = _operation(op, as_json=as_json)
    if encoding not in ("", *ENCODINGS):
        refuse(f"--encoding: must be {' or '.join(ENCODINGS)}", as_json=as_json)
    form = InputForm(encoding=encoding or None, ignored=frozenset(ignore or ()))
    bad_path = None if dry_run else _bad_path(file, bad_to, as_json=as_json)
    rules = _rules(operation, pool_key, callback_url)
    try:
        with open_table(file, form) as (table, source):
            report = _check(table, source, rules, bad_path, most_rows=form.limits.rows)
    except KeyboardInterrupt:
        complain("stopped; nothing was written", as_json=as_json)
        raise typer.Exit(_STOPPED) from None
    except BatchInputError as refused:
        refuse(str(refused), as_json=as_json)
    except BatchOutputError as failed:
        complain(str(failed), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    print_check(file, table, report, bad_path if report.bad else None, as_json=as_json)
    is_good = not report.stopped_by and report.good and (skip_bad or not report.bad)
    raise typer.Exit(Exit.DONE if is_good else Exit.BAD_INPUT)


def _operation(given: str, *, as_json: bool) -> Operation | None:
    try:
        return Operation(given) if given else None
    except ValueError:
        refuse(f"--op: must be one of {', '.join(Operation)}", as_json=as_json)


def _bad_path(file: str, given: str, *, as_json: bool) -> Path | None:
    if file == STANDARD_INPUT or not Path(file).is_file():
        return Path(given) if given else None
    path = Path(given or f"{file}.bad.csv")
    if path.is_dir() or (path.exists() and path.samefile(file)):
        refuse("--bad-to: must be another file than the one that is read", as_json=as_json)
    return path


def _rules(operation: Operation | None, pool_key: str, callback_url: str) -> RowRules:
    acceptance = build_acceptance(load_settings(), SystemClock())
    if pool_key:
        acceptance = dataclasses.replace(acceptance, rules=dataclasses.replace(acceptance.rules, pool_key=pool_key))
    return RowRules(acceptance, operation, {"callback_url": callback_url} if callback_url else {})


def _check(table: Table, source: Source, rules: RowRules, bad_path: Path | None, *, most_rows: int) -> CheckReport:
    sink = BadRowsFile(bad_path, table.header) if bad_path else nullcontext()
    with sink as bad_rows, _progress(source) as tell:
        return check(table, rules, most_rows=most_rows, sink=bad_rows, tell=tell)


@contextmanager
def _progress(source: Source) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal; nothing where standard error is none."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[rows]} rows"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=source.size or None, rows=0)
        yield lambda rows: progress.update(task, completed=source.position, rows=rows)
