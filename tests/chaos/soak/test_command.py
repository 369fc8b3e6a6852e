"""`python -m tests.chaos.soak` as a person runs it; a whole soak takes minutes: `make soak`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.test_command import processes_in, short_folder
from tests.local.processes import wait_until

COMMAND = [sys.executable, "-m", "tests.chaos.soak"]
__all__ = ["short_folder"]


def test_help_shows_an_example_and_a_wrong_option_is_named() -> None:
    shown = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert "--minutes 3 --seed 7" in shown.stdout
    refused = subprocess.run([*COMMAND, "--share", "1.5"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--share" in refused.stderr


@pytest.mark.whole
def test_an_interrupt_in_the_load_leaves_no_process_and_no_folder_but_the_samples(
    short_folder: Path,
    tmp_path: Path,
) -> None:
    samples = tmp_path / "soak.csv"
    process = subprocess.Popen(
        [*COMMAND, "--minutes", "1", "--per-second", "40", "--every", "0.5", "--csv", str(samples)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(short_folder)},
    )
    try:
        with process:
            assert process.stderr is not None
            for line in process.stderr:
                if " ended" in line and " 0 ended" not in line:
                    break
            assert len(processes_in(short_folder)) >= 8  # Redis, the sandbox, four workers, two shops
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    wait_until(lambda: not processes_in(short_folder))
    assert not list(short_folder.iterdir())
    header, *lines = samples.read_text(encoding="utf-8").splitlines()
    assert "worker-checkout#1 rss MiB" in header
    assert "keys job" in header
    assert len(lines) > 2
