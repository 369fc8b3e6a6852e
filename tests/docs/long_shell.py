"""As test_played.py, in a real shell: its quoting, pipes and redirections, and a process for each command.

Not part of `make test`: `make test-docs` runs it.
"""

import os
from pathlib import Path

import pytest

from tests.live import live_system

from .play import PLAYED, play
from .shells import Bash
from .stage import Stage
from .test_played import TUNING


@pytest.mark.timeout(1800)
def test_every_page_can_be_played_in_a_shell(subtests: pytest.Subtests, tmp_path: Path) -> None:
    with live_system(TUNING) as running:
        for page in PLAYED:
            folder = tmp_path / page.replace("/", "-")
            folder.mkdir()
            shell = Bash(folder, {**os.environ, **running.system.env})
            try:
                with subtests.test(page):
                    play(page, Stage(page, running, shell, folder))
            finally:
                shell.close()
