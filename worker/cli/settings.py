"""`axn settings`: every variable, its default and what it means."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import typer
from pydantic import AliasChoices, BaseModel, SecretStr
from pydantic.fields import FieldInfo

from worker.setting_groups import PREFIX
from worker.settings import Settings

_S_PER_UNIT = (("d", 86_400), ("h", 3600), ("m", 60))


def settings() -> None:
    """Print the table of settings (Markdown), as the README holds it.

    Example: [bold]axn settings | less[/bold]
    """
    typer.echo(settings_table())


def settings_table() -> str:
    """The table, made from the Settings class."""
    rows = [f"| `{name}` | {_shown(default)} | {meaning} |" for name, default, meaning in _rows(Settings, PREFIX)]
    return "\n".join(["| variable | default | what it is |", "|---|---|---|", *rows])


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any, str]]:
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from _rows(type(field.default), f"{prefix}{name.upper()}__")
        else:
            yield _variable(name, field, prefix), field.default, field.description or ""


def _variable(name: str, field: FieldInfo, prefix: str) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else prefix + name.upper()


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
