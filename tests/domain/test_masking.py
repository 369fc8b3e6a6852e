"""No text that leaves the ledger holds a whole phone number."""

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.masking import mask_number, mask_text, mask_value

SEVEN_DIGITS = re.compile(r"\d{7}")
DIGITS_AND_OTHERS = st.text(st.sampled_from("0123456789-+() ._/,:xT号０９\n"), max_size=80)


@given(DIGITS_AND_OTHERS | st.text())
def test_masked_text_never_holds_seven_digits_in_a_row(text: str) -> None:
    assert not SEVEN_DIGITS.search(mask_text(text))


@given(DIGITS_AND_OTHERS | st.text() | st.integers() | st.lists(st.integers()) | st.binary() | st.floats())
def test_a_masked_value_never_holds_seven_digits_in_a_row(value: object) -> None:
    assert not SEVEN_DIGITS.search(mask_value(value))


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), st.sampled_from(["", "-", " ", ". ", "_", "/", ", ", ") ("]))
def test_a_masked_value_hides_a_number_however_it_is_separated(number: str, separator: str) -> None:
    written = separator.join((number[:3], number[3:7], number[7:]))
    for value in (written, f"call {written}!", [written], f"2026-12-01 {written}", separator.join(number)):
        assert number not in re.sub(r"\D", "", mask_value(value))


def test_the_first_three_and_last_four_digits_stay() -> None:
    assert mask_text("from 15012345678 to 057188881234.") == "from 150****5678 to 057****1234."
    assert mask_value("150 1234-5678") == "150****5678"


@pytest.mark.parametrize(
    ("number", "masked"), [("123456", "123456"), ("1234567", "12****67"), ("8888123456", "88****56")]
)
def test_short_numbers_show_less(number: str, masked: str) -> None:
    assert mask_number(number) == mask_text(number) == mask_value(number) == masked


@pytest.mark.parametrize("text", ["2026-02-30 00:00:00", "2026-12-01T00:00:00.123456+08:00", "2026-12-1", "30s", "-1"])
def test_dates_and_small_figures_stay_readable(text: str) -> None:
    assert mask_value(text) == text


def test_a_datetime_is_shown_as_a_date() -> None:
    assert mask_value(datetime(2026, 12, 1, 8)) == "2026-12-01 08:00:00"  # noqa: DTZ001


def test_a_long_value_is_cut_and_marked() -> None:
    assert mask_value("x" * 61) == "x" * 60 + "…"
    assert mask_value("x" * 60) == "x" * 60


def test_a_lone_surrogate_is_written_out_so_that_the_text_can_be_stored() -> None:
    assert mask_value("a\ud800").encode() == b"a\\ud800"
