"""What the tables and the JSON say of a soak."""

import json
from io import StringIO

import pytest
from rich.console import Console

from tests.chaos.checker import Violation
from tests.chaos.soak.flatness import Trend
from tests.chaos.soak.outcome import Outcome, Wishes
from tests.chaos.soak.report import as_json, print_report
from tests.chaos.soak.verdict import Finding

LOST = Violation("I1", "lost", "k1", "accepted, and there is no record of it, 13800001234")
GROWN = Finding("rss MiB", is_good=False, told="worker-batch#1: +33.00 in 1500 s")


def outcome(violations: int = 0, *findings: Finding) -> Outcome:
    found = Outcome(Wishes(30, 7), violations=[LOST] * violations, findings=list(findings), load_s=1_800)
    found.trends = [Trend("worker-batch#1 rss MiB", 1_500, 100, 140, 33, 10, is_judged=True)]
    return found


@pytest.mark.parametrize(("violations", "findings"), [(0, ()), (9, ()), (0, (GROWN,))])
def test_a_soak_is_good_where_nothing_is_broken_and_nothing_has_grown(
    violations: int, findings: tuple[Finding, ...]
) -> None:
    of_it = outcome(violations, *findings)
    assert of_it.is_good is not bool(violations or findings)
    out = StringIO()
    print_report(of_it, Console(file=out, width=150))
    assert out.getvalue().count("no record of it") == min(violations, 8)
    assert ("I1 lost: 9 in all" in out.getvalue()) is (violations == 9)
    assert ("+33.00 in 1500 s" in out.getvalue()) is bool(findings)
    assert "13800001234" not in out.getvalue()


def test_the_json_holds_each_trend_and_what_is_needed_to_play_it_again() -> None:
    told = json.loads(json.dumps(as_json(outcome(2, GROWN))))
    assert told["good"] is False
    assert told["lost"] == 2
    assert told["wishes"]["seed"] == 7
    assert (told["trends"][0]["is_flat"], told["trends"][0]["per_hour"]) == (False, pytest.approx(79.2))
    assert "13800001234" not in json.dumps(told)
