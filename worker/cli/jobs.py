"""`axn jobs`: many jobs at a glance."""

import time
from enum import StrEnum
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from worker import producers
from worker.cli.output import Exit, complain, job_as_dict, print_json, print_table, progress, readable_age, refuse
from worker.domain.job import Job, JobKind, JobState
from worker.domain.masking import mask_text
from worker.errors import LedgerUnavailableError
from worker.ledger.listing import JobFilter

_COLUMNS = ("id", "state", "kind", "lane", "code", "age", "attempts", "out_order_id", "message")

Choice = TypeVar("Choice", bound=StrEnum)

app = typer.Typer(invoke_without_command=True)


@app.callback()
def jobs(
    context: typer.Context,
    *,
    state: Annotated[str, typer.Option(help="Only jobs in this state, such as in_doubt.")] = "",
    code: Annotated[str, typer.Option(help="Only jobs with this code, such as poison.")] = "",
    kind: Annotated[str, typer.Option(help="Only bind, update or unbind jobs.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most jobs.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a job.")] = False,
) -> None:
    """List jobs: why they wait, failed or are in doubt.

    Jobs in doubt and failed ones come newest first, found by an index. Without --state, or with the state of another
    end, all records are gone through and the first found are shown.

    Example: [bold]axn jobs --state in_doubt[/bold]

    Exit status: 0 listed, also when there are none; 1 no answer from Redis, 2 bad input.
    """
    if context.invoked_subcommand is not None:
        return
    wanted = JobFilter(
        _choice(JobState, state, "--state", as_json=as_json), code, _choice(JobKind, kind, "--kind", as_json=as_json)
    )
    found = _list(wanted, limit, as_json=as_json)
    if not found:
        typer.echo("no jobs", err=True)
    elif as_json:
        for job in found:
            print_json(job_as_dict(job) | {"message": mask_text(job.message)})
    else:
        _print_table(found, now_ms=time.time_ns() // 1_000_000)


def _choice(choices: type[Choice], given: str, option: str, *, as_json: bool) -> Choice | None:
    try:
        return choices(given) if given else None
    except ValueError:
        refuse(f"{option}: must be one of {', '.join(choices)}", as_json=as_json)


def _list(wanted: JobFilter, limit: int, *, as_json: bool) -> list[Job]:
    try:
        with progress("jobs") as tell:
            return producers.list_jobs(wanted, limit, tell)
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None


def _print_table(found: list[Job], *, now_ms: int) -> None:
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, no_wrap=name != "message", overflow="fold")
    for job in found:
        shown = (
            job.job_id, job.state, job.kind, job.lane, job.code, readable_age(now_ms - job.accepted_at), job.attempts,
            job.out_order_id, mask_text(job.message),
        )  # fmt: skip
        table.add_row(*(Text(str(cell)) for cell in shown))
    print_table(table)
