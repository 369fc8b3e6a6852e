"""Every command says how it is used."""

import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command

from worker import __version__
from worker.cli.main import Commands, app

from .conftest import Axn


def paths_below(command: Any, *path: str) -> list[list[str]]:
    if not hasattr(command, "list_commands"):
        return [list(path)]
    names: list[str] = command.list_commands(None)
    return [found for name in names for found in paths_below(command.get_command(None, name), *path, name)]


COMMANDS = paths_below(get_command(app))


def test_axn_names_all_its_commands(axn: Axn) -> None:
    ended = axn("--help")
    assert ended.status == 0
    assert {"up", "demo", "sandbox", "receiver", "worker", "bind", "update", "unbind", "rebind", "job", "pace"} <= {
        path[0] for path in COMMANDS
    }
    assert [path for path in COMMANDS if path[0] not in ended.out] == []


@pytest.mark.parametrize("name", Commands.lazy_commands)
def test_the_list_says_of_a_command_what_its_own_help_says(name: str) -> None:
    listed = Commands.lazy_commands[name]
    told = " ".join((listed.load(name).help or "").split())
    assert told.startswith(listed.summary)


def test_the_list_of_commands_imports_none_of_them() -> None:
    imported = "import sys; sys.argv = ['axn', '--help']; import worker.cli.main as axn; axn.app(standalone_mode=False)"
    told = subprocess.run(
        [sys.executable, "-c", f"{imported}; print([m for m in sys.modules if m in ('celery', 'worker.bootstrap')])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.endswith("[]\n")


def test_a_mistyped_command_is_told_its_likely_name(axn: Axn) -> None:
    ended = axn("unbnd")
    assert (ended.status, "unbind" in ended.err) == (2, True)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_shows_an_example_of_itself(axn: Axn, command: list[str]) -> None:
    ended = axn(*command, "--help")
    assert ended.status == 0
    assert f"Example: axn {' '.join(command)}" in ended.out


@pytest.mark.parametrize(
    "command",
    [["bind"], ["update"], ["unbind"], ["rebind"], ["job", "show"], ["jobs"], ["demo"], ["pace", "set"]],
    ids=" ".join,
)
def test_commands_that_report_tell_their_exit_statuses(axn: Axn, command: list[str]) -> None:
    assert "Exit status: 0" in axn(*command, "--help").out


def test_the_version_is_printed(axn: Axn) -> None:
    ended = axn("--version")
    assert (ended.status, ended.out.strip()) == (0, __version__)
