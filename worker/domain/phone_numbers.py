"""The forms of telephone numbers that BindAxn's page shows.

Digits only. A mobile has eleven digits starting with 1; a landline is its area code and number without a hyphen,
ten to twelve digits starting with 0. X may also be a number of the 95 range. Anything else is refused here rather
than by the provider, where it would cost a call.
"""

import re
from typing import Annotated

from pydantic import AfterValidator

_MOBILE = r"1\d{10}"
_LANDLINE = r"0[1-9]\d{8,10}"
_NUMBER_95 = r"95\d{3,18}"
_AREA_AND_NUMBER = range(9, 12)
_CUSTOMER = re.compile(rf"{_MOBILE}|{_LANDLINE}", re.ASCII)
_PRIVATE = re.compile(rf"{_MOBILE}|{_LANDLINE}|{_NUMBER_95}", re.ASCII)


def _customer_number(number: str) -> str:
    if _CUSTOMER.fullmatch(number):
        return number
    raise ValueError(
        "must be digits only: a mobile (11 digits starting with 1) or a landline with its area code (0571…)"
    )


def is_customer_number(text: str) -> bool:
    """Whether the text is a number that A or B may have."""
    return _CUSTOMER.fullmatch(text) is not None


def plain_number(text: str) -> str:
    """A customer's number as requests give it, from however a person writes it: +86 138-0000-0000.

    Raises:
        ValueError: it is none.
    """
    digits = re.sub(r"[\s().-]", "", text)
    if digits.startswith("+"):
        digits = digits.removeprefix("+86") if digits.startswith("+86") else ""
    elif not is_customer_number(digits):
        digits = re.sub(r"^(0086|86)", "", digits)
    if len(digits) in _AREA_AND_NUMBER and not is_customer_number(digits):
        digits = f"0{digits}"  # +86 571 …
    return _customer_number(digits)


def _private_number(number: str) -> str:
    if _PRIVATE.fullmatch(number):
        return number
    raise ValueError("must be digits only: a mobile, a landline with its area code, or a number of the 95 range")


CustomerNumber = Annotated[str, AfterValidator(_customer_number)]
"""A or B."""
PrivateNumber = Annotated[str, AfterValidator(_private_number)]
"""X."""
