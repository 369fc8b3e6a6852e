"""`python -m tests.chaos` as a person runs it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cells.registry import CELLS
from tests.local.processes import runs, wait_until

COMMAND = [sys.executable, "-m", "tests.chaos"]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Short enough for a unix socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="axn-c-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def processes_in(folder: Path) -> list[int]:
    """Processes whose command line or environment names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == str(os.getpid()):
            continue
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told and runs(int(entry.name)):
            found.append(int(entry.name))
    return found


def test_the_list_names_every_cell_and_the_control() -> None:
    ran = subprocess.run([*COMMAND, "--list"], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in ran.stdout.splitlines()] == [*CELLS, "control"]


def test_an_unknown_cell_is_refused_and_the_cells_are_named() -> None:
    ran = subprocess.run([*COMMAND, "--cells", "A2,Z9"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "Z9" in ran.stderr
    assert "A2" in ran.stderr


def test_help_shows_an_example() -> None:
    ran = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert "--cells A2,B3 --seed 7" in ran.stdout


@pytest.mark.whole
def test_an_interrupt_leaves_no_process_and_no_folder(short_folder: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--cells", "B6,A2", "--jobs", "20"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(short_folder)},
    )
    try:
        with process:
            assert process.stderr is not None
            for line in process.stderr:
                if "run 1" in line:
                    break
            assert len(processes_in(short_folder)) > 4
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    wait_until(lambda: not processes_in(short_folder))
    assert not list(short_folder.iterdir())
