"""Every command says how it is used."""

import pytest
from typer.main import get_command

from worker import __version__
from worker.cli.main import app

from .conftest import Axn


def paths_below(command: object, *path: str) -> list[list[str]]:
    children: dict[str, object] = getattr(command, "commands", {})
    if not children:
        return [list(path)]
    return [found for name, child in children.items() for found in paths_below(child, *path, name)]


COMMANDS = paths_below(get_command(app))


def test_axn_names_all_its_commands(axn: Axn) -> None:
    ended = axn("--help")
    assert ended.status == 0
    assert {"up", "demo", "sandbox", "receiver", "worker", "bind", "update", "unbind", "rebind", "job", "pace"} <= {
        path[0] for path in COMMANDS
    }
    assert [path for path in COMMANDS if path[0] not in ended.out] == []


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
