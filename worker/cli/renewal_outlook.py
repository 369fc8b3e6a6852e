"""`axn renewals show`, `forecast` and `check`: whether all that must be renewed will be."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from worker import registry_producers
from worker.cli.output import Exit, complain, print_json, refuse
from worker.cli.renewal_view import print_forecast, print_state, troubles_of
from worker.errors import LedgerUnavailableError, SettingsError
from worker.registry_producers import Forecast, RenewalState

_MOST_HOURS = 24 * 14
T = TypeVar("T")

JsonOption = Annotated[bool, typer.Option("--json", help="One line of JSON; instants in Unix ms.")]


def show(*, as_json: JsonOption = False) -> None:
    """Show the bindings that are kept: how many fall due when, what is late, what fails and why.

    Example: [bold]axn renewals show[/bold]

    Exit status: 0 shown, 1 no answer from Redis, 2 bad input. That of `axn renewals check` tells whether all is well.
    """
    state = _asking(registry_producers.renewal_state, as_json=as_json)
    if as_json:
        print_json(_state_as_dict(state))
    else:
        print_state(state)


def forecast(
    *,
    hours: Annotated[int, typer.Option(min=1, max=_MOST_HOURS, help="How far ahead.")] = 24,
    as_json: JsonOption = False,
) -> None:
    """Show how many renewals fall due in each hour ahead, and which hours the pace has no room for.

    What falls due is what stands in the registry now: a binding's renewal after its next one is not foreseen. The room
    is the pace's when no other lane wants any of it.

    Example: [bold]axn renewals forecast --hours 168[/bold]

    Exit status: 0 there is room for all, 1 the pace is too low for some hour, or no answer from Redis, 2 bad input.
    """
    ahead = _asking(lambda: registry_producers.renewal_forecast(hours), as_json=as_json)
    if as_json:
        print_json(_forecast_as_dict(ahead))
    else:
        print_forecast(ahead)
    raise typer.Exit(Exit.FAILED if any(hour.is_short for hour in ahead.hours) else Exit.DONE)


def check(
    *,
    again: Annotated[
        bool, typer.Option("--again", help="First forget that ExpireDate read other than set: the next renewal looks.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell whether all is well with the renewals, for a monitor; what is not is said, a line each.

    Example: [bold]axn renewals check || alert-someone[/bold]

    Exit status: 0 all is well, 1 somebody must act, or no answer from Redis, 2 bad input.
    """
    if again:
        _asking(registry_producers.check_expiry_again, as_json=as_json)
    state = _asking(registry_producers.renewal_state, as_json=as_json)
    troubles = troubles_of(state)
    if as_json:
        print_json({"is_well": not troubles, "troubles": troubles, **_state_as_dict(state)})
    else:
        for trouble in troubles or ["all is well"]:
            typer.echo(trouble)
    raise typer.Exit(Exit.FAILED if troubles else Exit.DONE)


def _asking(ask: Callable[[], T], *, as_json: bool) -> T:
    try:
        return ask()
    except SettingsError as wrong:
        refuse(str(wrong), as_json=as_json)
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None


def _state_as_dict(state: RenewalState) -> dict[str, Any]:
    told = dataclasses.asdict(state)
    told["counts"]["due_within"] = {str(span): count for span, count in state.counts.due_within.items()}
    return told


def _forecast_as_dict(ahead: Forecast) -> dict[str, Any]:
    told = dataclasses.asdict(ahead)
    for hour, shown in zip(ahead.hours, told["hours"], strict=True):
        shown["is_short"] = hour.is_short
    return told
