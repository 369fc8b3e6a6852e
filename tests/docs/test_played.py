"""Each page's commands and Python do what they say, in order, against a whole system."""

from pathlib import Path

import pytest

from tests.live import live_system

from .play import PLAYED, play
from .shells import ThisProcess
from .stage import Stage

TUNING = {"AXN_PACE__BIND_AXN_PER_SECOND": "200", "AXN_PACE__QUERY_PER_SECOND": "500"}


@pytest.mark.whole
@pytest.mark.timeout(300)
def test_every_page_can_be_played(subtests: pytest.Subtests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test for all, so that there is one system, in one of the processes that run the tests."""
    monkeypatch.setenv("COLUMNS", "200")
    with live_system(TUNING) as running:
        for page in PLAYED:
            folder = tmp_path / page.replace("/", "-")
            folder.mkdir()
            with subtests.test(page):
                play(page, Stage(page, running, ThisProcess(folder), folder))
