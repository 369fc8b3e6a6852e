"""`axn sandbox`: the provider's API, played locally."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import typer
import uvloop

from worker.cli.output import print_json, refuse
from worker.sandbox.config import SandboxConfig, parse_access_key, parse_for_sale, parse_limit, parse_pool
from worker.sandbox.gateway import check_names
from worker.sandbox.server import serve
from worker.sandbox.unknowns import Unknowns

T = TypeVar("T")


def sandbox(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    pool: Annotated[list[str] | None, typer.Option(help="KEY=COUNT@CITY,COUNT@CITY; may be repeated.")] = None,
    access_key: Annotated[
        list[str] | None, typer.Option(help="ID:SECRET or ID:SECRET:TOKEN[@UNIX_SECONDS]; may be repeated.")
    ] = None,
    limit: Annotated[list[str] | None, typer.Option(help="ACTION=PER_SECOND[:BURST]; may be repeated.")] = None,
    throttle_style: Annotated[str, typer.Option(help="gateway (HTTP 400) or business (HTTP 200).")] = "gateway",
    retry_after_ms: Annotated[int, typer.Option(help="x-acs-retry-after of throttling answers; 0: no header.")] = 0,
    latency_ms: Annotated[int, typer.Option(help="Wait before each answer; the effect comes first.")] = 0,
    for_sale: Annotated[str, typer.Option(help="COUNT@CITY,COUNT@CITY: what BuySecretNo finds.")] = "100@上海,100@北京",
    strict_city: Annotated[
        list[str] | None, typer.Option(help="Pool that never gives another city; may be repeated.")
    ] = None,
    same_a: Annotated[str, typer.Option(help="A bound twice: second_x or refuse.")] = "second_x",
    lapsed_detail: Annotated[str, typer.Option(help="Detail of a lapsed binding: status_0 or not_exist.")] = "status_0",
    unbound_detail: Annotated[
        str, typer.Option(help="Detail of an unbound binding: status_0 or not_exist.")
    ] = "not_exist",
    lapsed_ids_shown: Annotated[bool, typer.Option(help="QuerySubsId still names a lapsed binding.")] = False,
    read_lag_ms: Annotated[int, typer.Option(help="How long queries see the state before a change.")] = 0,
    nonce_burned_by: Annotated[
        str, typer.Option(help="Whose nonce is used up: any request received, signed or accepted.")
    ] = "signed",
    magic_numbers: Annotated[bool, typer.Option(help="Some As choose what happens to them.")] = True,
    record: Annotated[
        Path | None, typer.Option(help="Add every exchange to this file, phone numbers and all.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as one line of JSON.")] = False,
) -> None:
    """Serve BindAxn and its sisters from an in-memory number pool, checking signatures as the provider does.

    Example: [bold]axn sandbox --port 8900 --pool FC123456=1000@上海,500@北京 --access-key testid:testsecret[/bold]

    Point a worker at it with AXN_ENDPOINT=http://127.0.0.1:8900. Bindings: GET /_sandbox/bindings; counts:
    GET /_sandbox/stats; faults: POST and DELETE /_sandbox/faults; clock: POST /_sandbox/clock. docs/sandbox.md has all.
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
            for_sale=parse_for_sale(for_sale),
            unknowns=Unknowns(
                strict_city=tuple(strict_city or ()),
                same_a=same_a,  # type: ignore[arg-type] # as above
                lapsed_detail=lapsed_detail,  # type: ignore[arg-type] # as above
                unbound_detail=unbound_detail,  # type: ignore[arg-type] # as above
                lapsed_ids_shown=lapsed_ids_shown,
                read_lag_ms=read_lag_ms,
                nonce_burned_by=nonce_burned_by,  # type: ignore[arg-type] # as above
            ),
            magic_numbers=magic_numbers,
            record=record,
        )
        check_names(config)
    except ValueError as wrong:
        refuse(str(wrong))
    serve_until_interrupted(lambda tell: serve(config, on_ready=tell), as_json=as_json, hint=official_clients)


def official_clients(url: str) -> str:
    """How to point the provider's published Python clients at this address."""
    address = urlsplit(url)
    return (
        "official SDKs:\n"
        f'  alibabacloud_dyplsapi20170525: Config(…, endpoint="{address.netloc}", protocol="HTTP")\n'
        f'  aliyunsdkdyplsapi: AcsClient(…, port={address.port}) and request.set_endpoint("{address.hostname}")'
    )


def serve_until_interrupted(
    start: Callable[[Callable[[str], None]], object], *, as_json: bool, hint: Callable[[str], str] | None = None
) -> None:
    """Run a server, say where it listens, end quietly on Ctrl-C or SIGTERM."""

    def tell(url: str) -> None:
        if as_json:
            print_json({"url": url})
            return
        typer.echo(f"listening on {url} (Ctrl-C ends it)")
        if hint is not None:
            typer.echo(hint(url))

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
