"""`axn doctor`: what keeps a worker from its work, before it starts."""

import asyncio
import dataclasses
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from worker.cli.output import Exit, print_json
from worker.clock import SystemClock
from worker.doctor.examination import examine
from worker.doctor.finding import Finding, Level

_MARKS = {Level.GOOD: ("ok", "green"), Level.WARNING: ("warn", "yellow"), Level.ERROR: ("ERROR", "bold red"),
          Level.UNKNOWN: ("?", "dim")}  # fmt: skip
_AREA_WIDTH = 18


def doctor(
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings, too, make the exit status 1.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask the provider nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each finding.")] = False,
) -> None:
    """Look at settings, Redis, broker, clocks, account, callback keys and file limits, and say what to do.

    Changes nothing but one key of a second's life in Redis. The provider is sent two requests: one without a signature,
    for its clock, and a signed query for a number that nobody has. No secret is shown.

    Example: [bold]axn doctor[/bold]

    Exit status: 0 nothing is wrong, 1 an error was found (with --strict: or a warning).
    """
    levels = asyncio.run(_show(is_offline=offline, as_json=as_json))
    is_bad = levels[Level.ERROR] or (strict and levels[Level.WARNING])
    raise typer.Exit(Exit.FAILED if is_bad else Exit.DONE)


async def _show(*, is_offline: bool, as_json: bool) -> Counter[Level]:
    levels: Counter[Level] = Counter()
    console = Console(soft_wrap=True)
    async for finding in examine(SystemClock(), with_provider=not is_offline):
        levels[finding.level] += 1
        if as_json:
            print_json(dataclasses.asdict(finding))
        else:
            console.print(_line(finding))
    if not as_json:
        console.print(f"\n{levels[Level.ERROR]} errors, {levels[Level.WARNING]} warnings")
    return levels


def _line(finding: Finding) -> Text:
    mark, style = _MARKS[finding.level]
    line = Text.assemble((f"{mark:<6}", style), f"{finding.area:<{_AREA_WIDTH}} {finding.told}")
    if finding.remedy:
        line.append(f"\n{'':<6}{'':<{_AREA_WIDTH}} -> {finding.remedy}", style="bold")
    return line
