"""Texts of others made fit to leave: exceptions and libraries' lines may repeat whatever they were given.

What is hidden is told by what it is known as (this process's own secrets), and by its form: keys and tokens, anything
under a secret's name, signed strings and queries, addresses past their host, JSON (the bodies of calls and callbacks),
long opaque runs, and numbers. Too much is hidden rather than too little: the type and the place of an error remain.
"""

import re
import traceback
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from worker.domain.job_ids import is_job_id
from worker.domain.masking import mask_text
from worker.settings import Settings

HIDDEN = "[hidden]"
_SECRET_WORDS = (
    "secret", "token", "signature", "authorization", "password", "passwd", "access_key", "accesskey", "dsn",
    "credential", "nonce", "body", "cookie",
)  # fmt: skip
_LEAST_SECRET = 4
_LONGEST = 4_000
"""Characters of a text that are read at all. No pattern takes long for as many, whatever they are."""
_LEAST_OPAQUE = 32
_NAMES = "|".join(_SECRET_WORDS)

_JSON = re.compile(r"""[\[{]\s*b?["'].*[\]}]""", re.DOTALL)
_CUT_JSON = re.compile(r"""\{\s*["'].*""", re.DOTALL)
_ADDRESS = re.compile(
    r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]*+://)(?:[^\s/@\"'<>]*@)?([^\s/?#\"'<>,;)]*)[^\s\"'<>,;)]*"
)
_HEADER = re.compile(r"(?i)(?<![\w-])(authorization|[\w-]*?signature|cookie)(\s*:\s*)[^\r\n]+")
_NAMED = re.compile(
    rf"""(?i)(?<![\w.-])([\w.-]*?(?:{_NAMES})[\w.-]*["']?\s*(?:=|["']\s*:|:\s*["'])\s*["']?)[^\s"',;&)]+"""
)
_SCHEME = re.compile(r"(?i)\b(ACS3-HMAC-SHA256|bearer|basic)\s[^\r\n]*")
_SIGNED = re.compile(r"\b(?:GET|POST)&%2F\S*|(?<![^\s&])[^\s&=]++=[^\s&]*+(?:&[^\s&]++)+")
_WEBHOOK_KEY = re.compile(r"\bwh(?:sec|sk|pk)_[A-Za-z0-9+/=]*|\bv1a?,[A-Za-z0-9+/=]+")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{18,}+={1,2}")
_OPAQUE = re.compile(rf"[A-Za-z0-9+/=_-]{{{_LEAST_OPAQUE},}}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def secrets_of(settings: Settings) -> frozenset[str]:
    """Every secret that these settings hold, in all the ways in which a text may repeat it."""
    found: set[str] = {settings.access_key_id}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found |= {value.get_secret_value(), *value.get_secret_value().split()}
    keys = settings.encryption.keys.get_secret_value()
    found |= {settings.encryption.index_key.get_secret_value(), *(one.partition(":")[2] for one in keys.split(","))}
    for url in (settings.redis_url, settings.broker_url, settings.http_proxy.get_secret_value()):
        password = urlsplit(url).password or ""
        found |= {password, unquote(password)}
    return frozenset(secret for secret in found if len(secret) >= _LEAST_SECRET)


class Scrubber:
    """Hides what must not leave this process.

    Args:
        secrets: texts that are hidden wherever they stand.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted(secrets, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """The text without secrets, bodies, signed strings and whole numbers."""
        if self._known:
            text = self._known.sub(HIDDEN, text)
        text = text[:_LONGEST]
        text = _JSON.sub("{…}", text)
        text = _CUT_JSON.sub("{…", text)
        text = _ADDRESS.sub(r"\1\2", text)
        text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
        text = _SCHEME.sub(HIDDEN, text)
        text = _SIGNED.sub(HIDDEN, text)
        text = _NAMED.sub(rf"\1{HIDDEN}", text)
        text = _WEBHOOK_KEY.sub(HIDDEN, text)
        text = _BASE64.sub(HIDDEN, text)
        text = _OPAQUE.sub(_without_opaque, text)
        return mask_text(text)

    def value(self, value: Any) -> Any:
        """The value with all its texts scrubbed, and everything under a secret's name hidden."""
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            text = str(value)
            return value if mask_text(text) == text else mask_text(text)
        if isinstance(value, dict):
            return {
                self.text(str(key)): HIDDEN if is_secret_name(str(key)) else self.value(part)
                for key, part in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(part) for part in value]
        return self.text(str(value))

    def exception(self, error: BaseException) -> str:
        """A traceback: places whole, messages scrubbed; what came first stands first."""
        told: list[str] = []
        seen: set[int] = set()
        one: BaseException | None = error
        while one is not None and id(one) not in seen:
            seen.add(id(one))
            told.append(self._one_exception(one))
            one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        return "\n\nthen\n\n".join(reversed(told))

    def _one_exception(self, error: BaseException) -> str:
        places = mask_text("".join(traceback.format_tb(error.__traceback__)))
        told = f"Traceback (most recent call last):\n{places}{type(error).__qualname__}: {self.text(str(error))}"
        if isinstance(error, BaseExceptionGroup):
            told += "".join(f"\n\namong them\n\n{self.exception(part)}" for part in error.exceptions)
        return told


def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is hidden unseen."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def _without_opaque(run: "re.Match[str]") -> str:
    text = run[0]
    is_ours = is_job_id(text.partition("-")[0]) or _UUID.fullmatch(text)
    is_path = text.islower() and "/" in text and all(len(part) < _LEAST_OPAQUE for part in text.split("/"))
    return text if is_ours or is_path or not any(letter.isdigit() for letter in text) else HIDDEN
