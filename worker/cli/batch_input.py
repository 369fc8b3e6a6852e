"""What the commands that read a file of rows have in common: its options, and the bar that shows how far it is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from worker.batches.lines import ENCODINGS
from worker.batches.opening import InputForm
from worker.batches.operations import Operation
from worker.batches.sources import STANDARD_INPUT, Source
from worker.cli.output import refuse

STOPPED = 130
"""As shells count a process that Ctrl-C ended."""

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="CSV, JSON lines or .xlsx, gzip or not; - for stdin.")
]
OpOption = Annotated[str, typer.Option(help=f"For all rows, without a column op: {', '.join(Operation)}.")]
EncodingOption = Annotated[str, typer.Option(help=f"{' or '.join(ENCODINGS)}; default: found out.")]
IgnoreOption = Annotated[list[str] | None, typer.Option(metavar="NAME", help="A column to leave out; repeatable.")]
PoolKeyOption = Annotated[str, typer.Option(help="Of rows that name no pool; default AXN_POOL_KEY.")]
BadToOption = Annotated[str, typer.Option(metavar="PATH", help="Where bad rows go; default FILE.bad.csv.")]


def operation_given(given: str, *, as_json: bool) -> Operation | None:
    """The operation of --op, if any."""
    try:
        return Operation(given) if given else None
    except ValueError:
        refuse(f"--op: must be one of {', '.join(Operation)}", as_json=as_json)


def form_given(encoding: str, ignore: list[str] | None, *, as_json: bool) -> InputForm:
    """The form of the file, as --encoding and --ignore tell it."""
    if encoding not in ("", *ENCODINGS):
        refuse(f"--encoding: must be {' or '.join(ENCODINGS)}", as_json=as_json)
    return InputForm(encoding=encoding or None, ignored=frozenset(ignore or ()))


def bad_path_of(file: str, given: str, *, as_json: bool) -> Path | None:
    """Where the bad rows of a file go, None for nowhere."""
    if file == STANDARD_INPUT or not Path(file).is_file():
        return Path(given) if given else None
    path = Path(given or f"{file}.bad.csv")
    if path.is_dir() or (path.exists() and path.samefile(file)):
        refuse("--bad-to: must be another file than the one that is read", as_json=as_json)
    return path


@contextmanager
def reading_progress(source: Source) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal; nothing where standard error is none."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[rows]} rows"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=source.size or None, rows=0)
        yield lambda rows: progress.update(task, completed=source.position, rows=rows)
