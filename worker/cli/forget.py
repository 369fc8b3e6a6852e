"""`axn forget`: a person's records found, shown and erased."""

import sys
from collections import Counter
from typing import Annotated, Any

import typer
from rich.table import Table

from worker import privacy_producers
from worker.cli.output import Exit, complain, print_json, print_table, progress, readable_time, refuse
from worker.domain.masking import mask_number
from worker.domain.phone_numbers import plain_number
from worker.errors import AxnError, SettingsError
from worker.ledger.erasing import EraseReport, Found, Hold, SearchReport
from worker.whoever import whoever_this_is

_STOPPED = 130
_MOST_SHOWN = 50
_WHY = {
    Hold.UNDER_WAY: "is under way: wait for its end",
    Hold.IN_DOUBT: "is in doubt: `axn jobs resolve` it first",
    Hold.ACTIVE: "its binding is active: `axn unbind` it first",
    Hold.CALLBACK: "its callback is still to be delivered: wait, or disable its receiver",
    Hold.BATCH: "its batch is under way: wait for its end, or cancel it",
    Hold.GONE: "changed while it was erased: run the command again",
}


def forget(
    *,
    phone_no: Annotated[
        str, typer.Option(help="The person's number; - asks for it, or reads it from a pipe: no history keeps it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON; nothing is erased without --yes.")] = False,
) -> None:
    """Find all jobs and batch rows that name a number as A or B, show them masked, and erase those that have ended.

    An active binding, a job under way or in doubt is left and told of: the provider has the number still. End it, then
    run the command again. Of an erased job stays that there was one, and how it ended. Goes over all records.

    Example: [bold]axn forget --phone-no -[/bold]

    Exit status: 0 nothing is left of the person, 1 something is, or no answer from Redis, 2 bad input, 130 stopped.
    """
    number = _number(phone_no, as_json=as_json)
    found, erased = SearchReport(), EraseReport()
    status, stopped_by = Exit.DONE, ""
    try:
        with progress("records") as tell:
            privacy_producers.find_person(number, found, tell)
        wanted = [one for one in found.found if not one.hold]
        if not as_json:
            _print_found(number, found)
        if wanted and (yes or (not as_json and typer.confirm(f"Erase {len(wanted)} of them?", err=True))):
            privacy_producers.erase(wanted, erased, by=whoever_this_is())
    except (KeyboardInterrupt, typer.Abort):
        stopped_by, status = "stopped; run it again to go on", _STOPPED  # type: ignore[assignment]
    except SettingsError as wrong:
        refuse(str(wrong), as_json=as_json)
    except AxnError as failed:
        stopped_by, status = str(failed), Exit.FAILED
    left = len(found.found) - len(erased.erased)
    if as_json:
        print_json(_as_dict(found, erased, stopped_by))
    else:
        _print_end(found, erased, stopped_by)
    raise typer.Exit(status or (Exit.FAILED if left or found.beyond_search else Exit.DONE))


def _number(given: str, *, as_json: bool) -> str:
    if given == "-":
        is_asked = sys.stdin.isatty()
        given = typer.prompt("Phone number", hide_input=True, err=True) if is_asked else sys.stdin.readline()
    try:
        return plain_number(given.strip())
    except ValueError as wrong:
        refuse(f"--phone-no: {wrong}", as_json=as_json)


def _print_found(number: str, report: SearchReport) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("record", "id", "as", "state", "since", ""):
        table.add_column(name, no_wrap=True)
    for one in report.found[:_MOST_SHOWN]:
        since = readable_time(one.accepted_at) if one.accepted_at else ""
        table.add_row(one.kind, _id_of(one), "+".join(one.roles), one.state, since, _WHY.get(one.hold, ""))
    if table.row_count:
        print_table(table)
    if (more := len(report.found) - _MOST_SHOWN) > 0:
        typer.echo(f"… and {more} more")
    typer.echo(f"{mask_number(number)}: {len(report.found)} records, of {report.looked_at:,} looked at")
    if report.as_x:
        typer.echo(f"{report.as_x} jobs have it as X, a number of the pool that is nobody's: they are left")


def _print_end(found: SearchReport, erased: EraseReport, stopped_by: str) -> None:
    if stopped_by:
        complain(stopped_by)
    typer.echo(f"erased: {len(erased.erased)}, left: {len(found.found) - len(erased.erased)}")
    if found.beyond_search:
        complain(
            f"{found.beyond_search:,} records could not be searched: they are sealed, and AXN_ENCRYPTION__INDEX_KEY or "
            "their key in AXN_ENCRYPTION__KEYS is missing here"
        )
    for hold, count in Counter(one.hold for one in erased.left).items():
        complain(f"{count} left: {_WHY[hold]}")


def _id_of(one: Found) -> str:
    return f"{one.id}/{one.chunk}/{one.row}" if one.kind == "row" else one.id


def _as_dict(found: SearchReport, erased: EraseReport, stopped_by: str) -> dict[str, Any]:
    done = {_id_of(one) for one in erased.erased}
    holds = {_id_of(one): one.hold for one in [*found.found, *erased.left]}
    return {
        "looked_at": found.looked_at,
        "found": len(found.found),
        "erased": len(erased.erased),
        "as_x": found.as_x,
        "beyond_search": found.beyond_search,
        "records": [
            {
                "kind": one.kind,
                "id": _id_of(one),
                "roles": list(one.roles),
                "state": one.state,
                "accepted_at": one.accepted_at,
                "is_erased": _id_of(one) in done,
                "left_because": holds[_id_of(one)].value,
            }
            for one in found.found
        ],
        "stopped_by": stopped_by,
    }
