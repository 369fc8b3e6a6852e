"""Phone numbers made unreadable, for every text that leaves the ledger.

A number keeps its first three and last four digits when it is long enough (150****0000), so that a person can tell
two customers apart and nobody can call them.
"""

import re
from datetime import datetime
from typing import Any

_SEPARATED_DIGITS = re.compile(r"\d(?:[\W_]{0,3}\d){6,}")
_DIGIT_RUN = re.compile(r"\d{7,}")
_MOMENT = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}(:\d{1,2}){0,2}(\.\d{1,6})?\s?(Z|[+-]\d{2}:?\d{2})?)?", re.ASCII | re.IGNORECASE
)


def mask_number(number: str) -> str:
    """150****0000 for eleven digits; shorter numbers show less. Never seven digits in a row."""
    if len(number) < 7:  # noqa: PLR2004 - shorter than any telephone number
        return number
    if len(number) < 11:  # noqa: PLR2004 - 3 + 4 shown digits would leave nothing hidden
        return f"{number[:2]}****{number[-2:]}"
    return f"{number[:3]}****{number[-4:]}"


def mask_text(text: str) -> str:
    """The text with each run of seven or more digits masked."""
    return _DIGIT_RUN.sub(lambda run: mask_number(run[0]), text)


def mask_value(value: Any, *, longest: int = 60) -> str:
    """Somebody's input as an error message may show it: numbers masked, also when written with spaces or dashes.

    A date and time by itself stays readable. The text can be printed anywhere: lone surrogates are written out.

    Args:
        value: anything that was given for a field.
        longest: characters shown before the rest is cut.
    """
    text = str(value) if isinstance(value, str | datetime) else repr(value)
    text = text.encode(errors="backslashreplace").decode()
    masked = text
    if not _MOMENT.fullmatch(text.strip()):
        masked = _SEPARATED_DIGITS.sub(lambda run: mask_number(re.sub(r"\D", "", run[0])), text)
    return masked if len(masked) <= longest else masked[:longest] + "…"
