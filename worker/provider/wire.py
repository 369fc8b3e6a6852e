"""What the typed requests and answers have in common: the wire's names, and a repr without numbers."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_pascal

from worker.domain.masking import mask_text


def wire_name(attribute: str) -> str:
    """`phone_no_a` is PhoneNoA, `asr_status` ASRStatus."""
    pascal = to_pascal(attribute)
    return f"ASR{pascal[3:]}" if pascal.startswith("Asr") else pascal


class WireModel(BaseModel):
    """Fields by attribute or by the wire's name. Neither repr nor error text shows a number."""

    model_config = ConfigDict(
        alias_generator=wire_name, populate_by_name=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _masked(value)

    def __str__(self) -> str:
        return repr(self)


def _masked(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_masked(part) for part in value)
    return mask_text(value) if isinstance(value, str) else value


def items(value: Any, name: str = "") -> tuple[Any, ...]:
    """The objects of a list, however it was wrapped: `[{…}]`, `{name: [{…}]}`, and one object alone without a list.

    Args:
        value: what the parsed answer holds there; anything that is no object is left out.
        name: of the elements; without one, any.
    """
    if isinstance(value, Mapping):
        wrapped = [value[name]] if name in value else [part for part in value.values() if not isinstance(part, str)]
        return items(wrapped[0]) if wrapped else ((value,) if value else ())
    parts = value if isinstance(value, list | tuple) else ()
    return tuple(part for part in parts if part and isinstance(part, Mapping | BaseModel))
