"""The benchmark of a job's cost: its smallest slice through the real command."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks.speeding.figures import Figures, median

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
COMMAND = [sys.executable, "-m", "benchmarks.speed"]
ONE = Figures(100, 2, 0.2, 50, 40, None, None, None, None, 0, 500, 9, 0.1, 0.1, 0.1, 300, 1)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.whole
def test_its_smallest_slice_measures_ours_and_the_floor() -> None:
    ran = run("--quick", "--jobs=60", "--producers=2", "--measure-s=0.3", "--contestants=ours-checkout,floor", "--json")
    assert ran.returncode == 0, ran.stderr
    ours, floor = (json.loads(line) for line in ran.stdout.splitlines())
    assert (ours["contestant"], floor["contestant"]) == ("ours-checkout", "floor")
    for line in ours, floor:
        assert line["jobs_per_second"] > 0, line
        assert line["cpu_ms"] > 0, line
        assert line["rss_mib"] >= line["pss_mib"] > 0, line
        assert line["redis_commands"] > 3, line
    assert 40 <= ours["measured"] <= 60
    assert ours["loaded"] > 0
    assert 0 < ours["p50_ms"] <= ours["p99_ms"]
    assert 0 < ours["x_p50_ms"] <= ours["x_p99_ms"]
    assert floor["p50_ms"] is None


@pytest.mark.parametrize(
    ("argument", "fault"),
    [("--contestants=floor,fast", "'fast' is none of them: ours-checkout"), ("--rounds=0", "--rounds: write a whole")],
)
def test_what_cannot_be_measured_is_refused(argument: str, fault: str) -> None:
    ran = run(argument)
    assert ran.returncode == 2
    assert fault in ran.stderr


def test_medians_are_taken_figure_by_figure_and_what_was_not_measured_stays_so() -> None:
    got = median([ONE, replace(ONE, jobs_per_second=300, cpu_ms=1), replace(ONE, jobs_per_second=200, cpu_ms=9)])
    assert (got.jobs_per_second, got.cpu_ms, got.p50_ms) == (200, 2, None)
