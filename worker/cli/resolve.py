"""`axn jobs resolve` and `axn jobs audit`: a person ends a doubt, and what people did."""

import dataclasses
from typing import Annotated

import typer
from pydantic import TypeAdapter
from rich.table import Table

from worker import producers
from worker.attempt.resolution import UnresolvableError
from worker.cli.output import (
    Exit,
    complain,
    print_job,
    print_json,
    print_table,
    readable_time,
    refuse,
)
from worker.domain.job import Job
from worker.domain.job_ids import is_job_id
from worker.domain.phone_numbers import PrivateNumber
from worker.errors import JobNotFoundError, LedgerUnavailableError
from worker.whoever import whoever_this_is

_NUMBER: TypeAdapter[str] = TypeAdapter(PrivateNumber)


def resolve(
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="A job in doubt, as `axn jobs --state in_doubt` lists it.")
    ],
    *,
    bound_as: Annotated[
        tuple[str, str] | None, typer.Option(metavar="X SUBSID", help="It was bound: its number and its SubsId.")
    ] = None,
    not_bound: Annotated[
        bool, typer.Option("--not-bound", help="It was not bound: it fails; with --rebind it is bound anew.")
    ] = False,
    rebind: Annotated[
        bool, typer.Option("--rebind", help="Bind it anew. Without --not-bound a possible orphan is counted.")
    ] = False,
    by: Annotated[str, typer.Option(help="Who says so, for the audit; default: user@host.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Say what became of a job in doubt; its receiver is told, and the audit keeps who said so.

    --bound-as also takes a binding found for a job that was bound anew: it is reported as an orphan and, if the request
    said on_doubt: rebind, unbound.

    Example: [bold]axn jobs resolve 01kap4w8z9v7r2c3d4e5f6g7h8 --bound-as 17000001111 1000000768798832[/bold]

    Exit status: 0 done, 1 it cannot be resolved so, 2 bad input.
    """
    if bool(bound_as) == (not_bound or rebind):
        refuse("give either --bound-as X SUBSID, or --not-bound, --rebind or both", as_json=as_json)
    if not is_job_id(job_id):
        refuse("ID: must be the 26 letters and digits that `axn bind` printed", as_json=as_json)
    by = by or whoever_this_is()
    try:
        if bound_as is not None:
            job = producers.resolve_bound(job_id, phone_no_x=_number(bound_as[0], as_json=as_json),
                                          subs_id=_subs_id(bound_as[1], as_json=as_json), by=by)  # fmt: skip
        elif rebind:
            job = producers.resolve_rebind(job_id, is_surely_not_bound=not_bound, by=by)
        else:
            job = producers.resolve_not_bound(job_id, by=by)
    except (UnresolvableError, JobNotFoundError, LedgerUnavailableError) as wrong:
        complain(str(wrong), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    _tell(job, by, as_json=as_json)


def _tell(job: Job, by: str, *, as_json: bool) -> None:
    print_job(job, as_json=as_json)
    if not as_json:
        typer.echo(f"audit: job {job.job_id} is {job.state.value}, resolved by {by}", err=True)


def _number(text: str, *, as_json: bool) -> str:
    try:
        return str(_NUMBER.validate_python(text))
    except ValueError:
        refuse("--bound-as X: must be digits only: the number as the provider names it", as_json=as_json)


def _subs_id(text: str, *, as_json: bool) -> str:
    if not (text.isascii() and text.isdigit()):
        refuse("--bound-as SUBSID: must be digits only, as the provider names it", as_json=as_json)
    return text


def audit(
    *,
    limit: Annotated[int, typer.Option(min=1, help="Most lines.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON an entry.")] = False,
) -> None:
    """Show what people did to jobs, callbacks and receivers, newest first.

    Example: [bold]axn jobs audit --limit 20[/bold]
    """
    try:
        lines = producers.audit(limit)
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    if as_json:
        for line in lines:
            print_json(dataclasses.asdict(line))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("at", "by", "job", "what", "was", "now", "subject"):
        table.add_column(name, overflow="fold")
    for line in lines:
        table.add_row(readable_time(line.at_ms), line.by, line.job_id, line.what, line.was, line.now, line.subject)
    print_table(table)
