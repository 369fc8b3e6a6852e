"""`axn batch start`: a file's rows go to the ledger, and the workers do them."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from worker import batch_producers
from worker.batches.bad_rows import BadRowsFile
from worker.batches.opening import InputForm, open_table
from worker.batches.plan import BatchPlan
from worker.batches.raw_rows import Table
from worker.batches.sources import STANDARD_INPUT
from worker.batches.starting import Started
from worker.cli.batch import check_file
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
from worker.cli.batch_run_view import batch_as_dict, batch_line
from worker.cli.batch_view import check_as_dict, print_check, tell_faults
from worker.cli.batch_watch import follow_batch
from worker.cli.output import Exit, complain, print_json, refuse
from worker.domain.batch import DEFAULT_WINDOW, Batch, BatchOptions
from worker.errors import (
    BatchConflictError,
    BatchInputError,
    BatchNotFoundError,
    BatchOutputError,
    FieldFault,
    InvalidRequestError,
    LedgerUnavailableError,
)
from worker.whoever import whoever_this_is

_OPTION_NAMES = {"per_second": "--rate"}


def start(
    file: FileArgument,
    *,
    op: OpOption = "",
    name: Annotated[str, typer.Option(help="Of the batch; default: the file's own name. Needed for stdin.")] = "",
    pool_key: PoolKeyOption = "",
    callback_url: Annotated[str, typer.Option(help="Where each row's end is told, of rows that name none.")] = "",
    finished_url: Annotated[str, typer.Option(help="Where the batch's end is told, once.")] = "",
    callback_secret_name: Annotated[str, typer.Option(help="Which secret signs at both; default: their own.")] = "",
    rate: Annotated[int, typer.Option(help="Rows begun per second at most; 0: what the pace lets through.")] = 0,
    window: Annotated[int, typer.Option(help="Rows under way at most.")] = DEFAULT_WINDOW,
    not_before: Annotated[str, typer.Option(metavar="HH:MM", help="Begin rows from then on, Asia/Shanghai …")] = "",
    not_after: Annotated[str, typer.Option(metavar="HH:MM", help="… until then; may be over midnight.")] = "",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows out and begin with the others.")] = False,
    bad_to: BadToOption = "",
    ignore: IgnoreOption = None,
    encoding: EncodingOption = "",
    by: Annotated[str, typer.Option(help="Who starts it; default: user@host.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file, as axn batch check does.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Then show how it goes until it ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON; with --follow one a look.")] = False,
) -> None:
    """Store a file's rows, all or none, and have the workers do them; the terminal may then be closed.

    The same file and name again are the same batch: what a kill or Ctrl-C left half stored is completed, and nothing is
    done twice. A bad row stops it before any row is begun, unless --skip-bad leaves bad ones out.

    Example: [bold]axn batch start renumber.csv --op rebind --rate 50 --not-before 01:00 --not-after 06:00[/bold]

    Exit status: 0 it runs, or had ended before (with --follow: every row succeeded); 1 no answer from Redis, or the bad
    rows cannot be written (with --follow: rows did not succeed); 2 bad rows, bad input, or the name stands for others;
    130 Ctrl-C.
    """
    if dry_run:
        check_file(
            file, op=op, encoding=encoding, ignore=ignore, pool_key=pool_key, callback_url=callback_url,
            skip_bad=skip_bad, dry_run=True, as_json=as_json,
        )  # fmt: skip
    form = form_given(encoding, ignore, as_json=as_json)
    if not name and file == STANDARD_INPUT:
        refuse("--name: is required with standard input; the same name goes on with the same batch", as_json=as_json)
    options = BatchOptions(
        rate, window, not_before, not_after, finished_url, callback_secret_name if finished_url else ""
    )
    plan = BatchPlan(
        name or Path(file).name,
        options,
        operation_given(op, as_json=as_json),
        batch_producers.defaults_of(pool_key, callback_url, callback_secret_name),
        skip_bad,
        by or whoever_this_is(),
    )
    batch = _start(file, form, plan, bad_path_of(file, bad_to, as_json=as_json), as_json=as_json)
    if follow:
        follow_batch(batch.batch_id, as_json=as_json)


def _start(file: str, form: InputForm, plan: BatchPlan, bad_path: Path | None, *, as_json: bool) -> Batch:
    try:
        with open_table(file, form) as (table, source):
            sink = BadRowsFile(bad_path, table.header) if bad_path else nullcontext()
            with sink as bad_rows, reading_progress(source) as tell:
                started = batch_producers.start_table(plan, table, sink=bad_rows, tell=tell)
    except KeyboardInterrupt:
        complain("stopped; run the same command again to go on", as_json=as_json)
        raise typer.Exit(STOPPED) from None
    except InvalidRequestError as wrong:
        refuse("the batch cannot be started", faults=[_by_option(fault) for fault in wrong.faults], as_json=as_json)
    except (BatchInputError, BatchConflictError) as refused:
        refuse(str(refused), as_json=as_json)
    except BatchNotFoundError:
        complain("the batch was removed while its rows were stored; run the same command again", as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    except LedgerUnavailableError as away:
        complain(f"{away}; run the same command again to go on", as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    except BatchOutputError as failed:
        complain(str(failed), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    return _told(file, table, started, bad_path, as_json=as_json)


def _told(file: str, table: Table, started: Started, bad_path: Path | None, *, as_json: bool) -> Batch:
    report, batch = started.report, started.batch
    kept = bad_path if report.bad else None
    if batch is None:
        print_check(file, table, report, kept, as_json=as_json)
        if not as_json:
            typer.echo("axn: nothing is begun; mend the rows, or leave them out with --skip-bad", err=True)
        raise typer.Exit(Exit.BAD_INPUT)
    if as_json:
        told = {"batch": batch_as_dict(batch), "is_new": started.is_new}
        print_json(check_as_dict(file, table, report, kept) | told)
        return batch
    if report.bad:
        tell_faults(report)
        typer.echo(f"axn: {report.bad} bad rows are left out" + (f", they are in {kept}" if kept else ""), err=True)
    typer.echo(f"{'started' if started.is_new else 'was started before'}: {batch_line(batch)}")
    return batch


def _by_option(fault: FieldFault) -> FieldFault:
    name = _OPTION_NAMES.get(fault.field, f"--{fault.field.replace('_', '-')}")
    return FieldFault(name, fault.value, fault.rule)
