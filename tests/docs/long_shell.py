"""As test_played.py, in a real shell: its quoting, pipes and redirections, and a process for each command.

Not part of `make test`: `make test-docs` runs it.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import live_system
from worker.callbacks.signature import new_key

from .exceptions import UNTIL_STOPPED
from .pages import PAGES
from .play import PLAYED, play
from .shells import Bash, ThisProcess
from .stage import Stage
from .test_pages import commands_of
from .test_played import TUNING

_LOOK_S = 10


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


@pytest.mark.timeout(600)
def test_what_runs_until_it_is_stopped_runs_so_long(subtests: pytest.Subtests, tmp_path: Path) -> None:
    """Its ports apart: those of the pages may be taken."""
    lasting = [one for page in PAGES for one in commands_of(page) if re.match(UNTIL_STOPPED, one.text)]
    assert lasting
    with live_system(TUNING) as running:
        for command in lasting:
            with subtests.test(str(command)):
                stage = Stage(command.page, running, ThisProcess(tmp_path), tmp_path)
                stage.names |= {"--port 8900": "", "--port 8901": "", "whsec_…": new_key(is_ed25519=False).secret}
                words = shlex.split(stage.filled(command.text).removesuffix("&"))
                settings = dict(word.split("=", 1) for word in words[: words.index("axn")])
                axn = [sys.executable, "-m", "worker.cli", *words[words.index("axn") + 1 :]]
                _runs_until_stopped(axn, {**os.environ, **running.system.env, **settings})


def _runs_until_stopped(command: list[str], environment: dict[str, str]) -> None:
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            told, _ = process.communicate(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            told, _ = process.communicate(timeout=60)
            assert process.returncode in (0, 130), told
        else:
            pytest.fail(f"it ended by itself with {process.returncode}: {told}")
