"""`axn bindings adopt`: bindings that were made elsewhere, taken into the registry from a file."""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worker import registry_producers
from worker.batches.bad_rows import BadRowsFile
from worker.batches.checking import BadRow
from worker.batches.lines import ENCODINGS
from worker.batches.opening import InputForm, open_table
from worker.batches.sources import STANDARD_INPUT, Source
from worker.bootstrap_callbacks import receiver_rules
from worker.cli import renewal_options
from worker.cli.output import Exit, complain, print_json, refuse
from worker.domain.masking import mask_text
from worker.errors import AxnError, BatchInputError, BatchOutputError, SettingsError
from worker.registry.adoption import AdoptionReport
from worker.registry.adoption_rows import AdoptionRules, AdoptRow
from worker.settings import load_settings
from worker.whoever import whoever_this_is

_STOPPED = 130
"""As shells count a process that Ctrl-C ended."""
_MOST_LINES = 10
PerSecond = Annotated[
    float, typer.Option(min=0.1, max=1_000, help="Questions to the provider at most; the shared pace bounds them, too.")
]


def adopt(
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV, JSON lines or .xlsx, gzip or not; - for stdin.")],
    *,
    pool_key: Annotated[str, typer.Option("--pool", help="Of rows that name no pool; default AXN_POOL_KEY.")] = "",
    callback_url: Annotated[str, typer.Option(help="Where renewals are told, of rows that name none.")] = "",
    renew_until: renewal_options.RenewUntil = "",
    renew_for: renewal_options.RenewFor = "",
    renew_while_open: renewal_options.RenewWhileOpen = False,
    extend_by: renewal_options.ExtendBy = "",
    renew_lead: renewal_options.RenewLead = "",
    if_gone: renewal_options.IfGone = "",
    per_second: PerSecond = 20.0,
    encoding: Annotated[str, typer.Option(help=f"{' or '.join(ENCODINGS)}; default: found out.")] = "",
    ignore: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A column to leave out; repeatable.")] = None,
    bad_to: Annotated[str, typer.Option(metavar="PATH", help="Where bad rows go; default FILE.bad.csv.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the rows; ask nobody, write nothing.")] = False,
    by: Annotated[str, typer.Option(help="Who adopts them; default: user@host.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Take bindings into the registry that were made elsewhere, so that they can be found, changed and renewed.

    A row names SubsId and X, the pool where AXN_POOL_KEY is not its own, and what the provider does not tell: OutId,
    OutOrderId, and how it is to be kept (columns renew_until, renew_for, renew_while, extend_by, renew_lead, if_gone;
    the options are for rows without any of them). A and the end are read from the provider, whose word counts. What is
    in the registry already is not asked for again, so a file that was stopped is simply given again.

    Example: [bold]axn bindings adopt rentals.csv --renew-while-open --extend-by 30d[/bold]

    Exit status: 0 all are in the registry, 1 stopped by Redis or the provider, 2 bad rows, or a file that cannot be
    read.
    """
    if encoding not in ("", *ENCODINGS):
        refuse(f"--encoding: must be {' or '.join(ENCODINGS)}", as_json=as_json)
    renew = renewal_options.renew_of(
        renew_until, renew_for, while_open=renew_while_open, extend_by=extend_by, lead=renew_lead, if_gone=if_gone
    )
    settings = load_settings()
    rules = AdoptionRules(
        receiver_rules(settings), {"pool_key": pool_key, "callback_url": callback_url, "renew": renew}
    )
    form = InputForm(encoding=encoding or None, ignored=frozenset(ignore or ()))
    bad_path = None if dry_run else _bad_path(file, bad_to, as_json=as_json)
    report = AdoptionReport()
    status = Exit.DONE
    try:
        with open_table(file, form) as (table, source), _progress(source) as tell:
            rows = rules.judged(table, most_rows=form.limits.rows)
            sink = BadRowsFile(bad_path, table.header) if bad_path else nullcontext()
            with sink as bad_rows:
                if dry_run:
                    _only_check(rows, report, tell)
                else:
                    registry_producers.adopt_bindings(
                        rows, report, by=by or whoever_this_is(), per_second=per_second, pool_key=pool_key,
                        sink=bad_rows, tell=tell,
                    )  # fmt: skip
    except KeyboardInterrupt:
        report.stopped_by = "stopped; give the same file again to go on"
        status = _STOPPED  # type: ignore[assignment]
    except (BatchInputError, SettingsError) as refused:
        report.stopped_by, status = str(refused), Exit.BAD_INPUT
    except (BatchOutputError, AxnError) as failed:
        report.stopped_by, status = f"{failed}; give the same file again to go on", Exit.FAILED
    _print(file, report, bad_path if report.bad else None, as_json=as_json, is_dry=dry_run)
    raise typer.Exit(status or (Exit.BAD_INPUT if report.bad or not report.rows else Exit.DONE))


def _only_check(rows: Iterator[AdoptRow | BadRow], report: AdoptionReport, tell: Callable[[int], None]) -> None:
    for row in rows:
        if isinstance(row, BadRow):
            report.add_bad(row, None)
        else:
            report.known += 1
        tell(report.rows)


def _bad_path(file: str, given: str, *, as_json: bool) -> Path | None:
    if file == STANDARD_INPUT or not Path(file).is_file():
        return Path(given) if given else None
    path = Path(given or f"{file}.bad.csv")
    if path.is_dir() or (path.exists() and path.samefile(file)):
        refuse("--bad-to: must be another file than the one that is read", as_json=as_json)
    return path


@contextmanager
def _progress(source: Source) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal; nothing where standard error is none."""
    columns = (
        TextColumn("{task.fields[rows]} rows"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=source.size or None, rows=0)
        yield lambda rows: progress.update(task, completed=source.position, rows=rows)


def _print(file: str, report: AdoptionReport, bad_path: Path | None, *, as_json: bool, is_dry: bool) -> None:
    if as_json:
        print_json(_as_dict(file, report, bad_path, is_dry=is_dry))
        return
    for row in report.first_bad[:_MOST_LINES]:
        typer.echo(f"axn: line {row.line}: {row.reason}", err=True)
    if report.bad > _MOST_LINES:
        typer.echo(f"axn: … and {report.bad - _MOST_LINES} more bad rows", err=True)
    if report.stopped_by:
        complain(mask_text(report.stopped_by))
    elif not report.rows:
        complain("the file has no rows")
    if is_dry:
        typer.echo(f"{file}: {report.rows} rows; good: {report.known}; bad: {report.bad}")
        return
    typer.echo(f"{file}: {report.rows} rows")
    typer.echo(f"adopted: {report.adopted}" + (f", {report.corrected} of them with another end than the file says"
                                               if report.corrected else ""))  # fmt: skip
    typer.echo(f"known before: {report.known}")
    typer.echo(f"to be renewed from now on: {report.kept}")
    typer.echo(f"bad: {report.bad}" + (f", in {bad_path}" if bad_path else ""))
    for reason, count in report.by_reason.most_common(_MOST_LINES):
        typer.echo(f"  {count:>7}  {reason}")


def _as_dict(file: str, report: AdoptionReport, bad_path: Path | None, *, is_dry: bool) -> dict[str, Any]:
    told = dataclasses.asdict(dataclasses.replace(report, first_bad=[]))
    told["by_reason"] = dict(report.by_reason)
    told["first_bad"] = [{"line": row.line, "reason": row.reason} for row in report.first_bad]
    told["stopped_by"] = mask_text(report.stopped_by)
    return {
        "file": file, "rows": report.rows, "is_dry_run": is_dry, **told, "bad_rows_file": str(bad_path or ""),
    }  # fmt: skip
