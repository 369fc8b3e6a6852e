"""Whose a callback secret is: a receiver host's, or named, for the requests that ask for it."""

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def check_secret_name(name: str) -> str:
    """The name, if it is one.

    Raises:
        ValueError: says what a name is.
    """
    if _NAME.fullmatch(name):
        return name
    raise ValueError("must be 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first")


CallbackSecretName = Annotated[str, AfterValidator(check_secret_name)]


@dataclass(frozen=True, slots=True)
class SecretOwner:
    """Whose keys they are. As text `host:shop.example` or `name:orders`.

    Attributes:
        name: the host as `receiver_of` writes it, or the secret's name.
    """

    name: str
    is_host: bool

    def __str__(self) -> str:
        return f"{'host' if self.is_host else 'name'}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> "SecretOwner":
        """What `str` made of one."""
        kind, _, name = text.partition(":")
        return cls(name, kind == "host")
