"""`axn sandbox`: the provider's API, played locally."""

import asyncio
import signal
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer
import uvloop

from worker.cli.output import print_json, refuse
from worker.sandbox.config import SandboxConfig, parse_access_key, parse_limit, parse_pool
from worker.sandbox.server import serve

T = TypeVar("T")


def sandbox(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    pool: Annotated[list[str] | None, typer.Option(help="KEY=COUNT@CITY,COUNT@CITY; may be repeated.")] = None,
    access_key: Annotated[list[str] | None, typer.Option(help="ID:SECRET or ID:SECRET:TOKEN; may be repeated.")] = None,
    limit: Annotated[list[str] | None, typer.Option(help="ACTION=PER_SECOND; may be repeated.")] = None,
    throttle_style: Annotated[str, typer.Option(help="gateway (HTTP 400) or business (HTTP 200).")] = "gateway",
    retry_after_ms: Annotated[int, typer.Option(help="x-acs-retry-after of throttling answers; 0: no header.")] = 0,
    latency_ms: Annotated[int, typer.Option(help="Wait before each answer; the effect comes first.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as one line of JSON.")] = False,
) -> None:
    """Serve BindAxn and its sisters from an in-memory number pool, checking signatures as the provider does.

    Example: [bold]axn sandbox --port 8900 --pool FC123456=1000@上海,500@北京 --access-key testid:testsecret[/bold]

    Point a worker at it with AXN_ENDPOINT=http://127.0.0.1:8900. Bindings: GET /_sandbox/bindings; counts:
    GET /_sandbox/stats; faults: POST and DELETE /_sandbox/faults.
    """
    try:
        config = SandboxConfig(
            host=host,
            port=port,
            pools=_all(parse_pool, pool or ["FC123456=1000@上海,500@北京"]),
            access_keys=_all(parse_access_key, access_key or ["testid:testsecret"]),
            limits=_all(parse_limit, limit or []),
            throttle_style=throttle_style,  # type: ignore[arg-type] # the config checks it
            retry_after_ms=retry_after_ms or None,
            latency_ms=latency_ms,
        )
    except ValueError as wrong:
        refuse(str(wrong))
    serve_until_interrupted(lambda tell: serve(config, on_ready=tell), as_json=as_json)


def serve_until_interrupted(start: Callable[[Callable[[str], None]], object], *, as_json: bool) -> None:
    """Run a server, say where it listens, end quietly on Ctrl-C or SIGTERM."""

    def tell(url: str) -> None:
        print_json({"url": url}) if as_json else typer.echo(f"listening on {url} (Ctrl-C ends it)")

    async def run() -> None:
        task = asyncio.ensure_future(start(tell))  # type: ignore[call-overload]
        for signal_name in ("SIGINT", "SIGTERM"):
            asyncio.get_running_loop().add_signal_handler(getattr(signal, signal_name), task.cancel)
        await asyncio.gather(task, return_exceptions=False)

    try:
        uvloop.run(run())
    except asyncio.CancelledError:
        return
    except OSError as busy:
        refuse(f"cannot listen: {busy}")


def _all(parse: Callable[[str], T], texts: list[str]) -> tuple[T, ...]:
    return tuple(parse(text) for text in texts)
