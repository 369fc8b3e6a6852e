"""Cells that a spreadsheet or a person has spoiled: told apart, with what to do about each. None is ever mended here.

A guess would bind somebody else's number: `1.38E+10` may have been any of ten million.
"""

import re

from worker.domain.masking import mask_value
from worker.errors import FieldFault

NUMBER_FIELDS = frozenset({"phone_no_a", "phone_no_b", "phone_no_x", "new_phone_no_x", "subs_id"})
EXACT_DIGITS = 15
"""A spreadsheet keeps so many digits of a number; of a longer one it changes the last to zeros."""

_AS_TEXT = "format the column as text and fill it in anew from the source"
_SPOILED = (
    (
        re.compile(r"[+-]?\d+([.,]\d+)?[eE][+-]?\d+", re.ASCII),
        f"is in scientific notation, digits are lost; {_AS_TEXT}",
    ),
    (re.compile(r"\d+[.,]\d+", re.ASCII), f"is written as a decimal number; {_AS_TEXT}"),
    (
        re.compile(r"(\+|00)?86[- ]?1\d{10}|(\+|00)86.*", re.ASCII),
        "has a country code; write it without +86, a landline with its 0 (0571…)",
    ),
)
_LOST_ZERO = re.compile(r"[2-9]\d{8,10}|10\d{8}", re.ASCII)
_MAYBE_LOST_ZERO = re.compile(r"95[1-5]\d{7,8}", re.ASCII)
"""Area codes 0951 to 0955 without their zero look like numbers of the 95 range."""


class NumberCell(str):
    """A cell that a spreadsheet holds as a number, written out in digits."""

    __slots__ = ()


def fault_of_number_cell(field: str, cell: NumberCell) -> FieldFault | None:
    """What is wrong with a number in a cell of a spreadsheet that would have been right as text."""
    if len(cell.lstrip("-").partition(".")[0]) > EXACT_DIGITS:
        rule = f"is a number of more than {EXACT_DIGITS} digits, whose last ones a spreadsheet loses; {_AS_TEXT}"
    elif field in ("phone_no_x", "new_phone_no_x") and _MAYBE_LOST_ZERO.fullmatch(cell):
        rule = f"is a number that may have lost its leading zero (0951 …) or be one of the 95 range; {_AS_TEXT}"
    else:
        return None
    return FieldFault(field, mask_value(cell), rule)


def rule_of_spoiled_number(field: str, given: object) -> str:
    """What happened to a refused telephone number or SubsId, and what to do; empty where that cannot be told."""
    if not isinstance(given, str):
        return "must be text, in quotes" if isinstance(given, int | float) else ""
    text = given.strip()
    for spoiled, rule in _SPOILED:
        if spoiled.fullmatch(text):
            return rule
    if text.isdigit() and not text.isascii():
        return "has full-width or other digits; write 0-9"
    if field != "subs_id" and _LOST_ZERO.fullmatch(text):
        return f"has perhaps lost the leading zero of its area code (0571…); {_AS_TEXT}"
    if not given.isdigit() and re.sub(r"[\W_]", "", given).isdigit():
        return "has spaces, dashes or other marks; write digits only"
    return ""
