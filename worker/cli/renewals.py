"""`axn renewals`: the bindings that are kept."""

import typer

from worker.cli.renewal_close import close

app = typer.Typer(no_args_is_help=True)


@app.callback()
def renewals() -> None:
    """Bindings that are kept: renewed before their end, for as long as they are needed."""


app.command()(close)
