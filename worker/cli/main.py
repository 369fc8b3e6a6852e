"""`axn`: every command of the worker, in one place."""

from typing import Annotated

import typer

from worker import __version__
from worker.cli.lazy import LazyCommand, LazyGroup
from worker.cli.output import Exit, complain
from worker.errors import AxnError, SettingsError


class Commands(LazyGroup):
    """All of them. A summary is the first sentence of its command's own help: a test holds them equal."""

    lazy_commands = {  # noqa: RUF012 - the base class says ClassVar
        "up": LazyCommand(
            "worker.cli.up:up",
            "Start Redis, the sandbox, a callback receiver and the workers, and keep them running until Ctrl-C.",
        ),
        "demo": LazyCommand(
            "worker.cli.demo:demo",
            "Place orders as a shop does, against a real Redis, real workers and a sandbox of the provider.",
        ),
        "sandbox": LazyCommand(
            "worker.cli.sandbox:sandbox",
            "Serve BindAxn and its sisters from an in-memory number pool, checking signatures as the provider does.",
        ),
        "receiver": LazyCommand(
            "worker.cli.receiver:receiver",
            "Receive callbacks: print each as it arrives, verified or why not, and at the end the counts.",
        ),
        "worker": LazyCommand(
            "worker.cli.worker:worker",
            "Consume lanes until told to stop (SIGTERM finishes what is under way).",
        ),
        "bind": LazyCommand("worker.cli.bind:bind", "File a bind request; with --wait, also wait for its X."),
        "update": LazyCommand(
            "worker.cli.update:update",
            "File an update request, of one aspect; with --wait, also wait until it is done.",
        ),
        "unbind": LazyCommand(
            "worker.cli.unbind:unbind",
            "File an unbind request; with --wait, also wait until the binding has ended.",
        ),
        "rebind": LazyCommand(
            "worker.cli.rebind:rebind",
            "File a rebind request; with --wait, also wait until it is done.",
        ),
        "batch": LazyCommand("worker.cli.batch_group:app", "Bind, rebind, change or unbind many at once, from a file."),
        "bindings": LazyCommand(
            "worker.cli.bindings_group:app", "Look at bindings, take others in, and compare them with the provider."
        ),
        "job": LazyCommand("worker.cli.job:app", "Look at jobs."),
        "jobs": LazyCommand("worker.cli.jobs_group:app", "List jobs: why they wait, failed or are in doubt."),
        "callbacks": LazyCommand(
            "worker.cli.callbacks_group:app", "Callbacks: what waits, what was given up, replays, receivers."
        ),
        "renewals": LazyCommand(
            "worker.cli.renewals_group:app",
            "Bindings that are kept: renewed before their end, for as long as they are needed.",
        ),
        "keys": LazyCommand(
            "worker.cli.keys:app",
            "The keys that seal phone numbers in Redis: make one, see what is under each, rotate.",
        ),
        "forget": LazyCommand(
            "worker.cli.forget:forget",
            "Find all jobs and batch rows that name a number as A or B, show them masked, and erase those that have "
            "ended.",
        ),
        "pace": LazyCommand("worker.cli.pace:app", "See and bound how fast the provider is called."),
        "doctor": LazyCommand(
            "worker.cli.doctor:doctor",
            "Look at settings, Redis, broker, clocks, account, callback keys and file limits, and say what to do.",
        ),
        "status": LazyCommand(
            "worker.cli.status:status",
            "Show the system: lanes and what waits in them, the pace, doubts, dead callbacks, and the workers.",
        ),
        "top": LazyCommand("worker.cli.status:top", "Show what `axn status` shows, live, until Ctrl-C."),
        "settings": LazyCommand(
            "worker.cli.settings:settings", "Print the tables of settings (Markdown), as docs/settings.md holds them."
        ),
    }


app = typer.Typer(
    cls=Commands,
    name="axn",
    help="Bind private numbers through BindAxn: a queue that loses nothing and binds nothing twice silently.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


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
