"""What can be said of a command without running it: whether all that it names is there."""

import importlib.util
import os
import re
import shlex
import tomllib
from functools import cache
from typing import Any
from unittest.mock import patch

import yaml
from typer.main import get_command

from worker.app import app as celery_app
from worker.cli.main import app
from worker.cli.settings import all_settings
from worker.settings import load_settings

from .pages import ROOT

_ASSIGNMENT = re.compile(r"(?:export )?((?:AXN|ALIBABA_CLOUD)_\w+)=(\S*)")


class NotThereError(AssertionError):
    """A page names something that is not there."""


@cache
def variables() -> frozenset[str]:
    """The names of all settings, and of the two that are only for trying and breaking things."""
    return frozenset(setting.name for setting in all_settings()) | {"AXN_REDIS_SERVER", "AXN_STEPS_CRASH"}


def axn_words(text: str) -> list[str]:
    """Of a command line that may have redirections: the words of its `axn`, without the name."""
    (words,) = re.findall(r"(?:^|[|&;]\s*|\s)axn\s+([^|<>&]*)", text) or [""]
    return shlex.split(words)


def check_axn(words: list[str], *, is_whole: bool = True) -> None:
    """The command is there and takes these options; where the line is whole, its arguments as well."""
    command: Any = get_command(app)
    context = command.make_context("axn", [], resilient_parsing=True)
    name, rest = "axn", words
    try:
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            name, command, rest = command.resolve_command(context, rest)
            if hasattr(command, "commands"):
                parent, context = context, command.make_context(name, [], parent=context, resilient_parsing=True)
            else:
                parent = context
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in {*known, "--help"}]
        assert not unknown, f"it takes no {', '.join(unknown)}"
        if is_whole and words:
            command.make_context(name, rest[:], parent=parent)
    except Exception as wrong:  # noqa: BLE001 - typer brings a click of its own, whose errors have no public names
        raise NotThereError(f"axn {shlex.join(words)}: {getattr(wrong, 'message', wrong)}") from None


@cache
def _make_file() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def check_make(text: str) -> None:
    """Its targets are there, and the variables that it sets are used."""
    for word in shlex.split(text)[1:]:
        name, is_variable, _ = word.partition("=")
        wanted = f"$({name})" if is_variable else f"\n{name}:"
        if wanted not in _make_file():
            raise NotThereError(f"{text}: {name} is not in the Makefile")


def check_pip(text: str) -> None:
    """The extras are there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {extra for found in re.findall(r"\[([\w,]+)\]", text) for extra in found.split(",")}
    if missing := extras - set(project["optional-dependencies"]):
        raise NotThereError(f"{text}: no extra {', '.join(missing)}")
    if not re.fullmatch(rf"pip install (?:'?\.|'?{project['name']})(?:\[[\w,]+\])?'?", text):
        raise NotThereError(f"{text}: installs something else")


@cache
def _compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return dict(loaded["services"])


def check_compose(text: str) -> None:
    """Its services and profiles are there."""
    words = shlex.split(text)[2:]
    profiles = {profile for service in _compose().values() for profile in service.get("profiles", [])}
    while words:
        word = words.pop(0)
        if word == "--profile":
            known, name = profiles, words.pop(0)
        elif word == "--scale":
            known, name = set(_compose()), words.pop(0).partition("=")[0]
        elif word in ("up", "stop", "ps", "logs", "-d", "-f"):
            continue
        else:
            known, name = set(_compose()), word
        if name not in known:
            raise NotThereError(f"{text}: {name} is not in docker-compose.yml")


def check_kubectl(text: str) -> None:
    """What it applies is there; secret.yaml is a filled-in copy of the example."""
    for path in re.findall(r"-[kf] (\S+)", text):
        if not (ROOT / path).exists() and path != "secret.yaml":
            raise NotThereError(f"{text}: there is no {path}")


def check_celery(text: str) -> None:
    """Its queues are ours."""
    queues = {queue.name for queue in celery_app.conf.task_queues}
    if not text.startswith("celery -A worker.app worker ") or not set(re.findall(r"-Q (\S+)", text)) <= queues:
        raise NotThereError(text)


@cache
def _source_of(package: str) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in (ROOT / package).rglob("*.py"))


def check_module(text: str) -> None:
    """The module is there, and its package knows these options."""
    name = re.sub(r"^python3? -m ", "", text).split()[0]
    if importlib.util.find_spec(name) is None:
        raise NotThereError(f"{text}: no module {name}")
    source = _source_of(name.partition(".")[0])
    for option in re.findall(r" (--[a-z-]+)", text):
        parameter = option[2:].replace("-", "_")
        if not re.search(rf'"{option}\b|\b{parameter}: ', source):
            raise NotThereError(f"{text}: no option {option}")


def check_assignments(text: str) -> None:
    """The variables are settings, and take these values where they are more than a place for one."""
    for name, value in _ASSIGNMENT.findall(text):
        if name not in variables():
            raise NotThereError(f"{text}: {name} is no setting")
        if "…" not in value and "$" not in value:
            with patch.dict(os.environ, {name: re.sub(r"=/etc/\S+\.pem", f"={__file__}", value)}):
                load_settings()
