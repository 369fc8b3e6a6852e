"""`axn renewals close`: the end of an order."""

import dataclasses
from typing import Annotated

import typer

from worker.cli.output import Exit, complain, print_json, refuse
from worker.errors import InvalidRequestError, LedgerUnavailableError
from worker.order_producers import close_order
from worker.renewals.closing import ClosedOrder


def close(
    *,
    out_order_id: Annotated[str, typer.Option(help="The order's id, as its bind requests gave it.")],
    unbind: Annotated[bool, typer.Option("--unbind", help="Also end all of its bindings, however kept.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Renew the bindings of an order no more that are kept while it is open; with --unbind, also end its bindings.

    A bind of the order that is still on its way is reached, too, as it ends. Repeating it harms nothing.

    Example: [bold]axn renewals close --out-order-id order-42 --unbind[/bold]

    Exit status: 0 done, also where there was nothing to do; 1 no answer from Redis, then run it again; 2 bad input.
    """
    try:
        closed = close_order(out_order_id, unbind=unbind)
    except InvalidRequestError as invalid:
        refuse("the order cannot be closed", faults=invalid.faults, as_json=as_json)
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    if as_json:
        print_json(dataclasses.asdict(closed))
    else:
        _print(closed)


def _print(closed: ClosedOrder) -> None:
    for binding_id in closed.closed:
        typer.echo(f"{binding_id}  renewed no more")
    for binding_id, job_id in closed.unbind_jobs.items():
        typer.echo(f"{binding_id}  unbound by job {job_id}")
    for binding_id in closed.kept:
        typer.echo(f"{binding_id}  still kept, for its span or up to its moment; --unbind ends it")
    if not (closed.closed or closed.unbind_jobs or closed.kept):
        typer.echo("no bindings of this order are kept; one that is still being bound will not be, either", err=True)
