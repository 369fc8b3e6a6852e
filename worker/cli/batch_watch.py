"""`axn batch show` and `list`: how batches go."""

import time
from collections.abc import Callable
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from worker import batch_producers
from worker.cli.batch_input import STOPPED
from worker.cli.batch_run_view import RateMeter, batch_as_dict, batch_view, batches_table, exit_of_batch, is_over
from worker.cli.output import Exit, complain, console_of_lines, print_json, print_table, refuse
from worker.domain.batch import Batch
from worker.domain.durations import parse_duration
from worker.errors import AxnError, BatchConflictError, BatchNotFoundError, LedgerUnavailableError

_LEAST_EVERY_S = 0.1
_EVERY_S = 1.0
T = TypeVar("T")

BatchArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the batch, or its name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One line of JSON.")]


def show(
    batch: BatchArgument,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Look again and again until it ends.")] = False,
    every: Annotated[str, typer.Option(help="With --follow: how often, such as 10s; default: 1s.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a look; instants in Unix ms.")] = False,
) -> None:
    """Show how a batch goes: how far, how fast, how long yet, what came out, and why it is paused.

    Ctrl-C ends the following, never the batch.

    Example: [bold]axn batch show renumber.csv --follow[/bold]

    Exit status: 0 finished, every row succeeded; 1 finished or cancelled with others, unknown, or no answer from Redis;
    2 bad input, 3 not finished, 130 Ctrl-C.
    """
    every_s = _every_s(every, is_following=follow, as_json=as_json)
    if follow:
        follow_batch(batch, every_s, as_json=as_json)
    found = asking(lambda: batch_producers.read_batch(batch), as_json=as_json)
    _print(found, RateMeter(), as_json=as_json)
    raise typer.Exit(exit_of_batch(found))


def list_(*, as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a batch.")] = False) -> None:
    """List all batches on record, newest first.

    Example: [bold]axn batch list[/bold]

    Exit status: 0 listed, also when there are none; 1 no answer from Redis, 2 bad input.
    """
    found = asking(batch_producers.list_batches, as_json=as_json)
    if not found:
        typer.echo("no batches", err=True)
    elif as_json:
        for one in found:
            print_json(batch_as_dict(one))
    else:
        print_table(batches_table(found, now_ms=_now_ms()))


def asking(ask: Callable[[], T], *, as_json: bool) -> T:
    """What is asked for; what can go wrong with a batch ends the command."""
    try:
        return ask()
    except BatchConflictError as forbidden:
        refuse(str(forbidden), as_json=as_json)
    except (BatchNotFoundError, LedgerUnavailableError) as failed:
        _fail(failed, as_json=as_json)


def follow_batch(batch: str, every_s: float = _EVERY_S, *, as_json: bool) -> NoReturn:
    """Show it until it ends, then end the command with the status that tells how; Ctrl-C leaves it running."""
    try:
        last = _follow(batch, every_s, as_json=as_json)
    except KeyboardInterrupt:
        typer.echo(f"axn: the batch goes on; `axn batch show {batch} --follow` shows it again", err=True)
        raise typer.Exit(STOPPED) from None
    except BatchNotFoundError as gone:
        _fail(gone, as_json=as_json)
    raise typer.Exit(exit_of_batch(last))


def _follow(batch: str, every_s: float, *, as_json: bool) -> Batch:
    found = asking(lambda: batch_producers.read_batch(batch), as_json=as_json)
    meter, console = RateMeter(), console_of_lines()
    if as_json or not console.is_terminal:
        _print(found, meter, as_json=as_json)
        while not is_over(found):
            time.sleep(every_s)
            try:
                found = batch_producers.read_batch(batch)
                _print(found, meter, as_json=as_json)
            except LedgerUnavailableError as away:
                complain(f"{away}; asking again", as_json=as_json)
        return found
    with Live(_view(found, meter), console=console, auto_refresh=False) as screen:
        while not is_over(found):
            time.sleep(every_s)
            try:
                found = batch_producers.read_batch(batch)
                screen.update(_view(found, meter), refresh=True)
            except LedgerUnavailableError as away:
                screen.update(Text(f"{away}; asking again"), refresh=True)
    return found


def _print(batch: Batch, meter: RateMeter, *, as_json: bool) -> None:
    if as_json:
        print_json(batch_as_dict(batch, _per_second(batch, meter)))
    else:
        console_of_lines().print(_view(batch, meter))


def _view(batch: Batch, meter: RateMeter) -> RenderableType:
    return batch_view(batch, _per_second(batch, meter))


def _per_second(batch: Batch, meter: RateMeter) -> float:
    return meter.per_second(batch, at_s=time.monotonic(), now_ms=_now_ms())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _fail(failed: AxnError, *, as_json: bool) -> NoReturn:
    complain(str(failed), as_json=as_json)
    raise typer.Exit(Exit.FAILED) from None


def _every_s(text: str, *, is_following: bool, as_json: bool) -> float:
    if text and not is_following:
        refuse("--every: goes with --follow", as_json=as_json)
    try:
        every_s = parse_duration(text).total_seconds() if text else _EVERY_S
    except ValueError as wrong:
        refuse(f"--every: {wrong}", as_json=as_json)
    if every_s < _LEAST_EVERY_S:
        refuse(f"--every: must be at least {_LEAST_EVERY_S * 1000:g}ms", as_json=as_json)
    return every_s
