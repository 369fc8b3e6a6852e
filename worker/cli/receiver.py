"""`axn receiver`: a callback URL that verifies what arrives."""

from typing import Annotated

import typer

from worker.cli.output import refuse
from worker.cli.sandbox import serve_until_interrupted
from worker.receiver.config import ReceiverConfig
from worker.receiver.server import serve


def receiver(
    *,
    secret: Annotated[list[str] | None, typer.Option(help="whsec_…; may be repeated.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as one line of JSON.")] = False,
) -> None:
    """Receive callbacks, verify their signatures, count them.

    Example: [bold]axn receiver --port 8901 --secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw[/bold]

    What arrived: GET /_receiver/events; counts: GET /_receiver/stats.
    """
    try:
        config = ReceiverConfig(host=host, port=port, secrets=tuple(secret or ()))
    except ValueError as wrong:
        refuse(f"--secret: {wrong}" if not secret else str(wrong))
    serve_until_interrupted(lambda tell: serve(config, on_ready=tell), as_json=as_json)
