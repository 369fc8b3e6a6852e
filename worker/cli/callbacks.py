"""`axn callbacks`: what is told to receivers, and with which keys."""

import typer

app = typer.Typer(help="Callbacks: keys that sign them.", no_args_is_help=True)
