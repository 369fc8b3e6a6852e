import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALLEST = "--callbacks 20 --rate 50 --seconds 0.2 --dead 5 --hostile 10 --hostile-timeout-s 0.2 --json"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.callbacks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.whole
def test_its_smallest_slice_measures_everything() -> None:
    ran = run(*SMALLEST.split())
    assert (ran.returncode, ran.stderr) == (0, "")
    got = json.loads(ran.stdout)
    assert (got["callbacks"], got["samples"], got["dead_waiting"], got["hostile"]) == (20, 10, 5, 10)
    assert got["late"] == 0
    assert got["per_second"] > 0
    assert 0 < got["cpu_ms"] < 100
    assert 0 < got["alone_p50_ms"] <= got["alone_p99_ms"]
    assert 0 < got["beside_p50_ms"] <= got["beside_p99_ms"]
    assert 0 < got["hostile_cpu_ms"] < 1_000


@pytest.mark.parametrize(("option", "given"), [("--dead", "many"), ("--seconds", "-1")])
def test_what_cannot_be_measured_is_refused_with_the_option_s_name(option: str, given: str) -> None:
    ran = run(option, given)
    assert ran.returncode == 2
    assert f"argument {option}: write a" in ran.stderr
