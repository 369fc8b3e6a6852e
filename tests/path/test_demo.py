"""`axn demo` and `axn up` as a user runs them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.local.processes import runs, wait_until

AXN = [sys.executable, "-m", "worker.cli"]


@contextmanager
def axn(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AXN_")}
    process = subprocess.Popen(
        [*AXN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def children(pid: int) -> dict[int, str]:
    """Ids and command lines of a process's children."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def workers(pid: int) -> list[int]:
    return [child for child, command in children(pid).items() if "--lanes checkout" in command]


def report_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=100)
    report: dict[str, Any] = json.loads(out.splitlines()[-1]) if out else {"err": err}
    return report


def test_the_demo_binds_and_delivers_every_order() -> None:
    with axn("demo", "--orders", "60", "--rate", "60", "--json") as process:
        report = report_of(process)
    assert process.returncode == 0, report
    assert report["accepted"] == report["bound"] == report["delivered"] == 60


@pytest.mark.whole
def test_a_worker_killed_in_the_middle_loses_nothing() -> None:
    with axn("demo", "--orders", "250", "--rate", "50", "--json") as process:
        assert process.stderr is not None
        while " bound 0," in (line := process.stderr.readline()):
            assert process.poll() is None, line
        # Only now: a part that is just starting shows no command line for a moment.
        (worker,) = workers(process.pid)
        os.kill(worker, signal.SIGKILL)
        report = report_of(process)
    assert process.returncode == 0, report
    assert (report["bound"], report["lost"], report["wrong"]) == (250, 0, 0)


def test_ctrl_c_leaves_no_process_behind() -> None:
    with axn("demo", "--orders", "5000", "--rate", "50") as process:
        wait_until(lambda: len(workers(process.pid)) == 1, 30)
        parts = list(children(process.pid))
        assert len(parts) >= 4
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    wait_until(lambda: not any(runs(part) for part in parts))


def test_up_prints_its_variables_first_and_ends_its_parts() -> None:
    with axn("up", "--json") as process:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        assert {"AXN_REDIS_URL", "AXN_ENDPOINT", "AXN_CALLBACK_SECRET"} <= set(started["env"])
        parts = list(children(process.pid))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 130
    wait_until(lambda: not any(runs(part) for part in parts))
