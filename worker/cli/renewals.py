"""`axn renewals`: the bindings that are kept."""

import typer

app = typer.Typer(no_args_is_help=True)


@app.callback()
def renewals() -> None:
    """Bindings that are kept: renewed before their end, for as long as they are needed."""
