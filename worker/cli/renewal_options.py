"""Options that say how a binding is kept."""

from typing import Annotated

import typer

RenewUntil = Annotated[str, typer.Option(help="Keep it up to then: as --expiration.")]
RenewFor = Annotated[str, typer.Option(help="Keep it for so long from its beginning: 30d.")]
RenewWhileOpen = Annotated[bool, typer.Option("--renew-while-open", help="Keep it until `axn renewals close`.")]
ExtendBy = Annotated[str, typer.Option(help="One renewal's length; default the binding's first length.")]
RenewLead = Annotated[
    str, typer.Option(help="So long before its end it is renewed; default a tenth of --extend-by, at least 10m.")
]
IfGone = Annotated[str, typer.Option(help="rebind_same_x (default), rebind_new_x or report, when it has ended.")]


def renew_of(
    until: str, for_: str, *, while_open: bool, extend_by: str, lead: str, if_gone: str
) -> dict[str, str] | None:
    """A request's `renew`; None where nothing of it was given."""
    given = {
        "until": until, "for": for_, "while": "open" if while_open else "", "extend_by": extend_by, "lead": lead,
        "if_gone": if_gone,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value} or None
