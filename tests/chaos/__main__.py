"""`python -m tests.chaos`: the fault matrix against the real system on this machine."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from tests.chaos.bench import CellResult, play
from tests.chaos.cells.control import ID as CONTROL
from tests.chaos.cells.control import TITLE as CONTROL_TITLE
from tests.chaos.cells.control import play_control
from tests.chaos.cells.registry import CELLS
from tests.chaos.report import as_json, print_table
from tests.chaos.stopping import run_until_stopped

DEFAULT_JOBS = 28_500
_CONTROL_JOBS = 240
_BROKEN, _BAD_INPUT = 1, 2
_AT_A_TIME = 2
_NARROWEST = 160
_progress = Console(stderr=True)


def chaos(
    *,
    cells: Annotated[str, typer.Option(help="Some cells, separated by commas; all without it.")] = "",
    seed: Annotated[int, typer.Option(help="Decides orders, faults and their moments; 0 draws one.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="How many jobs all cells together get.")] = DEFAULT_JOBS,
    at_a_time: Annotated[int, typer.Option(min=1, help="Cells played at a time.")] = _AT_A_TIME,
    json_out: Annotated[bool, typer.Option("--json", help="The result as one line of JSON.")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="Name the cells and end.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep each cell's folder: histories and logs.")] = False,
) -> None:
    """Kill, freeze, cut off and mislead real processes under load; then prove that nothing is lost or bound twice.

    Example: [bold]python -m tests.chaos --cells A2,B3 --seed 7 --jobs 2000 --keep[/bold]

    Exit status: 0 every promise held, 1 one was broken, 2 bad input, 130 interrupted.
    """
    if only_list:
        for cell in CELLS.values():
            typer.echo(f"{cell.id:8} {cell.title}")
        typer.echo(f"{CONTROL:8} {CONTROL_TITLE}")
        return
    chosen = _chosen(cells)
    seed = seed or secrets.randbelow(10**6) + 1
    _progress.print(f"seed {seed}")
    results = run_until_stopped(
        _play_all(chosen, seed=seed, jobs=jobs, at_a_time=at_a_time, keep=keep), _progress.print
    )
    if json_out:
        typer.echo(json.dumps(as_json(results, seed)))
    else:
        print_table(results, Console(width=max(_NARROWEST, Console().width)))
    raise typer.Exit(0 if all(result.is_good for result in results) else _BROKEN)


def _chosen(cells: str) -> list[str]:
    known = [*CELLS, CONTROL]
    names = [name.strip() for name in cells.split(",") if name.strip()] or known
    unknown = [name for name in names if name not in known]
    if unknown:
        typer.echo(f"--cells: {unknown[0]} is not one of {', '.join(known)}", err=True)
        raise typer.Exit(_BAD_INPUT)
    return list(dict.fromkeys(names))


async def _play_all(names: Sequence[str], *, seed: int, jobs: int, at_a_time: int, keep: bool) -> list[CellResult]:
    weights = sum(cell.weight * cell.runs for cell in map(CELLS.get, names) if cell)
    hands = asyncio.Semaphore(at_a_time)

    async def one(name: str) -> CellResult:
        async with hands:
            if name == CONTROL:
                result = await play_control(jobs=_CONTROL_JOBS, tell=_progress.print, keeps_folder=keep)
            else:
                cell = CELLS[name]
                share = round(jobs * cell.weight * cell.runs / weights)
                result = await play(cell, seed=seed, jobs=share, tell=_progress.print, keeps_folder=keep)
            end = "as promised" if result.is_good else f"BROKEN: {len(result.violations)} violations"
            _progress.print(f"{result.id}: {result.jobs} jobs in {result.seconds:.0f} s, {end}")
            return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(name)) for name in names]
    return [task.result() for task in tasks]


if __name__ == "__main__":
    typer.run(chaos)
