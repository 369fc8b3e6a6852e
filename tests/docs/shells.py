"""Who runs the commands of a page: this process, which is quick, or a real shell."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import redis

from worker.cli.main import main

from .pages import ROOT

_MARK = "@@ended@@"
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: status, what it printed to standard output, and to standard error."""

    status: int
    out: str
    err: str = ""


class Shell(Protocol):
    """Runs one command after the other, in one folder."""

    def run(self, command: str, given: str = "") -> Ended:
        """A command line, with what it is given on standard input."""


class ThisProcess:
    """Runs `axn` by its own entry, and other programs as processes. No loops, no quoting of variables.

    `redis-cli` is a client of the system's own Redis, so that none has to be installed.

    Args:
        folder: where it works.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, command: str, given: str = "") -> Ended:
        """See `Shell`."""
        if "\n" in command:
            return self._other(["sh", "-c", command], given)
        with contextlib.chdir(self._folder):
            ended = Ended(0, given)
            for words in _stages(command):
                ended = self._stage(words, ended.out)
            return ended

    def _stage(self, words: list[str], given: str) -> Ended:
        target = ""
        if ">" in words:
            words, (target,) = words[: words.index(">")], words[words.index(">") + 1 :]
        settings = dict(word.split("=", 1) for word in takewhile(_ASSIGNMENT.match, words))
        words = words[len(settings) :]
        with patch.dict(os.environ, settings):
            ended = {"axn": self._axn, "redis-cli": self._redis}.get(words[0], self._other)(words, given)
        if not target:
            return ended
        Path(target).write_text(ended.out, encoding="utf-8")
        return Ended(ended.status, "", ended.err)

    def _axn(self, words: list[str], given: str) -> Ended:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        stdin = io.TextIOWrapper(io.BytesIO(given.encode("utf-8", "surrogateescape")), "utf-8")
        status: Any = 0
        with (
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
            patch.object(sys, "stdin", stdin), patch.object(sys, "argv", words),
        ):  # fmt: skip
            try:
                main()
            except SystemExit as ending:
                status = ending.code or 0
        return Ended(status, *(stream.buffer.getvalue().decode() for stream in (out, err)))

    def _redis(self, words: list[str], given: str) -> Ended:
        del given
        with redis.Redis.from_url(os.environ["AXN_REDIS_URL"], decode_responses=True) as client:
            told = client.execute_command(*words[1:])
        return Ended(
            0, "\n".join(f"{name}:{value}" for name, value in told.items()) if isinstance(told, dict) else told
        )

    def _other(self, words: list[str], given: str) -> Ended:
        ran = subprocess.run(
            words, input=given.encode("utf-8", "surrogateescape"), capture_output=True, cwd=self._folder, check=False,
            timeout=30,
        )  # fmt: skip
        return Ended(ran.returncode, ran.stdout.decode("utf-8", "surrogateescape"), ran.stderr.decode())


def _stages(command: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|>")
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for word in [*lexer, "|"]:
        if word == "|":
            yield words
            words = []
        else:
            words.append(word)


class Bash:
    """A bash in which `axn` is this tree's: all commands of a page in one."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=folder, env={**environment, "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "COLUMNS": "200"},
        )  # fmt: skip
        socket = environment["AXN_REDIS_URL"].removeprefix("unix://").partition("?")[0]
        self._run(f'axn() {{ {shlex.quote(sys.executable)} -m worker.cli "$@"; }}')
        self._run(f'redis-cli() {{ command redis-cli -s {shlex.quote(socket)} "$@"; }}')

    def run(self, command: str, given: str = "") -> Ended:
        """See `Shell`. What it prints to standard error is told with the rest."""
        return self._run(f"{{ {command}\n}} <<< {shlex.quote(given)}")

    def _run(self, command: str) -> Ended:
        stdin, stdout = self._bash.stdin, self._bash.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{command}\nprintf '\\n{_MARK} %s\\n' $?\n")
        stdin.flush()
        told: list[str] = []
        for line in stdout:
            if line.startswith(_MARK):
                return Ended(int(line.split()[1]), "".join(told))
            told.append(line)
        raise AssertionError(f"the shell ended at: {command}\n{''.join(told)}")

    def close(self) -> None:
        """End it."""
        self._bash.communicate(timeout=10)
