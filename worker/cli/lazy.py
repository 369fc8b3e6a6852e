"""A group of commands whose modules are imported when they are asked for.

`axn --help` and the completion of names need none of them, and a command needs its own: importing all takes a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is to be found.

    Attributes:
        place: `module:name` of a function, or of a Typer application for a group.
        summary: the first sentence of its help, for the list of commands.
    """

    place: str
    summary: str

    def load(self, name: str) -> Any:
        """The command, its module imported."""
        module, _, attribute = self.place.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False, rich_markup_mode="rich")
            found.command(name)(function)
        command = get_command(found)
        command.name = name
        return command

    def stub(self, name: str) -> Any:
        """A command that can tell its summary, and nothing else."""
        listed = typer.Typer(add_completion=False)
        listed.command(name, help=self.summary)(_nothing)
        return get_command(listed)


class LazyGroup(TyperGroup):
    """Base of such groups; a subclass names its commands."""

    lazy_commands: ClassVar[Mapping[str, LazyCommand]] = {}
    _is_listing = False

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: command.stub(name) for name, command in self.lazy_commands.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, or while the group's help is written, one that tells its summary."""
        if self._is_listing or cmd_name not in self.lazy_commands:
            return super().get_command(ctx, cmd_name)
        return self.lazy_commands[cmd_name].load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The group's help."""
        self._is_listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_listing = False


def _nothing() -> None:
    """Stands for a command in a list."""
