"""`python -m tests.chaos.soak`: half an hour at 70 % of what the machine can do, with random faults."""

import json
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.chaos.soak.outcome import Wishes
from tests.chaos.soak.report import as_json, print_report
from tests.chaos.soak.run import play
from tests.chaos.stopping import run_until_stopped

_BROKEN = 1
_NARROWEST = 140
_progress = Console(stderr=True)


def soak(
    *,
    minutes: Annotated[
        float, typer.Option(min=0.05, help="How long the load lasts; some 5 more until all is gone.")
    ] = 30.0,
    seed: Annotated[int, typer.Option(help="Decides orders, faults and their moments; 0 draws one.")] = 0,
    capacity: Annotated[float, typer.Option(min=1, help="Seconds in which the capacity is measured first.")] = 20.0,
    share: Annotated[float, typer.Option(min=0.01, max=1.0, help="Of the capacity, for the load.")] = 0.7,
    per_second: Annotated[float, typer.Option(min=0, help="Jobs a second, without measuring; 0: by the share.")] = 0.0,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two samples.")] = 5.0,
    csv: Annotated[Path | None, typer.Option(help="The samples go there, a line for each moment.")] = None,
    json_out: Annotated[bool, typer.Option("--json", help="The result as one line of JSON.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep the folder: histories and logs.")] = False,
) -> None:
    """Load two processes per lane for long, with faults all the time; prove that nothing is lost and nothing grows.

    Example: [bold]python -m tests.chaos.soak --minutes 3 --seed 7 --csv soak.csv[/bold]

    Exit status: 0 every judgement holds, 1 one does not, 2 bad input, 130 interrupted.
    """
    seed = seed or secrets.randbelow(10**6) + 1
    _tell(f"seed {seed}")
    wishes = Wishes(minutes, seed, capacity, share, per_second, every)
    outcome = run_until_stopped(play(wishes, _tell, csv=csv, keeps_folder=keep), _tell)
    if json_out:
        typer.echo(json.dumps(as_json(outcome)))
    else:
        print_report(outcome, Console(width=max(_NARROWEST, Console().width)))
    raise typer.Exit(0 if outcome.is_good else _BROKEN)


def _tell(text: str) -> None:
    _progress.print(text, soft_wrap=True, highlight=False)


if __name__ == "__main__":
    typer.run(soak)
