"""`axn batch pause`, `resume`, `cancel`, `retry` and `rm`: the operator's hand on a batch."""

from typing import Annotated

import typer

from worker import batch_producers
from worker.cli.batch_run_view import batch_as_dict, batch_line
from worker.cli.batch_watch import BatchArgument, JsonOption, asking
from worker.cli.output import print_json, refuse
from worker.domain.batch import Batch
from worker.whoever import whoever_this_is

ByOption = Annotated[str, typer.Option(help="Who orders it, for the record; default: user@host.")]


def pause(
    batch: BatchArgument,
    *,
    reason: Annotated[str, typer.Option(help="Why, to be shown.")] = "",
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Begin no further row of a batch until it is resumed. Rows under way come to their ends.

    Example: [bold]axn batch pause renumber.csv --reason "numbers run short"[/bold]

    Exit status: 0 it is paused, 1 unknown or no answer from Redis, 2 bad input, or it is at its end.
    """
    by = by or whoever_this_is()
    _print(asking(lambda: batch_producers.pause_batch(batch, by=by, reason=reason), as_json=as_json), as_json=as_json)


def resume(batch: BatchArgument, *, by: ByOption = "", as_json: JsonOption = False) -> None:
    """Go on with a batch that a person paused, or that paused itself and said why.

    Example: [bold]axn batch resume renumber.csv[/bold]

    Exit status: 0 it runs, 1 unknown or no answer from Redis, 2 bad input, or it is at its end.
    """
    by = by or whoever_this_is()
    _print(asking(lambda: batch_producers.resume_batch(batch, by=by), as_json=as_json), as_json=as_json)


def cancel(batch: BatchArgument, *, by: ByOption = "", as_json: JsonOption = False) -> None:
    """Begin no further row of a batch, ever. Rows under way come to their ends; the report tells which were not begun.

    Example: [bold]axn batch cancel renumber.csv[/bold]

    Exit status: 0 it is cancelled, 1 unknown or no answer from Redis, 2 bad input, or it had finished.
    """
    by = by or whoever_this_is()
    _print(asking(lambda: batch_producers.cancel_batch(batch, by=by), as_json=as_json), as_json=as_json)


def retry(
    batch: BatchArgument,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Rows that did not succeed.")] = False,
    code: Annotated[list[str] | None, typer.Option(help="Only those with this code; repeatable.")] = None,
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Do rows of a finished batch anew that did not succeed. Rows in doubt are not among them: `axn jobs resolve`.

    Example: [bold]axn batch retry renumber.csv --failed --code isv.NO_AVAILABLE_NUMBER[/bold]

    Exit status: 0 they are done anew, also when there are none; 1 unknown or no answer from Redis, 2 bad input, or it
    has not finished.
    """
    if not failed:
        refuse("--failed: is required, as only rows that did not succeed can be tried anew", as_json=as_json)
    codes = frozenset(code) if code else None
    by = by or whoever_this_is()
    count = asking(lambda: batch_producers.retry_batch(batch, codes=codes, by=by), as_json=as_json)
    if as_json:
        print_json({"batch": batch, "rows": count})
    else:
        typer.echo(f"{batch}: {count:,} rows are done anew")


def rm(batch: BatchArgument, *, as_json: JsonOption = False) -> None:
    """Remove a batch that has ended, or was never begun, and what is known of its rows. Their jobs are not touched.

    Example: [bold]axn batch rm renumber.csv[/bold]

    Exit status: 0 it is gone, 1 unknown or no answer from Redis, 2 bad input, or it is under way: cancel it first.
    """
    asking(lambda: batch_producers.remove_batch(batch), as_json=as_json)
    if as_json:
        print_json({"batch": batch, "removed": True})
    else:
        typer.echo(f"{batch}: removed")


def _print(batch: Batch, *, as_json: bool) -> None:
    if as_json:
        print_json(batch_as_dict(batch))
    else:
        typer.echo(batch_line(batch))
