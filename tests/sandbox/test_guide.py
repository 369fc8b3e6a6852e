"""docs/sandbox.md says what is there."""

import inspect
import re
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from worker.cli.sandbox import sandbox as command
from worker.sandbox.actions import ACTIONS
from worker.sandbox.admin import routes
from worker.sandbox.faults import Kind
from worker.sandbox.magic import OUTCOMES
from worker.sandbox.unknowns import Unknowns

from .conftest import CONFIG, Clock
from .official_clients import served

GUIDE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def rows(pattern: str) -> dict[str, str]:
    return {found[1]: found[2] for found in re.finditer(rf"^\| {pattern}", GUIDE, re.MULTILINE)}


def test_the_magic_numbers_are_those_there_are_with_their_effects() -> None:
    told = rows(r"(\d{4}) \|[^|]+\| (yes|no) \|")
    assert told == {digits: "yes" if fault.has_effect else "no" for digits, fault in OUTCOMES.items()}


def test_the_codes_of_magic_numbers_are_told() -> None:
    told = rows(r"(2\d{3}) \| `([\w.]+)`")
    assert told == {digits: fault.code for digits, fault in OUTCOMES.items() if fault.code}


def test_every_fault_switch_action_and_admin_path_is_told() -> None:
    wanted = [f"| `{kind}` |" for kind in get_args(Kind)]
    wanted += [f"`--{field.name.replace('_', '-')}" for field in fields(Unknowns)]
    wanted += [f"`{action}`" for action in ACTIONS]
    wanted += [route.path for route in routes if hasattr(route, "path")]
    assert [text for text in wanted if text not in GUIDE] == []


def test_no_option_is_told_that_there_is_not() -> None:
    told = {name.replace("-", "_") for name in re.findall(r"`--(?:no-)?([a-z-]+)", GUIDE)}
    assert told <= {"json", *inspect.signature(command).parameters}


@pytest.mark.parametrize("package", ["alibabacloud_dyplsapi20170525", "aliyunsdkdyplsapi"])
def test_the_examples_of_the_official_clients_run(package: str) -> None:
    [example] = [code for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if package in code]
    with served(CONFIG, Clock(time.time())) as url:
        code = example.replace("8900", url.rpartition(":")[2])
        quiet = ["-W", "ignore::DeprecationWarning"]
        ran = subprocess.run([sys.executable, *quiet, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert re.search(r"\b170\d{8}\b", ran.stdout)
