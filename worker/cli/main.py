"""`axn`: every command of the worker, in one place."""

from typing import Annotated

import typer

from worker import __version__
from worker.cli import (
    batch,
    bind,
    binding_adopt,
    binding_audit,
    bindings,
    callback_receivers,
    callback_replay,
    callback_secrets,
    callbacks,
    demo,
    job,
    jobs,
    pace,
    receiver,
    renewal_close,
    renewal_outlook,
    renewals,
    resolve,
    sandbox,
    settings,
    unbind,
    up,
    update,
    worker,
)
from worker.cli.output import Exit, complain
from worker.errors import AxnError, SettingsError

app = typer.Typer(
    name="axn",
    help="Bind private numbers through BindAxn: a queue that loses nothing and binds nothing twice silently.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (up.up, demo.demo, sandbox.sandbox, receiver.receiver, worker.worker, bind.bind, settings.settings):
    app.command()(command)
for change in (update.update, unbind.unbind):
    app.command()(change)
app.add_typer(batch.app, name="batch")
app.add_typer(bindings.app, name="bindings")
app.add_typer(job.app, name="job")
app.add_typer(jobs.app, name="jobs")
app.add_typer(pace.app, name="pace")
app.add_typer(renewals.app, name="renewals")
for of_renewals in (renewal_outlook.show, renewal_outlook.forecast, renewal_outlook.check, renewal_close.close):
    renewals.app.command()(of_renewals)
for of_bindings in (binding_adopt.adopt, binding_audit.audit, binding_audit.forget):
    bindings.app.command()(of_bindings)
jobs.app.command()(resolve.resolve)
jobs.app.command()(resolve.audit)
app.add_typer(callbacks.app, name="callbacks")
for secret_command in (callback_secrets.rotate, callback_secrets.secrets):
    callbacks.app.command()(secret_command)
for of_callbacks in (callback_replay.replay, callback_receivers.disable, callback_receivers.enable):
    callbacks.app.command()(of_callbacks)
callbacks.app.command("test")(callback_receivers.ping)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def axn(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Bind private numbers through BindAxn: a queue that loses nothing and binds nothing twice silently."""


def main() -> None:
    """Run the command; what is foreseen ends in one line, never in a traceback."""
    try:
        app()
    except SettingsError as wrong:
        complain(str(wrong))
        raise SystemExit(Exit.BAD_INPUT) from None
    except AxnError as failed:
        complain(str(failed))
        raise SystemExit(Exit.FAILED) from None
