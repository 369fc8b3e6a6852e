"""`axn pace`: how fast the provider is called, and the operator's hand on it."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer
from rich.live import Live
from rich.text import Text

from worker import producers
from worker.cli.output import Exit, complain, console_of_lines, print_json, refuse
from worker.cli.pace_view import account_view, ceiling_line, lane_lines
from worker.domain.durations import parse_duration
from worker.domain.job import Lane
from worker.errors import LedgerUnavailableError, SettingsError
from worker.pace.desk import PaceOrderError
from worker.pace.state import PACED_LANES, AccountState
from worker.whoever import whoever_this_is

_LEAST_EVERY_S = 0.1
_OF_THE_SETTING = "default"
T = TypeVar("T")

app = typer.Typer(help="See and bound how fast the provider is called.", no_args_is_help=True)

ByOption = Annotated[str, typer.Option(help="Who orders it, to be shown; default: user@host.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One line of JSON: what `axn pace show --json` prints.")]
LanesOption = Annotated[
    list[str] | None, typer.Option("--lane", help="checkout, renewal or batch; may be repeated; default: all.")
]
ActionsOption = Annotated[
    list[str] | None, typer.Option("--action", help="Such as BindAxn; may be repeated; default: all.")
]


@app.callback()
def pace() -> None:
    """See and bound how fast the provider is called."""


@app.command()
def show(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="Only this one, such as BindAxn.")] = "",
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[str, typer.Option(help="With --watch: how often, such as 500ms; default: 1s.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a look; instants in Unix ms.")] = False,
) -> None:
    """Show the pace of the account: what may be sent, what is sent, who waits and why.

    ceiling: the most calls in any second, the setting's or (*) an order's. rate: calls per second granted now; a
    twentieth below the ceiling by default, so that a burst of checkouts stays within it. in use: calls per second
    accepted lately. throttled, unwell (5xx, no answer): of those sent in the last minute. A dash: not known, as nothing
    was sent for an hour.

    Example: [bold]axn pace show BindAxn --watch --every 2s[/bold]

    Exit status: 0 shown, 1 no answer from Redis, 2 bad input.
    """
    every_s = _every_s(every, watch=watch, as_json=as_json)
    actions = [action] if action else []
    if not watch:
        _print(_asking(lambda: producers.pace_state(actions), as_json=as_json), as_json=as_json)
        return
    with contextlib.suppress(KeyboardInterrupt):
        _watch(actions, every_s, as_json=as_json)


@app.command(name="set")
def set_ceiling(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="Such as BindAxn.")],
    per_second: Annotated[str, typer.Argument(metavar="PER_SECOND", help="Most calls in any second, or `default`.")],
    *,
    by: ByOption = "",
    as_json: JsonOption = False,
) -> None:
    """Bound an action for all workers, at once and until it is set anew; `default` goes back to the setting.

    Example: [bold]axn pace set BindAxn 800[/bold]

    Exit status: 0 set, 1 no answer from Redis, 2 bad input.
    """
    ceiling = None if per_second == _OF_THE_SETTING else _number(per_second, as_json=as_json)
    by = by or whoever_this_is()
    _asking(lambda: producers.set_pace(action, ceiling, by=by), as_json=as_json)
    state = _asking(lambda: producers.pace_state([action]), as_json=as_json)
    note = _note(state)
    if as_json:
        print_json(_as_dict(state) | ({"note": note} if note else {}))
        return
    typer.echo(ceiling_line(state.actions[0]))
    if note:
        typer.echo(f"note: {note}", err=True)


@app.command()
def pause(
    *, lane: LanesOption = None, action: ActionsOption = None, by: ByOption = "", as_json: JsonOption = False
) -> None:
    """Grant nothing to lanes, in all workers at once, until they are resumed. Their jobs wait; none is lost.

    Without --lane and --action all calls of the account are paused, checkout's too. A lane that is paused already keeps
    when and by whom it was.

    Example: [bold]axn pace pause --lane batch --action BindAxn[/bold]

    Exit status: 0 paused, 1 no answer from Redis, 2 bad input.
    """
    _order(producers.pause_pace, lane or [], action or [], by, as_json=as_json)


@app.command()
def resume(
    *, lane: LanesOption = None, action: ActionsOption = None, by: ByOption = "", as_json: JsonOption = False
) -> None:
    """Let lanes run again that were paused; without --lane and --action all of them.

    Example: [bold]axn pace resume --lane batch[/bold]

    Exit status: 0 they run, 1 no answer from Redis, 2 bad input.
    """
    _order(producers.resume_pace, lane or [], action or [], by, as_json=as_json)


def _order(order: Callable[..., None], lanes: list[str], actions: list[str], by: str, *, as_json: bool) -> None:
    if any(lane not in PACED_LANES for lane in lanes):
        refuse(f"--lane: must be one of {', '.join(PACED_LANES)}", as_json=as_json)
    chosen = [Lane(lane) for lane in lanes] or list(PACED_LANES)
    by = by or whoever_this_is()
    _asking(lambda: order(chosen, actions, by=by), as_json=as_json)
    state = _asking(lambda: producers.pace_state(actions), as_json=as_json)
    if as_json:
        print_json(_as_dict(state))
        return
    for line in lane_lines(state.actions, lambda lane: lane.lane in chosen):
        typer.echo(line)


def _watch(actions: Sequence[str], every_s: float, *, as_json: bool) -> None:
    _asking(lambda: producers.pace_state(actions), as_json=as_json)  # what is wrong from the start ends the watch
    console = console_of_lines()
    if as_json or not console.is_terminal:
        while True:
            try:
                _print(producers.pace_state(actions), as_json=as_json)
            except LedgerUnavailableError as away:
                complain(str(away), as_json=as_json)
            time.sleep(every_s)
    with Live(console=console, auto_refresh=False) as screen:
        while True:
            try:
                screen.update(account_view(producers.pace_state(actions)), refresh=True)
            except LedgerUnavailableError as away:
                screen.update(Text(f"{away}; asking again"), refresh=True)
            time.sleep(every_s)


def _print(state: AccountState, *, as_json: bool) -> None:
    if as_json:
        print_json(_as_dict(state))
    else:
        console_of_lines().print(account_view(state))


def _as_dict(state: AccountState) -> dict[str, Any]:
    return dataclasses.asdict(state)


def _asking(ask: Callable[[], T], *, as_json: bool) -> T:
    try:
        return ask()
    except (PaceOrderError, SettingsError) as wrong:
        refuse(str(wrong), as_json=as_json)
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None


def _note(state: AccountState) -> str:
    ceiling = state.actions[0].ceiling
    if ceiling.per_second <= ceiling.setting:
        return ""
    return "this is above the setting; the rate is still cut wherever the provider throttles"


def _number(text: str, *, as_json: bool) -> float:
    try:
        return float(text)
    except ValueError:
        refuse(f"PER_SECOND: must be a number of calls per second, or {_OF_THE_SETTING}", as_json=as_json)


def _every_s(text: str, *, watch: bool, as_json: bool) -> float:
    if text and not watch:
        refuse("--every: goes with --watch", as_json=as_json)
    try:
        every_s = parse_duration(text or "1s").total_seconds()
    except ValueError as wrong:
        refuse(f"--every: {wrong}", as_json=as_json)
    if every_s < _LEAST_EVERY_S:
        refuse(f"--every: must be at least {_LEAST_EVERY_S * 1000:g}ms", as_json=as_json)
    return every_s
