"""What the table and the JSON say of a cell."""

from collections import Counter
from io import StringIO

import pytest
from rich.console import Console

from tests.chaos.bench import CellResult
from tests.chaos.checker import Verdict, Violation
from tests.chaos.report import as_json, print_table

LOST = Violation("I1", "lost", "k1", "still waiting")
DIED = Violation("X1", "died", "-", "worker-checkout ended by itself")


def result(*violations: Violation, control: bool = False) -> CellResult:
    verdict = Verdict(list(violations), Counter(bound=9, in_doubt=1), [100, 2_500])
    return CellResult("A2", "worker killed", 3, 10, verdict, list(violations), 12.5, control=control)


def printed(*results: CellResult) -> str:
    out = StringIO()
    print_table(results, Console(file=out, width=150))
    return out.getvalue()


@pytest.mark.parametrize(
    ("violations", "control", "is_good"),
    [
        ((), False, True),
        ((LOST,), False, False),
        ((DIED,), False, False),
        ((LOST,), True, True),
        ((), True, False),
        ((DIED,), True, False),
    ],
)
def test_a_cell_is_good_without_violations_and_the_control_only_with_them(
    violations: tuple[Violation, ...], control: bool, is_good: bool
) -> None:
    assert result(*violations, control=control).is_good is is_good


def test_facts_without_a_job_count_each() -> None:
    assert result(DIED, DIED).count("died") == 2
    assert result(LOST, LOST).count("lost") == 1


def test_the_table_names_columns_counts_and_failing_jobs() -> None:
    text = printed(result(LOST))
    assert all(name in text for name in ("lost", "doubled", "in doubt", "p99 s", "BROKEN"))
    assert "I1 lost k1: still waiting" in text
    assert "2.5" in text


def test_no_number_is_shown() -> None:
    assert "13800001234" not in printed(result(Violation("I1", "lost", "k1", "13800001234")))


def test_the_json_holds_what_is_needed_to_play_it_again() -> None:
    told = as_json([result(), result(LOST, control=True)], seed=7)
    assert told["seed"] == 7
    assert told["good"] is True
    assert told["jobs"] == 10
    assert set(told["versions"]) >= {"axn", "python", "celery", "kombu", "redis"}
    assert told["cells"][0]["states"] == {"bound": 9, "in_doubt": 1}
    assert told["cells"][0]["longest_recovery_s"] == 2.5
