"""docs/renewals.md says what is there."""

import io
import re
import shlex
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from typer.main import get_command

from worker.batches.csv_table import CsvTable
from worker.batches.lines import Lines
from worker.batches.operations import RENEWAL
from worker.batches.sources import Limits
from worker.callbacks.guard import ReceiverRules
from worker.cli.main import app
from worker.cli.settings import settings_table
from worker.domain.renewal import IfGone
from worker.registry.adoption_rows import AdoptionRules, AdoptRow
from worker.registry.alarm import Risk, alarm_text
from worker.registry.drift import Drift

from .conftest import Axn

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "renewals.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(axn .*)$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_guide_is_one(line: str) -> None:
    command: Any = get_command(app)
    words = shlex.split(line)[1:]
    context = command.make_context("axn", words[:], resilient_parsing=True)
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, words)
        if not hasattr(command, "commands"):
            context = command.make_context(name, words, parent=context)  # raises UsageError for what it does not take
    assert context.params


def test_there_is_a_command_for_all_that_can_be_done() -> None:
    for name in ("renewals show", "renewals forecast", "renewals check", "renewals close", "bindings adopt",
                 "bindings forget", "bindings audit"):  # fmt: skip
        assert any(line.startswith(f"axn {name}") for line in COMMANDS), name


def test_the_example_file_is_good() -> None:
    (example,) = re.findall(r"((?:^    [^\n]*,[^\n]*,[^\n]*\n){3,})", GUIDE, re.MULTILINE)
    text = re.sub(r"^    ", "", example, flags=re.MULTILINE)
    stream = io.BufferedReader(cast(Any, io.BytesIO(text.encode())))
    table = CsvTable(Lines(stream, None, Limits()), frozenset())
    rows = list(AdoptionRules(ReceiverRules(), {}).judged(table, most_rows=9))
    assert [isinstance(row, AdoptRow) for row in rows] == [True, True]


def test_every_part_of_a_policy_is_told_with_its_column() -> None:
    for column, part in RENEWAL.items():
        assert re.search(rf"^\| `{part}` \| `--[a-z-]+` \| `{column}` \|", GUIDE, re.MULTILINE), part
    assert [one.value for one in IfGone if f"`{one.value}`" not in GUIDE] == []


def test_every_drift_and_every_trouble_is_told() -> None:
    assert [drift for drift in Drift if f"| `{drift.value}` |" not in GUIDE] == []
    for text in re.split(r"[;(]", alarm_text(Risk(1, 1, 1, 50.0, "ceiling")).partition(": see")[0]):
        words = re.sub(r"^ ?\d+ |\d+", "", text).split(" at ")[0].strip(" )")
        assert words in GUIDE, words


def test_every_setting_and_every_file_that_is_named_is_there() -> None:
    known = set(re.findall(r"`(AXN_\w+)`", settings_table()))
    assert set(re.findall(r"\bAXN_[A-Z_]+", GUIDE)) <= known
    assert [name for name in re.findall(r"`((?:worker|tests|benchmarks)/[\w/.]+)`", GUIDE)
            if not (ROOT / name).exists()] == []  # fmt: skip
    assert [name for name in re.findall(r"\]\(([\w.-]+\.md)\)", GUIDE) if not (ROOT / "docs" / name).exists()] == []


def test_what_show_prints_is_what_the_guide_shows(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXN_ACCESS_KEY_ID", "a-key-id")
    told = re.search(r"^    kept: .*?(?=\n\n)", GUIDE, re.MULTILINE | re.DOTALL)
    assert told is not None
    labels = [line.split(":")[0].strip() for line in told[0].splitlines() if not re.match(r"\s+\d", line)]
    printed = [line.split(":")[0] for line in axn("renewals", "show").out.splitlines()]
    assert [label.split(" 1h")[0] for label in printed] == [label.split(" 1h")[0] for label in labels]
