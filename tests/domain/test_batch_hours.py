"""When rows may be fed: Shanghai's time of day, spans over midnight too."""

from datetime import datetime

import pytest

from worker.domain.batch import BatchOptions
from worker.domain.batch_hours import next_opening, parse_hour
from worker.domain.expiration import SHANGHAI, unix_ms

DAY, NIGHT = ("09:00", "18:00"), ("22:00", "06:30")


def at(text: str) -> int:
    return unix_ms(datetime.fromisoformat(f"{text}:00").replace(tzinfo=SHANGHAI))


@pytest.mark.parametrize(
    ("hours", "now", "opening"),
    [
        (("", ""), "2026-12-01 03:00", ""),
        (("09:00", "09:00"), "2026-12-01 03:00", ""),
        (DAY, "2026-12-01 08:59", "2026-12-01 09:00"),
        (DAY, "2026-12-01 09:00", ""),
        (DAY, "2026-12-01 17:59", ""),
        (DAY, "2026-12-31 18:00", "2027-01-01 09:00"),
        (NIGHT, "2026-12-01 21:59", "2026-12-01 22:00"),
        (NIGHT, "2026-12-01 22:00", ""),
        (NIGHT, "2026-12-02 00:00", ""),
        (NIGHT, "2026-12-02 06:29", ""),
        (NIGHT, "2026-12-02 06:30", "2026-12-02 22:00"),
    ],
)
def test_the_next_opening(hours: tuple[str, str], now: str, opening: str) -> None:
    options = BatchOptions(not_before=hours[0], not_after=hours[1])
    assert next_opening(options, at(now)) == (at(opening) if opening else 0)


@pytest.mark.parametrize("wrong", ["24:00", "9:00", "09:60", "22", "２２:00", "22:00:00"])
def test_an_hour_has_one_form(wrong: str) -> None:
    with pytest.raises(ValueError, match="such as 22:00"):
        parse_hour(wrong)
