"""Business parameters: reading one, or refusing it with the code the provider documents for it."""

import json
import re
from collections.abc import Mapping
from datetime import datetime

from worker.sandbox.bindings import PROVIDER_ZONE
from worker.sandbox.refusals import BusinessError, missing

Parameters = Mapping[str, str]

MIN_EXPIRY_S = 60
_DATE = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
# A mobile number, or a landline with its area code and without a hyphen.
_PHONE = re.compile(r"1[0-9]{10}|0[0-9]{9,11}")
_DIGITS = re.compile(r"[0-9]+")


def required(parameters: Parameters, name: str) -> str:
    """A parameter that must be there and not blank; else 400 `Missing{name}`."""
    value = parameters.get(name, "")
    if not value:
        raise missing(name)
    return value


def phone(parameters: Parameters, name: str) -> str:
    """A mobile or landline number, or "" where none was sent; else isv.MOBILE_NUMBER_ILLEGAL."""
    return _matching(parameters, name, _PHONE)


def secret_number(parameters: Parameters, name: str) -> str:
    """A number X, of which only the digits are certain (there are X of five digits and more), or ""."""
    return _matching(parameters, name, _DIGITS)


def _matching(parameters: Parameters, name: str, pattern: re.Pattern[str]) -> str:
    value = parameters.get(name, "")
    if value and not pattern.fullmatch(value):
        raise BusinessError("isv.MOBILE_NUMBER_ILLEGAL", f"{name} illegal")
    return value


def expiration(parameters: Parameters, now: float) -> float:
    """`Expiration`, Beijing time, as Unix seconds. It must be more than a minute ahead of the provider's clock."""
    text = required(parameters, "Expiration")
    try:
        expires_at = _strict_date(text)
    except ValueError as fault:
        raise BusinessError("isv.EXPIRE_DATE_ILLEGAL", "expireDate must be yyyy-MM-dd HH:mm:ss") from fault
    if expires_at <= now + MIN_EXPIRY_S:
        raise BusinessError("isv.EXPIRE_DATE_ILLEGAL", "expireDate less than 1 minutes from now")
    return expires_at


def _strict_date(text: str) -> float:
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=PROVIDER_ZONE).timestamp()


def boolean(parameters: Parameters, name: str) -> bool | None:
    """True or False in any case (the provider's clients differ), or None; else isv.INVALID_PARAMETERS."""
    value = parameters.get(name, "").lower()
    if value not in {"", "true", "false"}:
        raise BusinessError("isv.INVALID_PARAMETERS", f"{name} must be true or false")
    return value == "true" if value else None


def integer(parameters: Parameters, name: str) -> str:
    """A whole number as sent, or ""; else isv.INVALID_PARAMETERS."""
    value = parameters.get(name, "")
    if value and not _DIGITS.fullmatch(value):
        raise BusinessError("isv.INVALID_PARAMETERS", f"{name} must be an integer")
    return value


def one_of(parameters: Parameters, name: str, allowed: tuple[str, ...]) -> str:
    """One of the documented values, or ""; else isv.INVALID_PARAMETERS."""
    value = parameters.get(name, "")
    if value and value not in allowed:
        raise BusinessError("isv.INVALID_PARAMETERS", f"{name} must be one of {', '.join(allowed)}")
    return value


def json_object(parameters: Parameters, name: str) -> None:
    """Refuse a parameter that should hold a JSON object and does not, with isv.INVALID_PARAMETERS."""
    try:
        value = json.loads(parameters.get(name) or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BusinessError("isv.INVALID_PARAMETERS", f"{name} must be a JSON object")
