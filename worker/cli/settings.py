"""`axn settings`: every variable, its default and what it means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import EnumMeta
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import AliasChoices, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from worker.cli.setting_advice import ADVICE, FIRST, GROUPS
from worker.setting_groups import PREFIX
from worker.settings import Settings

_S_PER_UNIT = (("d", 86_400), ("h", 3600), ("m", 60))


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable, as Markdown."""

    name: str
    type: str
    default: str
    meaning: str


def settings() -> None:
    """Print the tables of settings (Markdown), as docs/settings.md holds them.

    Example: [bold]axn settings | less[/bold]
    """
    typer.echo(settings_reference())


def all_settings() -> list[Setting]:
    """Made from the Settings class, in its order."""
    return [
        Setting(name, _type(field), _shown(field.default), field.description or "")
        for name, field in _fields(Settings, PREFIX)
    ]


def settings_reference() -> str:
    """A table for each group: type, default, what it is, when to change it."""
    return "\n\n".join(_section(title, members) for title, members in _groups())


def settings_table(names: Sequence[str] | None = None) -> str:
    """One table of all, or of these, without types and advice."""
    told = [one for one in all_settings() if names is None or one.name in names]
    rows = [f"| `{one.name}` | {one.default} | {one.meaning} |" for one in told]
    return "\n".join(["| variable | default | what it is |", "|---|---|---|", *rows])


def first_settings() -> str:
    """The table of those that nobody leaves as they are."""
    return settings_table(FIRST)


def _groups() -> Iterator[tuple[str, list[Setting]]]:
    titles = dict(GROUPS)
    title, members = "", list[Setting]()
    for one in all_settings():
        if one.name in titles:
            if members:
                yield title, members
            title, members = titles[one.name], []
        members.append(one)
    yield title, members


def _section(title: str, members: Sequence[Setting]) -> str:
    rows = [
        f"| `{one.name}` | {one.type} | {one.default} | {one.meaning} | {ADVICE.get(one.name, '')} |" for one in members
    ]
    head = ["| variable | type | default | what it is | change it for |", "|---|---|---|---|---|"]
    return "\n".join([f"## {title}", "", *head, *rows])


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from _fields(type(field.default), f"{prefix}{name.upper()}__")
        else:
            yield _variable(name, field, prefix), field


def _variable(name: str, field: FieldInfo, prefix: str) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else prefix + name.upper()


_TYPES: dict[Any, str] = {
    timedelta: "span", bool: "`0` or `1`", int: "whole number", float: "number", SecretStr: "secret text",
}  # fmt: skip
_SIGNS = {"gt": ">", "ge": "≥", "le": "≤"}


def _type(field: FieldInfo) -> str:
    kind: Any = field.annotation
    if get_origin(kind) is tuple:
        return f"{_TYPES.get(get_args(kind)[0], 'network')}s, by commas"
    if get_origin(kind) is Literal or isinstance(kind, EnumMeta):
        return ", ".join(f"`{choice}`" for choice in (get_args(kind) or list(kind)))
    return _TYPES.get(kind, "text") + _bounds(field)


def _bounds(field: FieldInfo) -> str:
    rules = [(sign, getattr(rule, name, None)) for rule in field.metadata for name, sign in _SIGNS.items()]
    return "".join(f" {sign} {bound}" for sign, bound in rules if bound is not None)


def _shown(default: Any) -> str:
    if isinstance(default, SecretStr) or default in ("", (), None):
        return "–"
    if isinstance(default, bool):
        return "`1`" if default else "`0`"
    if isinstance(default, tuple):
        return f"`{','.join(_span(part) if isinstance(part, timedelta) else str(part) for part in default)}`"
    return f"`{_span(default) if isinstance(default, timedelta) else default}`"


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit, length_s in _S_PER_UNIT:
        if seconds % length_s == 0:
            return f"{seconds / length_s:g}{unit}"
    return f"{seconds:g}s"
