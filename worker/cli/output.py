"""What the commands print, for people and for programs, and the exit statuses they share."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from worker.domain.job import Job
from worker.errors import FieldFault
from worker.ledger.index_walk import Tell

_UNFOLDED_COLUMNS = 100_000
"""Width of a file or pipe: each row is one line there."""
_MS_PER_UNIT = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))


class Exit(IntEnum):
    """Exit statuses of all commands."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    NOT_FINISHED = 3


def print_json(value: Any) -> None:
    """One line of JSON."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def complain(message: str, *, faults: Sequence[FieldFault] = (), as_json: bool = False) -> None:
    """Say on standard error what is wrong; with --json as one line on standard output."""
    if as_json:
        print_json({"error": message, "faults": [dataclasses.asdict(fault) for fault in faults]})
    elif faults:
        for fault in faults:
            typer.echo(f"axn: {fault}", err=True)
    else:
        typer.echo(f"axn: {message}", err=True)


def refuse(message: str, *, faults: Sequence[FieldFault] = (), as_json: bool = False) -> NoReturn:
    """Complain of bad input and end."""
    complain(message, faults=faults, as_json=as_json)
    raise typer.Exit(Exit.BAD_INPUT)


def exit_of(job: Job) -> Exit:
    """The exit status that tells of a job's state."""
    if job.state.is_success:
        return Exit.DONE
    return Exit.FAILED if job.state.is_end else Exit.NOT_FINISHED


def job_as_dict(job: Job) -> dict[str, Any]:
    """All fields of a job; enums as their values."""
    return dataclasses.asdict(job)


def print_job(job: Job, *, as_json: bool) -> None:
    """A job, as a table of what is known of it or as one line of JSON."""
    if as_json:
        print_json(job_as_dict(job))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in job_as_dict(job).items():
        if value not in ("", 0, ()):
            table.add_row(name, _readable(name, value))
    Console(soft_wrap=True).print(table)


def readable_time(unix_ms: int) -> str:
    """An instant as people read it, in UTC."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def readable_age(age_ms: int) -> str:
    """The largest unit that fits: 3d, 5h, 12m, 40s."""
    for unit, length_ms in _MS_PER_UNIT:
        if age_ms >= length_ms:
            return f"{age_ms // length_ms}{unit}"
    return "0s"


def console_of_lines() -> Console:
    """Standard output: fitted to a terminal, else one line a row, for programs that read lines."""
    console = Console()
    if not console.is_terminal:
        console.width = _UNFOLDED_COLUMNS
    return console


def print_table(table: Table) -> None:
    """A table of rows, as `console_of_lines` fits it."""
    console_of_lines().print(table)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Tell]:
    """A line on the terminal that counts the things looked at; nothing where standard error is no terminal."""
    with Console(stderr=True).status(f"looking at {what} …") as status:
        yield lambda looked_at: status.update(f"looking at {what} … {looked_at}")


def _readable(name: str, value: Any) -> str:
    return readable_time(value) if name.endswith("_at") else str(value)
