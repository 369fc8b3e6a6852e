"""What is shown of a soak: tables for people, JSON for programs."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.checker import KINDS
from tests.chaos.report import shown, versions
from tests.chaos.soak.outcome import Outcome

_MOST_SHOWN = 8


def print_report(outcome: Outcome, console: Console) -> None:
    """What was done, what was judged, and what went wrong."""
    counts = outcome.counts
    console.print(
        f"seed {outcome.wishes.seed}: {outcome.load_s / 60:.1f} minutes at {outcome.per_second:.0f} jobs a second "
        f"(capacity {outcome.capacity:.0f}), {outcome.seconds / 60:.1f} minutes in all, {outcome.lives} processes"
    )
    console.print("jobs: " + _listed(outcome.states))
    console.print("faults: " + _listed(outcome.faults))
    names = ("attempts", "callbacks", "tries", "delivered", "taken again", "judged", "unwitnessed", "too late")
    console.print(", ".join(f"{name} {counts.get(name, 0):,}" for name in names))
    console.print("ms: " + _listed(outcome.waits_ms))
    console.print("at most: " + ", ".join(f"{name} {value:,.0f}" for name, value in outcome.most.items()))
    table = Table(title="soak")
    for name in ("judged", "", "result"):
        table.add_column(name, overflow="fold")
    for kind in KINDS:
        if kind != "slow":
            table.add_row(kind, _word(outcome.count(kind) == 0), str(outcome.count(kind)))
    for finding in outcome.findings:
        table.add_row(finding.name, _word(finding.is_good), finding.told, style="" if finding.is_good else "red")
    console.print(table)
    kinds: Counter[tuple[str, str]] = Counter()
    for violation in outcome.violations:
        kinds[violation.invariant, violation.kind] += 1
        if kinds[violation.invariant, violation.kind] <= _MOST_SHOWN:
            console.print(shown(violation), style="red", soft_wrap=True, highlight=False)
    for (invariant, kind), count in kinds.items():
        if count > _MOST_SHOWN:
            console.print(f"{invariant} {kind}: {count} in all", style="red")
    if outcome.folder:
        console.print(f"histories and logs in {outcome.folder}", soft_wrap=True)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Everything that is shown, each trend, and what is needed to play it again."""
    told = asdict(outcome)
    told["trends"] = [
        asdict(trend) | {"is_flat": trend.is_flat, "per_hour": trend.per_hour} for trend in outcome.trends
    ]
    told["violations"] = [shown(violation) for violation in outcome.violations]
    broken = {kind: outcome.count(kind) for kind in KINDS}
    return {"good": outcome.is_good, "versions": versions(), **broken, **told}


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def _word(is_good: bool) -> str:
    return "good" if is_good else "BROKEN"
