"""`axn status` and `axn top`: the whole system at a glance, once or live."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from worker.app import build_app
from worker.bootstrap import ProducerServices, build_producer
from worker.cli.output import Exit, complain, console_of_lines, print_json, refuse
from worker.cli.status_view import snapshot_view
from worker.domain.durations import parse_duration
from worker.errors import LedgerUnavailableError
from worker.observation.snapshot import Snapshot, take_snapshot
from worker.redis_faults import asking
from worker.settings import Settings, load_settings

_LEAST_EVERY_S = 0.1
_EXAMPLE_EVERY = "1s"


def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="One line of JSON; ms and Unix ms.")] = False
) -> None:
    """Show the system: lanes and what waits in them, the pace, doubts, dead callbacks, and the workers.

    oldest: since when nothing newer was taken up of a lane in which messages wait. Workers tell of themselves every ten
    seconds; one that has not for 35 s is not there.

    Example: [bold]axn status[/bold]

    Exit status: 0 shown, 1 no answer from Redis, 2 bad settings, 3 shown, and there is no worker.
    """
    settings = _settings(as_json=as_json)
    snapshot = asyncio.run(_once(settings, as_json=as_json))
    if as_json:
        print_json(_as_dict(snapshot))
    else:
        console_of_lines().print(snapshot_view(snapshot))
    raise typer.Exit(Exit.DONE if snapshot.workers else Exit.NOT_FINISHED)


def top(
    *,
    every: Annotated[str, typer.Option(help="How often to look, such as 500ms.")] = _EXAMPLE_EVERY,
) -> None:
    """Show what `axn status` shows, live, until Ctrl-C. A Redis that is away is waited for.

    Example: [bold]axn top --every 2s[/bold]

    Exit status: 0 when it is ended, 2 bad input.
    """
    try:
        every_s = parse_duration(every).total_seconds()
    except ValueError as wrong:
        refuse(f"--every: {wrong}")
    if every_s < _LEAST_EVERY_S:
        refuse(f"--every: must be at least {_LEAST_EVERY_S * 1000:g}ms")
    settings = _settings(as_json=False)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_live(settings, every_s))


def _settings(*, as_json: bool) -> Settings:
    settings = load_settings()
    if settings.credentials == "static" and not settings.access_key_id:
        told = "AXN_ACCESS_KEY_ID (or ALIBABA_CLOUD_ACCESS_KEY_ID): must be the workers' key id, whose pace is shown"
        refuse(told, as_json=as_json)
    return settings


@contextlib.asynccontextmanager
async def _services(settings: Settings) -> AsyncIterator[ProducerServices]:
    services = build_producer(settings, build_app(settings))
    try:
        yield services
    finally:
        await services.aclose()


async def _take(services: ProducerServices) -> Snapshot:
    async with asking(services.redis, is_one_call=False):
        return await take_snapshot(services.redis, services.pace_desk, services.announcer.backlogs)


async def _once(settings: Settings, *, as_json: bool) -> Snapshot:
    async with _services(settings) as services:
        try:
            return await _take(services)
        except LedgerUnavailableError as away:
            complain(str(away), as_json=as_json)
            raise typer.Exit(Exit.FAILED) from None


async def _live(settings: Settings, every_s: float) -> None:
    async with _services(settings) as services:
        with Live(console=Console(), screen=True, auto_refresh=False) as live:
            while True:
                try:
                    live.update(snapshot_view(await _take(services)), refresh=True)
                except LedgerUnavailableError as away:
                    live.update(f"axn: {away}", refresh=True)
                await asyncio.sleep(every_s)


def _as_dict(snapshot: Snapshot) -> dict[str, Any]:
    return dataclasses.asdict(snapshot)
