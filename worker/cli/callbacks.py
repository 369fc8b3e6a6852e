"""`axn callbacks`: what is owed to receivers, what was given up, and why. Further commands are added in `main`."""

import dataclasses
import time
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from worker import producers
from worker.callback_desk import CallbackFilter
from worker.callbacks.receivers import receiver_of
from worker.cli.output import Exit, complain, print_json, print_table, progress, readable_age, readable_time, refuse
from worker.domain.job_ids import is_job_id
from worker.errors import CallbackNotFoundError, LedgerUnavailableError
from worker.ledger.callback_listing import is_webhook_id
from worker.ledger.callback_views import Callback, CallbackState, CallbackTry

_COLUMNS = ("id", "state", "type", "host", "tries", "age", "next", "error")
_ONLY_IN_FULL = ("log", "body")
_LEAST_COLONS_OF_IPV6 = 2

app = typer.Typer(help="Callbacks: what waits, what was given up, replays, receivers.", no_args_is_help=True)


@app.callback()
def callbacks() -> None:
    """Look at callbacks, replay those that were given up, disable and enable receivers."""


@app.command("list")
def list_(
    *,
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up, newest first.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that are still tried.")] = False,
    host: Annotated[str, typer.Option(help="Only this receiver's.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most callbacks.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a callback.")] = False,
) -> None:
    """List callbacks that were given up, and those that wait for their next try.

    Dead ones come first, newest first, found by an index; waiting ones are found by going through the timetables, and
    the first found are shown. Delivered ones are on no list: the record of their job tells of them.

    Example: [bold]axn callbacks list --dead --host shop.example[/bold]

    Exit status: 0 listed, also when there are none; 1 no answer from Redis, 2 bad input.
    """
    state = None if dead == waiting else CallbackState.DEAD if dead else CallbackState.WAITING
    wanted = CallbackFilter(state, host_given(host, "--host", as_json=as_json) if host else "")
    try:
        with progress("callbacks") as tell:
            found = producers.find_callbacks(wanted, limit, tell)
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    if not found:
        typer.echo("no callbacks", err=True)
    elif as_json:
        for one in found:
            print_json(_as_dict(one, is_in_full=False, show_numbers=False))
    else:
        _print_list(found, now_ms=time.time_ns() // 1_000_000)


@app.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Its webhook-id, or a job's id for the event of its end.")],
    *,
    show_numbers: Annotated[bool, typer.Option("--show-numbers", help="Do not mask the numbers of the body.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Show a callback: where it stands, what each try came to, and its body.

    Example: [bold]axn callbacks show 01kap4w8z9v7r2c3d4e5f6g7h8-1[/bold]

    Exit status: 0 delivered, 1 given up or unknown, 2 bad input, 3 still to be delivered.
    """
    check_id(id_, as_json=as_json)
    try:
        found = producers.read_callback(id_)
    except (CallbackNotFoundError, LedgerUnavailableError) as missing:
        complain(str(missing), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    told = _as_dict(found, is_in_full=True, show_numbers=show_numbers)
    if as_json:
        print_json(told)
    else:
        _print_one(told, found.log)
    raise typer.Exit(_EXITS[found.state])


_EXITS = {
    CallbackState.DELIVERED: Exit.DONE,
    CallbackState.DEAD: Exit.FAILED,
    CallbackState.WAITING: Exit.NOT_FINISHED,
}


def check_id(text: str, *, as_json: bool) -> None:
    """Refuse what is no callback's id."""
    if not (is_job_id(text) or is_webhook_id(text)):
        refuse("ID: must be a webhook-id as `axn callbacks list` shows it, or a job's id", as_json=as_json)


def host_given(text: str, option: str, *, as_json: bool) -> str:
    """A receiver's host, as callbacks are kept apart by; given as such or as a URL."""
    url = text if "://" in text else f"https://[{text}]" if _is_bare_ipv6(text) else f"https://{text}"
    host = receiver_of(url)
    if not host or any(letter.isspace() for letter in host):
        refuse(f"{option}: must be a host such as shop.example, or a URL of it", as_json=as_json)
    return host


def _is_bare_ipv6(text: str) -> bool:
    return text.count(":") >= _LEAST_COLONS_OF_IPV6 and "[" not in text


def _as_dict(callback: Callback, *, is_in_full: bool, show_numbers: bool) -> dict[str, Any]:
    told = dataclasses.asdict(callback)
    if not show_numbers:
        told |= {"url": callback.masked_url, "body": callback.masked_body}
    return {name: value for name, value in told.items() if is_in_full or name not in _ONLY_IN_FULL}


def _print_list(found: list[Callback], *, now_ms: int) -> None:
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, no_wrap=name != "error", overflow="fold")
    for one in found:
        since = one.died_at or one.created_at
        shown = (
            one.webhook_id, one.state, one.type, one.host, one.tries, readable_age(now_ms - since) if since else "–",
            f"in {readable_age(one.next_at - now_ms)}" if one.next_at > now_ms else "", one.last_error,
        )  # fmt: skip
        table.add_row(*(Text(str(cell)) for cell in shown))
    print_table(table)


def _print_one(told: dict[str, Any], log: tuple[CallbackTry, ...]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in told.items():
        if value not in ("", 0) and name not in _ONLY_IN_FULL:
            is_time = name.endswith(("_at", "_until"))
            table.add_row(name, Text(readable_time(value) if is_time else str(value)))
    console = Console(soft_wrap=True)
    console.print(table)
    for number, one in enumerate(log, start=1):
        came_to = f"HTTP {one.status}" if one.status else one.error or "no answer"
        console.print(escape(f"\ntry {number} of {len(log)}  {readable_time(one.at_ms)}  {came_to}  {one.ms} ms"))
        if one.error and one.status:
            console.print(escape(f"  {one.error}"))
        for line in one.answer.splitlines():
            console.print(escape(f"  | {line}"), highlight=False)
    if told["body"]:
        console.print("\nbody")
        console.print(escape(told["body"]), highlight=False)
