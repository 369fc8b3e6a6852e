"""The verdict on a whole run: every order judged, and the counts that must agree with each other."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.year.model import Troubles, Verdict, judge
from tests.year.year import Played

MOST_IN_FLIGHT = 128
"""Of two workers: so many answers one trouble may swallow."""


@dataclass(slots=True)
class Report:
    """What a run came to.

    Attributes:
        faults: what should not have happened; empty is good.
        counts: orders, bindings, renewals, lost (excused), rebound, repeated, troubles, leaps, events.
    """

    faults: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """For a person."""
        told = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
        shown = [f"  {fault}" for fault in self.faults[:20]]
        more = [f"  and {len(self.faults) - 20} more"] if len(self.faults) > 20 else []
        return "\n".join([told, "no fault" if not self.faults else f"{len(self.faults)} faults:", *shown, *more])


def report_on(played: Played, troubles: Troubles) -> Report:
    """Judge each order by itself, then the sums."""
    report = Report()
    totals: Counter[str] = Counter()
    for order in played.scenario.orders:
        wish = dataclasses.replace(
            order.wish,
            closed_s=played.closed_s.get(order.name, float("inf")),
            extend_by_s=order.wish.extend_by_s or order.length_s,
            length_s=order.length_s,
        )
        lives = played.lives.get(order.name, [])
        verdict = judge(lives, wish, troubles, played.scenario.end_s)
        report.faults += [f"{order.name}: {fault}" for fault in verdict.faults]
        totals.update(orders=1, bindings=len(lives), renewals=verdict.renewals, lost=verdict.lost)
        totals.update(rebound=verdict.rebound)
        if order.is_told:
            report.faults += [f"{order.name}: {fault}" for fault in _untold(verdict, played.events.get(order.name, []))]
    report.faults += played.disagreements
    _check_calls(report, played, totals["renewals"])
    report.counts = dict(totals) | {
        "repeated": played.repeated, "troubles": len(played.troubles), "leaps": played.leaps,
    }  # fmt: skip
    return report


def _check_calls(report: Report, played: Played, renewals: int) -> None:
    """The provider's own counts: each accepted update changed an end, or repeated one whose answer was lost."""
    accepted = sum(count for code, count in played.updates.items() if code in ("OK", "close_after"))
    if accepted != renewals + played.repeated:
        report.faults.append(f"the provider accepted {accepted} updates, not {renewals} + {played.repeated}")
    most = played.unanswered + MOST_IN_FLIGHT * len(played.troubles)
    if played.repeated > most:
        report.faults.append(f"{played.repeated} renewals were repeated, and only {most} answers can have been lost")


def _untold(verdict: Verdict, types: list[str]) -> Iterator[str]:
    """What an order's receiver heard: each event once, as many as there was to tell of."""
    lost = verdict.lost - verdict.rebound - verdict.unsure
    for what, least in (("renewed", verdict.renewals), ("rebound", verdict.rebound), ("lost", lost)):
        came = types.count(f"binding.{what}")
        if not least <= came <= least + (verdict.unsure if what == "lost" else 0):
            yield f"{came} events binding.{what}, not {least}"
