"""What is shown of the cells: a table for people, JSON for programs."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.bench import CellResult
from tests.chaos.checker import KINDS, Violation
from worker import __version__
from worker.domain.masking import mask_text

_MOST_SHOWN = 12
_NARROWEST = 4
_PACKAGES = ("celery", "kombu", "redis", "aiohttp", "httpx")


def print_table(results: Sequence[CellResult], console: Console) -> None:
    """The table, then what went wrong."""
    table = Table(title="chaos", caption="control: plain Celery, where lost or doubled jobs must be found")
    table.add_column("cell", no_wrap=True, min_width=7)
    table.add_column("fault", overflow="ellipsis", no_wrap=True)
    for name in ("runs", "jobs", *KINDS, "in doubt", "p99 s", "max s", ""):
        table.add_column(name, justify="right", no_wrap=True, min_width=max(len(name), _NARROWEST))
    for result in results:
        table.add_row(*_row(result), style="" if result.is_good else "red")
    if len(results) > 1:
        table.add_section()
        table.add_row(*_sum_row([result for result in results if not result.control]))
    console.print(table)
    for result in results:
        if not result.control:
            _print_violations(result, console)
        for name, value in result.figures.items():
            console.print(f"{result.id}: {name} {value}", soft_wrap=True, highlight=False)
        if result.folder:
            console.print(f"{result.id}: histories and logs in {result.folder}", soft_wrap=True)


def as_json(results: Sequence[CellResult], seed: int) -> dict[str, Any]:
    """Everything in the table, the violations, and what is needed to play it again."""
    return {
        "seed": seed,
        "good": all(result.is_good for result in results),
        "versions": versions(),
        "jobs": sum(result.jobs for result in results if not result.control),
        "cells": [_as_dict(result) for result in results],
    }


def versions() -> dict[str, str]:
    """Of what was tested."""
    return {
        "axn": __version__,
        "python": sys.version.split()[0],
        **{package: version(package) for package in _PACKAGES},
    }


def _as_dict(result: CellResult) -> dict[str, Any]:
    return {
        "cell": result.id,
        "title": result.title,
        "good": result.is_good,
        "runs": result.runs,
        "jobs": result.jobs,
        **{kind: result.count(kind) for kind in KINDS},
        "states": dict(result.verdict.states),
        "unwitnessed": result.verdict.unwitnessed,
        "p99_recovery_s": result.p99_recovery_s,
        "longest_recovery_s": result.longest_recovery_s,
        "seconds": result.seconds,
        "figures": result.figures,
        "folder": result.folder,
        "violations": [shown(violation) for violation in result.violations],
    }


def _row(result: CellResult) -> list[str]:
    counts = [str(result.count(kind)) for kind in KINDS]
    return [
        result.id,
        result.title,
        str(result.runs),
        str(result.jobs),
        *counts,
        str(result.verdict.states["in_doubt"]),
        f"{result.p99_recovery_s:.1f}",
        f"{result.longest_recovery_s:.1f}",
        ("seen" if result.control else "good") if result.is_good else "BROKEN",
    ]


def _sum_row(results: Sequence[CellResult]) -> list[str]:
    counts = [str(sum(result.count(kind) for result in results)) for kind in KINDS]
    return [
        "all",
        "",
        str(sum(result.runs for result in results)),
        str(sum(result.jobs for result in results)),
        *counts,
        str(sum(result.verdict.states["in_doubt"] for result in results)),
        "",
        f"{max((result.longest_recovery_s for result in results), default=0):.1f}",
        "good" if all(result.is_good for result in results) else "BROKEN",
    ]


def shown(violation: Violation) -> str:
    """A broken promise without any number."""
    # The text alone: a job id may hold many digits, and is what one looks for in the histories.
    return str(replace(violation, text=mask_text(violation.text)))


def _print_violations(result: CellResult, console: Console) -> None:
    for violation in result.violations[:_MOST_SHOWN]:
        console.print(f"{result.id}: {shown(violation)}", style="red", soft_wrap=True, highlight=False)
    if len(result.violations) > _MOST_SHOWN:
        console.print(f"{result.id}: and {len(result.violations) - _MOST_SHOWN} more", style="red")
