"""Plays a page from top to bottom, as its reader would."""

import contextlib
import io
from collections.abc import Mapping
from typing import TypeVar

from .exceptions import elsewhere, reason_not_to_run
from .pages import PAGES, Block, Command, blocks, commands
from .stage import AFTER, GIVEN, PREPARE, QUICKER, STATUSES, Stage

T = TypeVar("T")


def to_play(page: str) -> list[Block]:
    """The blocks of a page that are run here."""
    return [
        block
        for block in blocks(page)
        if not elsewhere(block)
        and (block.is_python or (block.has_commands and any(not reason_not_to_run(one) for one in commands(block))))
    ]


PLAYED = [page for page in PAGES if to_play(page)]


def of_command(table: Mapping[tuple[str, str], T], command: Command) -> T | None:
    """The entry whose page this is and with whose words the command begins: the longest."""
    found = [key for key in table if key[0] == command.page and command.text.startswith(key[1])]
    return table[max(found, key=lambda key: len(key[1]))] if found else None


def play(page: str, stage: Stage) -> None:
    """Run its blocks in order.

    Raises:
        AssertionError: a command ended otherwise than it should; the message is what it printed.
    """
    try:
        for block in to_play(page):
            _play_block(block, stage)
    finally:
        if page in AFTER:
            AFTER[page](stage)


def _play_block(block: Block, stage: Stage) -> None:
    if block.is_python:
        _play_python(block, stage)
        return
    for command in commands(block):
        if not reason_not_to_run(command):
            _play_command(command, stage)


def _play_command(command: Command, stage: Stage) -> None:
    if prepare := of_command(PREPARE, command):
        prepare(stage)
    text = stage.filled(command.text)
    text += next((more for beginning, more in QUICKER.items() if text.startswith(beginning)), "")
    ended = stage.shell.run(text, of_command(GIVEN, command) or "")
    assert ended.status == (of_command(STATUSES, command) or 0), f"{command}\n{text}\n{ended.out}{ended.err}"
    stage.note(text, ended)


def _play_python(block: Block, stage: Stage) -> None:
    code = compile("\n" * (block.line - 1) + stage.filled(block.text), block.page, "exec")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, stage.python)
    stage.note_python()
