"""`axn callbacks disable`, `enable` and `test`: a receiver's switch, and a ping to it."""

import dataclasses
from typing import Annotated

import typer

from worker import producers
from worker.callback_desk import Enabled
from worker.cli.callbacks import host_given
from worker.cli.output import Exit, complain, print_json, progress, readable_time, refuse
from worker.domain.callback_url import check_callback_url
from worker.errors import LedgerUnavailableError, UnknownSecretError
from worker.whoever import whoever_this_is

_Host = Annotated[str, typer.Argument(metavar="HOST", help="The receiver's host, or a URL of it.")]
_By = Annotated[str, typer.Option(help="Who says so, for the audit; default: user@host.")]
_AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON.")]


def disable(host: _Host, *, by: _By = "", as_json: _AsJson = False) -> None:
    """Send a receiver nothing more: its callbacks are given up as their time comes, and can be replayed later.

    Example: [bold]axn callbacks disable shop.example[/bold]

    Exit status: 0 it is disabled, also if it was before; 1 no answer from Redis, 2 bad input.
    """
    host = host_given(host, "HOST", as_json=as_json)
    try:
        disabled = producers.disable_receiver(host, by=by or whoever_this_is())
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    if as_json:
        print_json({"host": host, "disabled_at": disabled.at_ms, "disabled_by": disabled.by})
    else:
        typer.echo(f"{host} is disabled since {readable_time(disabled.at_ms)}, by {disabled.by}")


def enable(host: _Host, *, by: _By = "", as_json: _AsJson = False) -> None:
    """Send a receiver callbacks again, and say how many were given up and wait for a replay.

    Example: [bold]axn callbacks enable shop.example[/bold]

    Exit status: 0 it is enabled, also if it was before; 1 no answer from Redis, 2 bad input.
    """
    host = host_given(host, "HOST", as_json=as_json)
    try:
        with progress("callbacks") as tell:
            enabled = producers.enable_receiver(host, by=by or whoever_this_is(), tell=tell)
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    if as_json:
        was = enabled.was
        print_json({
            "host": host, "dead": enabled.dead, "was_disabled_at": was.at_ms if was else 0,
            "was_disabled_by": was.by if was else "",
        })  # fmt: skip
    else:
        _tell_enabled(enabled)


def _tell_enabled(enabled: Enabled) -> None:
    was = enabled.was
    how = f"was disabled since {readable_time(was.at_ms)}, by {was.by}" if was else "was not disabled"
    typer.echo(f"{enabled.host} is enabled ({how})")
    if enabled.dead:
        since = readable_time(was.at_ms) if was else "T"
        typer.echo(
            f"{enabled.dead} of its callbacks were given up: axn callbacks replay --host {enabled.host} --since {since}"
        )


def ping(
    url: Annotated[str, typer.Argument(metavar="URL", help="A callback URL.")],
    *,
    secret_of: Annotated[
        str, typer.Option(metavar="HOST|NAME", help="Sign with the keys of this host, or with this named secret.")
    ] = "",
    as_json: _AsJson = False,
) -> None:
    """Send one signed event of type `ping`, as a worker with these settings sends callbacks.

    Example: [bold]axn callbacks test https://shop.example/axn[/bold]

    Exit status: 0 it answered 2xx; 1 anything else, 2 bad input.
    """
    try:
        check_callback_url(url)
    except ValueError as wrong:
        refuse(f"URL: {wrong}", as_json=as_json)
    try:
        sent = producers.ping_receiver(url, secret_of)
    except UnknownSecretError as unknown:
        refuse(f"--secret-of: {unknown}", as_json=as_json)
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    if as_json:
        print_json(dataclasses.asdict(sent))
    else:
        answer = f"HTTP {sent.status}" if sent.status else "no answer"
        typer.echo(
            f"{'delivered' if sent.is_delivered else 'failed'}: {answer}, {sent.ms} ms, webhook-id {sent.webhook_id}"
        )
        if not sent.is_delivered:
            typer.echo(f"axn: {sent.error}: {sent.meaning}", err=True)
    raise typer.Exit(Exit.DONE if sent.is_delivered else Exit.FAILED)
