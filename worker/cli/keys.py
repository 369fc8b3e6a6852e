"""`axn keys`: the ring by which numbers are sealed in Redis."""

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from worker import privacy_producers
from worker.cli.output import Exit, complain, print_json, print_table, progress, refuse
from worker.domain.encryption_keys import fingerprint_of, is_key_id, new_key
from worker.errors import AxnError, SettingsError
from worker.ledger.resealing import SealReport, in_order
from worker.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="The keys that seal phone numbers in Redis: make one, see what is under each, rotate.",
)
_STOPPED = 130
_AS_JSON = typer.Option("--json", help="One line of JSON.")
AsJson = Annotated[bool, _AS_JSON]


@app.command()
def new(
    *,
    key_id: Annotated[str, typer.Option("--id", help="Of the key; default: k, today's date, and two letters.")] = "",
    index: Annotated[bool, typer.Option("--index", help="A key for AXN_ENCRYPTION__INDEX_KEY, without an id.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print a new key, as AXN_ENCRYPTION__KEYS takes it. It is kept nowhere: put it where your secrets are.

    Example: [bold]axn keys new --id 2026a[/bold]

    Exit status: 0 done, 2 bad input.
    """
    key_id = key_id or f"k{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(1)}"
    if not is_key_id(key_id):
        refuse("--id: must be up to 16 lower-case letters, digits, - and _", as_json=as_json)
    key = new_key()
    if as_json:
        print_json({"key": key} if index else {"id": key_id, "key": key, "entry": f"{key_id}:{key}"})
    else:
        typer.echo(key if index else f"{key_id}:{key}")


@app.command()
def show(*, as_json: AsJson = False) -> None:
    """Show the ring's keys by their fingerprints, and how many records hold numbers under each; goes over all records.

    Example: [bold]axn keys show[/bold]

    Exit status: 0 every record can be read, 1 some cannot, or no answer from Redis, 2 a wrong setting.
    """
    report, status = SealReport(), Exit.DONE
    try:
        with progress("records") as tell:
            privacy_producers.count_by_key(report, tell)
    except KeyboardInterrupt:
        raise typer.Exit(_STOPPED) from None
    except SettingsError as wrong:
        refuse(str(wrong), as_json=as_json)
    except AxnError as failed:
        complain(str(failed), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    ring = _ring()
    if any(count and key_id and key_id not in ring for key_id, count in report.by_key.items()):
        status = Exit.FAILED
    if as_json:
        print_json({"keys": _keys_as_dicts(report, ring), "records": report.looked_at})
    else:
        _print_keys(report, ring)
    raise typer.Exit(status)


@app.command()
def rotate(*, as_json: AsJson = False) -> None:
    """Seal with the ring's first key all numbers that are plain or under another key, beside running workers.

    First every process must run with the new ring. Broken off, it is simply begun again.

    Example: [bold]axn keys rotate[/bold]

    Exit status: 0 all is under the first key, 1 not all, or no answer from Redis, 2 a wrong setting, 130 stopped.
    """
    report, status = SealReport(), 0
    try:
        with progress("records") as tell:
            privacy_producers.rotate_keys(report, tell)
    except KeyboardInterrupt:
        report.stopped_by, status = "stopped; begin it again to go on", _STOPPED
    except SettingsError as wrong:
        refuse(str(wrong), as_json=as_json)
    except AxnError as failed:
        report.stopped_by, status = str(failed), Exit.FAILED
    ring, first = _ring(), _first()
    is_done = report.is_all_under(first)
    if as_json:
        print_json(
            {
                "first_key": first,
                "is_done": is_done,
                "droppable": [key_id for key_id in ring if key_id != first] if is_done else [],
                "looked_at": report.looked_at,
                "resealed": report.resealed,
                "unreadable": report.unreadable,
                "overtaken": report.overtaken,
                "keys": _keys_as_dicts(report, ring),
                "stopped_by": report.stopped_by,
            }
        )
    else:
        _print_rotation(report, ring, is_done=is_done)
    raise typer.Exit(status or (Exit.DONE if is_done else Exit.FAILED))


def _ring() -> dict[str, bytes]:
    return load_settings().encryption.ring


def _first() -> str:
    """The id of the key that writes; empty where the ring begins with `plain`."""
    return "" if load_settings().encryption.writes_plain else next(iter(_ring()), "")


def _keys_as_dicts(report: SealReport, ring: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "id": key_id,
            "is_plain": not key_id,
            "records": count,
            "is_in_ring": is_known,
            "fingerprint": fingerprint_of(ring[key_id]) if is_known else "",
        }
        for key_id, count, is_known in in_order(report.by_key, ring)
    ]


def _print_keys(report: SealReport, ring: dict[str, bytes]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("key", "fingerprint", "records", ""):
        table.add_column(name, no_wrap=True, justify="right" if name == "records" else "left")
    first = _first()
    for key_id, count, is_known in in_order(report.by_key, ring):
        told = (
            ("seals" if key_id == first else "reads") if is_known else "MISSING in the ring" if key_id else "not sealed"
        )
        fingerprint = fingerprint_of(ring[key_id]) if is_known else ""
        table.add_row(key_id or "(plain)", fingerprint, f"{count:,}", told)
    print_table(table)


def _print_rotation(report: SealReport, ring: dict[str, bytes], *, is_done: bool) -> None:
    if report.stopped_by:
        complain(report.stopped_by)
    typer.echo(f"looked at {report.looked_at:,} records, sealed {report.resealed:,} anew")
    _print_keys(report, ring)
    first = _first()
    others = [key_id for key_id in ring if key_id != first]
    if is_done:
        told = f"; {', '.join(others)} can be dropped from it once every process has this ring" if others else ""
        where = f"under {first}, the first key of the ring" if first else "plain"
        typer.echo(f"all numbers are {where}{told}")
    elif report.unreadable:
        complain(f"{report.unreadable:,} records are under keys that the ring lacks; add those, and rotate again")
    else:
        complain("not all is done; rotate again")
