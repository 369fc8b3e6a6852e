"""`axn callbacks replay`: callbacks that were given up are tried again."""

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from worker import producers
from worker.callback_desk import REPLAYS_PER_SECOND, Moment, ReplayReport, ReplayRules
from worker.cli.callbacks import check_id, host_given
from worker.cli.output import Exit, complain, print_json, readable_time, refuse
from worker.domain.durations import parse_duration
from worker.errors import LedgerUnavailableError, ReceiverDisabledError
from worker.ledger.replays import Replay, ReplayOutcome
from worker.whoever import whoever_this_is

_STOPPED = 130
"""As shells count a process that Ctrl-C ended."""
_WHY_NOT = {
    ReplayOutcome.WAITING: "is not given up: it waits for its next try",
    ReplayOutcome.MISSING: "is not on record: delivered, mistyped, or given up longer ago than AXN_DEAD_CALLBACK_TTL",
    ReplayOutcome.DISABLED: "goes to a receiver that is disabled: run `axn callbacks enable HOST` first",
}


def replay(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="As `axn callbacks list --dead` lists them.")
    ] = None,
    *,
    host: Annotated[str, typer.Option(help="Instead of ids: all that this receiver was given up on …")] = "",
    since: Annotated[
        str, typer.Option(metavar="T", help="… since then: 24h for so long ago, or 2026-11-24T08:00:00Z …")
    ] = "",
    until: Annotated[str, typer.Option(metavar="T", help="… and until then; default: now.")] = "",
    per_second: Annotated[
        float, typer.Option(min=0.001, help="Most first tries at one receiver, so that it is no storm.")
    ] = REPLAYS_PER_SECOND,
    by: Annotated[str, typer.Option(help="Who replays, for the audit; default: user@host.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a callback.")] = False,
) -> None:
    """Bring callbacks back that were given up: the same event and webhook-id, its tries anew by the schedule.

    With --host the oldest go first. Ctrl-C leaves nothing half done: the same command goes on with the rest.

    Example: [bold]axn callbacks replay --host shop.example --since 24h --per-second 50[/bold]

    Exit status: 0 all that was asked for is brought back, also when there was none; 1 not all, 2 bad input.
    """
    desk = _Desk(ReplayRules(by or whoever_this_is(), per_second, is_dry_run=dry_run), as_json=as_json)
    if bool(ids) == bool(host):
        refuse("give either IDs, or --host with --since", as_json=as_json)
    if ids:
        if since or until:
            refuse("--since, --until: go with --host only", as_json=as_json)
        for id_ in ids:
            check_id(id_, as_json=as_json)
        desk.run_ids(ids)
    else:
        if not since:
            refuse("--since: must be given with --host", as_json=as_json)
        begin = _moment(since, "--since", as_json=as_json)
        end = _moment(until, "--until", as_json=as_json) if until else None
        desk.run_receiver(host_given(host, "--host", as_json=as_json), begin, end)


class _Desk:
    """Tells all along what becomes of the callbacks, and at the end what it came to."""

    def __init__(self, rules: ReplayRules, *, as_json: bool) -> None:
        self._rules = rules
        self._as_json = as_json
        self._report = ReplayReport()
        self._looked_at = 0
        self._status: Status = Console(stderr=True).status("looking at callbacks …")

    def run_ids(self, ids: Sequence[str]) -> None:
        with self._telling():
            producers.replay_callbacks(ids, self._rules, self._tell)

    def run_receiver(self, host: str, since: Moment, until: Moment | None) -> None:
        with self._telling():
            producers.replay_receiver(
                host, self._rules, self._tell, since=since, until=until, tell_looked_at=self._tell_looked_at
            )

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """End as the replay did."""
        try:
            with self._status:
                yield
        except KeyboardInterrupt:
            typer.echo(f"axn: stopped; at least {self._sum()}; the same command goes on with the rest", err=True)
            raise typer.Exit(_STOPPED) from None
        except ValueError as wrong:
            refuse(str(wrong), as_json=self._as_json)
        except (LedgerUnavailableError, ReceiverDisabledError) as failure:
            done = f"; {self._sum()}, the same command goes on with the rest" if self._report.done else ""
            complain(f"{failure}{done}", as_json=self._as_json)
            raise typer.Exit(Exit.FAILED) from None
        typer.echo(self._sum(), err=True)
        raise typer.Exit(Exit.FAILED if self._report.refused else Exit.DONE)

    def _tell(self, replays: Sequence[Replay]) -> None:
        self._report.add(replays)
        for one in replays:
            if self._as_json:
                _print_while_read(one)
            elif one.outcome in _WHY_NOT:
                typer.echo(f"axn: callback {one.webhook_id} {_WHY_NOT[one.outcome]}", err=True)
        self._update()

    def _tell_looked_at(self, looked_at: int) -> None:
        self._looked_at = looked_at
        self._update()

    def _update(self) -> None:
        self._status.update(f"{self._report.done} replayed, looking at callbacks … {self._looked_at}")

    def _sum(self) -> str:
        done = self._report.done
        told = f"{done} {'would be ' if self._rules.is_dry_run else ''}replayed"
        if self._rules.is_dry_run and done:
            told += f", over {done / self._rules.per_second:.0f} s"
        elif self._report.last_try_at:
            told += f", the last of them tried at {readable_time(self._report.last_try_at)}"
        return told + (f"; {self._report.refused} not" if self._report.refused else "")


def _print_while_read(one: Replay) -> None:
    """Nobody who reads the lines and goes away stops a replay half-way."""
    try:
        print_json(dataclasses.asdict(one))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _moment(text: str, option: str, *, as_json: bool) -> Moment:
    try:
        return parse_duration(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.min  # noqa: DTZ901 - without a zone, so it is refused
    if at.tzinfo is None:
        refuse(f"{option}: must be a span such as 24h, or a moment such as 2026-11-24T08:00:00Z", as_json=as_json)
    return at
