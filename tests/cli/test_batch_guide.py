"""What docs/batches.md shows is what happens, command by command and line by line."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import redis

from worker.callbacks.events import batch_finished_body

from .conftest import Axn
from .test_batch_runs import batch, shown

GUIDE = (Path(__file__).parents[2] / "docs" / "batches.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^    (axn batch .*)$", GUIDE, re.MULTILINE)]
ENDS = {"retry": 2}
"""Where no worker is: rows can be tried anew when the batch has finished."""


def test_its_commands_do_what_they_say(
    axn: Axn, ledger: "redis.Redis", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("renumber.csv").write_text("phone_no_a,expires_in\n13800000000,2h\n", encoding="utf-8")
    assert [command[1] for command in COMMANDS] == [
        "start", "show", "report", "list", "pause", "resume", "cancel", "rm", "report", "retry",
    ]  # fmt: skip
    removing = next(place for place, command in enumerate(COMMANDS) if command[1] == "rm")
    for command in [*COMMANDS[:removing], COMMANDS[removing + 1], COMMANDS[removing + 2], COMMANDS[removing]]:
        words = [word for word in command[: command.index(">")] if word] if ">" in command else command
        if "--follow" in words:
            words.remove("--follow")
        expected = {"show": 3, **ENDS}.get(words[1], 0)
        ended = axn(*words)
        assert ended.status == expected, (words, ended)
    assert ledger.keys("*batch*") == []


def test_its_picture_is_what_show_prints() -> None:
    numbers: dict[str, Any] = {"rows": 120_000, "begun": 51_200, "alive": 2_000}
    counts: dict[str, Any] = {"by_state": {"bound": 48_000, "failed": 1_200}, "by_code": {"isv.X": 1_200}}
    lines = shown(batch(**numbers, **counts), 50.0)
    picture = re.findall(r"^    (.*)$", GUIDE.partition("    renumber.csv  k5")[2], re.MULTILINE)
    assert picture[0].split()[1:] == lines[1].split()[1:]
    assert picture[1:4] == lines[2:5]


def test_its_python_runs(axn: Axn, ledger: "redis.Redis", capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"((?:^    [^\n]*\n|^\n)+)", GUIDE.partition("## From Python\n")[2], re.MULTILINE)[:1]
    exec(re.sub(r"^    ", "", code, flags=re.MULTILINE), {"orders": [("order-1", "13800000000")]})
    assert capsys.readouterr().out.splitlines()[-1] == "order-1  "


def test_its_event_is_the_one_that_is_sent() -> None:
    (text,) = re.findall(r'^    (\{"type": "batch\.finished".*(?:\n     .*)+)', GUIDE, re.MULTILINE)
    told = json.loads(text)
    data = {name: value for name, value in told["data"].items() if name != "version"}
    assert json.loads(batch_finished_body(unix_ms=1_796_155_391_412, **data)) | {"timestamp": ""} == told | {
        "timestamp": ""
    }
