"""`axn bindings`: the bindings that our jobs made, and when they end."""

import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker import producers
from worker.cli.output import Exit, complain, print_json, print_table, readable_age, readable_time, refuse
from worker.domain.binding import BindingName, BoundBinding, NameKind
from worker.domain.durations import duration_ms, parse_duration
from worker.domain.job_ids import is_job_id
from worker.domain.masking import mask_number
from worker.errors import LedgerUnavailableError
from worker.ledger.bindings import BindingCounts, BindingLedger

_COLUMNS = ("id", "status", "ends in", "phone_no_x", "subs_id", "phone_no_a", "out_order_id", "out_id")
_PER_READ = 200
_FAR_MS = 2**52

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON a binding.")]


@app.callback()
def bindings() -> None:
    """Look at bindings, take others in, and compare them with the provider."""


@app.command()
def show(
    binding_id: Annotated[str, typer.Argument(metavar="ID", help="The job that bound, as `axn bind` said.")] = "",
    *,
    subs_id: Annotated[str, typer.Option(help="Instead of the ID: the binding's id at the provider.")] = "",
    phone_no_x: Annotated[str, typer.Option(help="Instead of the ID: its X.")] = "",
    out_order_id: Annotated[str, typer.Option(help="Instead of the ID: the order that it was bound for.")] = "",
    out_id: Annotated[str, typer.Option(help="Instead of the ID: your id, told in call receipts.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show what is known of a binding, or of all that share a name; A and B are masked.

    A binding stays known for AXN_BINDING_KEEP after its end.

    Example: [bold]axn bindings show --phone-no-x 17000000001[/bold]

    Exit status: 0 shown, 1 there is none, 2 bad input.
    """
    by_name = {
        NameKind.SUBS_ID: subs_id, NameKind.PHONE_NO_X: phone_no_x,
        NameKind.OUT_ORDER_ID: out_order_id, NameKind.OUT_ID: out_id,
    }  # fmt: skip
    names = [BindingName(kind, value) for kind, value in by_name.items() if value]
    if len(names) + bool(binding_id) != 1:
        refuse("give one of ID, --subs-id, --phone-no-x, --out-order-id or --out-id", as_json=as_json)
    if binding_id and not is_job_id(binding_id):
        refuse("ID: must be the 26 letters and digits that `axn bind` printed", as_json=as_json)
    found = _ask(lambda ledger: _found(ledger, binding_id, names), as_json=as_json)
    if not found:
        complain("no such binding on record (mistyped, or ended longer ago than AXN_BINDING_KEEP)", as_json=as_json)
        raise typer.Exit(Exit.FAILED)
    for number, binding in enumerate(found):
        if number and not as_json:
            typer.echo()
        _print(binding, as_json=as_json)


@app.command("list")
def list_(
    *,
    expiring_within: Annotated[str, typer.Option(help="Only those that end within this time: 24h, 30m, 7d.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most bindings.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the active bindings, the next one to end first; A is masked.

    Example: [bold]axn bindings list --expiring-within 24h[/bold]

    Exit status: 0 listed, also when there are none; 1 no answer from Redis, 2 bad input.
    """
    try:
        within_ms = duration_ms(parse_duration(expiring_within)) if expiring_within else _FAR_MS
    except ValueError as wrong:
        refuse(f"--expiring-within: {wrong}", as_json=as_json)
    found, counts, now_ms = _ask(lambda ledger: _expiring(ledger, within_ms, limit), as_json=as_json)
    if as_json:
        for binding in found:
            print_json(binding_as_dict(binding))
        return
    if found:
        _print_table(found, now_ms)
    typer.echo(f"{len(found)} shown; on record {counts.active} active, {counts.ended} ended", err=True)


def _ask(work: Callable[[BindingLedger], Coroutine[Any, Any, T]], *, as_json: bool) -> T:
    try:
        return producers.ask_bindings(work)
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None


async def _found(ledger: BindingLedger, binding_id: str, names: list[BindingName]) -> list[BoundBinding]:
    if binding_id:
        return [binding for binding in await ledger.read([binding_id]) if binding]
    return (await ledger.look_up(names))[0]


async def _expiring(ledger: BindingLedger, within_ms: int, limit: int) -> tuple[list[BoundBinding], BindingCounts, int]:
    now_ms = time.time_ns() // 1_000_000
    ids: list[str] = []
    async with aclosing(ledger.expiring_before(min(now_ms + within_ms, _FAR_MS))) as walk:
        async for binding_id in walk:
            ids.append(binding_id)
            if len(ids) == limit:
                break
    read = [binding for at in range(0, len(ids), _PER_READ) for binding in await ledger.read(ids[at : at + _PER_READ])]
    return [binding for binding in read if binding and binding.is_active], await ledger.count(), now_ms


def binding_as_dict(binding: BoundBinding) -> dict[str, Any]:
    """What people and programs may see of a binding."""
    return {
        "binding_id": binding.binding_id,
        "status": binding.status.value,
        "phone_no_x": binding.phone_no_x,
        "subs_id": binding.subs_id,
        "phone_no_a": mask_number(binding.phone_no_a),
        "phone_no_b": mask_number(binding.parameters.get("PhoneNoB", "")),
        "pool_key": binding.pool_key,
        "no_type": binding.no_type,
        "out_id": binding.out_id,
        "out_order_id": binding.out_order_id,
        "bound_at": binding.bound_at,
        "expires_at": binding.expires_at,
        "ended_at": binding.ended_at,
        "replaced_by": binding.replaced_by,
    }


def _print(binding: BoundBinding, *, as_json: bool) -> None:
    if as_json:
        print_json(binding_as_dict(binding))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in binding_as_dict(binding).items():
        if value not in ("", 0):
            table.add_row(name, Text(readable_time(value) if name.endswith("_at") else str(value)))
    Console(soft_wrap=True).print(table)


def _print_table(found: list[BoundBinding], now_ms: int) -> None:
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, no_wrap=True)
    for binding in found:
        shown = (
            binding.binding_id, binding.status, readable_age(binding.expires_at - now_ms), binding.phone_no_x,
            binding.subs_id, mask_number(binding.phone_no_a), binding.out_order_id, binding.out_id,
        )  # fmt: skip
        table.add_row(*(Text(str(cell)) for cell in shown))
    print_table(table)
