"""What `axn renewals` says of the bindings that are kept."""

import typer
from rich.table import Table

from worker.cli.output import print_table, readable_age, readable_time
from worker.domain.masking import mask_text
from worker.ledger.expiry_checks import ExpiryState
from worker.registry.alarm import alarm_text
from worker.registry.outlook import ACTION, HourAhead
from worker.registry_producers import Forecast, RenewalState

_MOST_CODES = 20
_LATE_IS_TROUBLE_MS = 600_000
"""A renewal that nobody has taken up for so long: no worker of the lane renewal runs, or far too few."""


def print_state(state: RenewalState) -> None:
    """A line for each thing; what is wrong on standard error."""
    counts, now_ms = state.counts, state.counts.now_ms
    typer.echo(f"kept: {counts.kept} bindings")
    spans = ", ".join(f"{readable_age(span_ms)}: {count}" for span_ms, count in counts.due_within.items())
    typer.echo(f"due within {spans}")
    late = f"late: {counts.late}"
    if counts.first_end:
        late += f", the first ends {_distance(counts.first_end - now_ms)}"
    typer.echo(late)
    typer.echo(f"failing: {sum(counts.failing.values())}")
    for code, count in list(counts.failing.items())[:_MOST_CODES]:
        typer.echo(f"  {count:>7}  {mask_text(code)}")
    if (more := len(counts.failing) - _MOST_CODES) > 0:
        typer.echo(f"           and {more} more codes")
    typer.echo(f"pace: {state.risk.per_second:g} renewals per second ({state.risk.why})")
    typer.echo(f"ExpireDate: {_expiry(state)}")
    for trouble in troubles_of(state):
        typer.echo(f"axn: {trouble}", err=True)


def troubles_of(state: RenewalState) -> list[str]:
    """What somebody must act on, a sentence each, with what to do."""
    counts, found = state.counts, []
    if state.expiry.state is ExpiryState.MISMATCH:
        found.append(
            f"renewals of this account stand still: ExpireDate of binding {state.expiry.binding_id} reads "
            f"{state.expiry.read or 'as nothing that is a time'}, and {state.expiry.expected} was set "
            f"({state.expiry.seconds:+d} s); find out why, then `axn renewals check --again`"
        )
    if state.risk.is_any:
        found.append(alarm_text(state.risk))
    if counts.late_since and counts.now_ms - counts.late_since > _LATE_IS_TROUBLE_MS:
        found.append(
            f"a renewal has been due for {readable_age(counts.now_ms - counts.late_since)} and nobody has taken it up: "
            "is a worker of the lane renewal running?"
        )
    if state.risk.why in ("paused", "stopped", "circuit") and counts.late:
        found.append(
            f"{counts.late} renewals are due and none is sent ({state.risk.why}): see `axn pace show {ACTION}`"
        )
    return found


def print_forecast(ahead: Forecast) -> None:
    """A row an hour; the warning on standard error."""
    pace = ahead.pace
    assured = f"{pace.assured_per_second:g} while checkout wants all"
    typer.echo(f"pace: {pace.per_second:g} renewals per second ({pace.why}); {assured}")
    table = Table(box=None, pad_edge=False)
    for name in ("hour", "due", "room", "left over", ""):
        table.add_column(name, justify="right" if name not in ("hour", "") else "left", no_wrap=True)
    for hour in ahead.hours:
        table.add_row(
            readable_time(hour.begins_at)[:16] + "Z", str(hour.due), str(hour.room), str(hour.left_over or ""),
            "too low" if hour.is_short else "",
        )  # fmt: skip
    print_table(table)
    typer.echo(f"in all: {sum(hour.due for hour in ahead.hours)}")
    short = [hour for hour in ahead.hours if hour.is_short]
    if short:
        typer.echo(f"axn: {_warning(ahead, short)}", err=True)


def _warning(ahead: Forecast, short: list[HourAhead]) -> str:
    worst = max(short, key=lambda hour: hour.left_over)
    needed = max(hour.due for hour in ahead.hours) / 3_600
    return (
        f"the pace is too low in {len(short)} of {len(ahead.hours)} hours, by {worst.left_over} renewals at worst: "
        f"{needed:.3g} per second would do (AXN_PACE__UPDATE_PER_SECOND, or `axn pace set {ACTION}`)"
    )


def _expiry(state: RenewalState) -> str:
    check = state.expiry
    if check.state is ExpiryState.UNKNOWN:
        return "not read back yet; the next renewal is"
    told = "reads as it was set" if check.state is ExpiryState.OK else "does not read as it was set"
    return f"{told}, found {readable_time(check.at_ms)}"


def _distance(ms: int) -> str:
    return f"in {readable_age(ms)}" if ms >= 0 else f"ended {readable_age(-ms)} ago"
