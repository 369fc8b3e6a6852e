"""The benchmark of the pace: its smallest slice through the real command, and how it counts."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.pacing.figures import each_second, percentile, worst_calendar_second, worst_second
from benchmarks.pacing.provider import Counting, Plan

COMMAND = [sys.executable, "-m", "benchmarks.pace"]
SMALLEST = ["--processes=2", "--limits=60", "--warm-up-s=0.3", "--measure-s=1", "--latency-ms=5"]


def wait_for_children(pid: int, count: int) -> list[int]:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        if len(children) >= count:
            return [int(child) for child in children]
        time.sleep(0.01)
    raise TimeoutError(f"{children} are not {count} children")


@pytest.mark.whole
def test_each_kind_of_contestant_sends_within_its_limit_and_is_counted() -> None:
    ran = subprocess.run(
        [*COMMAND, "--contestants=pace,pyrate,celery-single", *SMALLEST, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [line["contestant"] for line in lines] == ["pace", "pyrate", "celery-single"]
    for line in lines:
        assert line["provider"] == "sandbox"
        assert 0 < line["used_of_limit"] <= 1.5, line
        assert line["cpu_us"] > 0, line
        assert line["fairness"] > 0, line
    # A loaded machine may push a few calls together on their way.
    assert lines[0]["throttled"] <= 0.05
    assert lines[0]["worst_second_of_limit"] <= 1.1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_interrupt_leaves_no_process() -> None:
    with subprocess.Popen(
        [*COMMAND, "--contestants=pace", "--processes=2", "--limits=60"], stderr=subprocess.PIPE, text=True
    ) as process:
        # Redis, the provider, and two that are paced.
        children = wait_for_children(process.pid, 4)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 130, errors
    assert not errors
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def test_an_unknown_contestant_is_refused_and_all_are_named() -> None:
    ran = subprocess.run([*COMMAND, "--contestants=pace,fast"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "'fast' is none of them: pace, pace-unknown" in ran.stderr


def test_the_worst_second_is_any_second_and_not_one_of_the_clock() -> None:
    instants = [0.2, 0.6, 0.7, 1.1, 1.59, 2.5]
    assert worst_second(instants) == 4
    assert worst_calendar_second(instants) == 3
    assert worst_second([0.0, 1.0]) == 1
    assert worst_second([]) == 0


def test_percentiles_and_seconds() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(value) for value in range(1000)], 0.99) == 990.0
    assert percentile([], 0.99) == 0.0
    assert each_second([9.9, 10.0, 10.9, 12.5], begin=10, seconds=3) == [2, 0, 1]


@pytest.mark.parametrize(
    ("window", "allowed"),
    [("sliding", [True, True, False, False, True]), ("calendar", [True, True, False, True, True])],
)
def test_the_counter_counts_by_its_window(window: str, allowed: list[bool]) -> None:
    counting = Counting(Plan("counter", 2, 0, window))  # type: ignore[arg-type] # one of the two
    assert [counting.allow(at) for at in (10.5, 10.8, 10.9, 11.2, 11.6)] == allowed
