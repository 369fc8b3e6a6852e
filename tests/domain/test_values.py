"""Phone numbers, durations, expirations, job ids, callback URLs."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from worker.domain.callback_url import check_callback_url
from worker.domain.durations import duration_ms, parse_duration
from worker.domain.expiration import SHANGHAI, parse_expiration, unix_ms, wire_expiration
from worker.domain.job_ids import PARTITION_COUNT, is_job_id, job_id_for_key, new_job_id, partition_of
from worker.domain.phone_numbers import CustomerNumber, PrivateNumber

BOUNDS = tuple(datetime(year, 6, 1) for year in (1, 9999))  # noqa: DTZ001 - Hypothesis wants its bounds without a zone
CUSTOMER: TypeAdapter[str] = TypeAdapter(CustomerNumber)
PRIVATE: TypeAdapter[str] = TypeAdapter(PrivateNumber)

MOBILE_OR_LANDLINE = ["15000000000", "19999999999", "0108888888", "02188888888", "057188888888"]
NO_NUMBER = [
    "", "1500000000", "150000000000", "25000000000", "+8615000000000", "8615000000000", "150-0000-0000",
    "150 0000 0000", " 15000000000", "15000000000\n", "１５０００００００００",
    "1５０００００００００", "15000000000x", "a", "0571-88888888",
    "00571888888", "057188888", "0571888888888", "4008001234",
]  # fmt: skip


@pytest.mark.parametrize("number", MOBILE_OR_LANDLINE)
def test_mobiles_and_landlines_are_numbers_of_customers_and_of_pools(number: str) -> None:
    assert CUSTOMER.validate_python(number, strict=True) == number
    assert PRIVATE.validate_python(number, strict=True) == number


@pytest.mark.parametrize("number", NO_NUMBER)
def test_anything_else_is_no_number(number: str) -> None:
    for kind in (CUSTOMER, PRIVATE):
        with pytest.raises(ValidationError, match="must be digits only"):
            kind.validate_python(number, strict=True)


@pytest.mark.parametrize("number", ["95123", "95013812345678"])
def test_a_95_number_may_be_x_but_not_a(number: str) -> None:
    assert PRIVATE.validate_python(number, strict=True) == number
    with pytest.raises(ValidationError, match="must be digits only"):
        CUSTOMER.validate_python(number, strict=True)


@pytest.mark.parametrize("number", ["9512", "95" + "1" * 19, "96123"])
def test_95_numbers_have_bounds(number: str) -> None:
    with pytest.raises(ValidationError, match="95 range"):
        PRIVATE.validate_python(number, strict=True)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("30s", 30_000), ("250ms", 250), ("5m", 300_000), ("2h", 7_200_000), ("7d", 604_800_000), ("1.5h", 5_400_000),
        ("30", 30_000), (30, 30_000), (0.25, 250), (" 5 M ", 300_000), (timedelta(seconds=1), 1000), (0, 0),
        (timedelta(microseconds=1999), 1),
    ],
)  # fmt: skip
def test_a_span_is_read_in_all_its_forms(text: object, ms: int) -> None:
    assert duration_ms(parse_duration(text)) == ms


@pytest.mark.parametrize("text", ["", "s", "5x", "1h30m", "-5s", "1e3s", "nan", None, True, [], float("nan")])
def test_what_is_no_span_is_refused_with_the_rule(text: object) -> None:
    with pytest.raises(ValueError, match="must be a span of time such as 30s"):
        parse_duration(text)


@pytest.mark.parametrize("text", [-1, timedelta(seconds=-1), -0.5])
def test_a_span_is_not_negative(text: object) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["36526d", "99999999999999d", "9" * 400, float("inf"), 10**30, timedelta.max])
def test_a_span_is_at_most_a_century(text: object) -> None:
    with pytest.raises(ValueError, match="must be at most 100 years"):
        parse_duration(text)
    assert parse_duration("36525d") == timedelta(days=36_525)


@pytest.mark.parametrize(
    "given_",
    [
        "2026-12-01 12:00:00", "2026-12-01T04:00:00Z", "2026-12-01T12:00:00+08:00", "2026-11-30T23:00:00-05:00",
        " 2026-12-01 12:00:00 ", datetime(2026, 12, 1, 4, 0, 0, 999_999, tzinfo=UTC),
        datetime(2026, 12, 1, 13, 0, 0, tzinfo=timezone(timedelta(hours=9))),
    ],
)  # fmt: skip
def test_an_expiration_means_one_moment_and_is_written_in_shanghai_time(given_: object) -> None:
    moment = parse_expiration(given_)
    assert moment == datetime(2026, 12, 1, 4, 0, 0, tzinfo=UTC)
    assert wire_expiration(moment) == "2026-12-01 12:00:00"
    assert unix_ms(moment) == 1_796_097_600_000


@pytest.mark.parametrize(
    "given_",
    [
        "2026-12-01T12:00:00", "2026-12-01", datetime(2026, 12, 1, 12),  # noqa: DTZ001
        "2026-02-30 00:00:00", "2026-13-01 00:00:00",
        "2026-12-01 24:00:00", "2099-1-31 23:59:59", "tomorrow", "", "1796097600", 1_796_097_600, None,
        "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00",
    ],
)  # fmt: skip
def test_another_form_no_such_date_or_no_zone_is_no_expiration(given_: object) -> None:
    with pytest.raises(ValueError, match=r'must be "YYYY-MM-DD HH:MM:SS" \(Asia/Shanghai\)'):
        parse_expiration(given_)


@pytest.mark.parametrize("text", ["2099-01-31 23:59:59", "9999-12-31 23:59:59"])
def test_far_years_are_kept_to_the_second(text: str) -> None:
    assert wire_expiration(parse_expiration(text)) == text


@given(st.datetimes(min_value=datetime(1992, 1, 1), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_the_wire_form_of_any_moment_is_read_back_as_that_second(moment: datetime) -> None:
    assert parse_expiration(wire_expiration(moment)) == moment.replace(microsecond=0)


@given(st.integers(0, 2**48 - 2), st.integers(1, 10**6))
def test_random_ids_sort_by_their_millisecond(ms: int, later: int) -> None:
    later_ms = min(ms + later, 2**48 - 1)
    first = new_job_id(ms, lambda bits: 2**bits - 1)
    second = new_job_id(later_ms, lambda _: 0)
    assert first < second
    assert is_job_id(first)
    assert first[0] in "01234567"


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**80 - 1))
def test_an_id_is_its_number_in_crockford_s_base_32(ms: int, random: int) -> None:
    number, letters = (ms << 80) | random, ""
    for _ in range(26):
        number, digit = divmod(number, 32)
        letters = "0123456789abcdefghjkmnpqrstvwxyz"[digit] + letters
    assert new_job_id(ms, lambda _bits: random) == letters


@given(st.datetimes(*BOUNDS, timezones=st.just(UTC)))
def test_the_wire_form_is_strftime_s(moment: datetime) -> None:
    assert wire_expiration(moment) == moment.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


def test_random_ids_of_one_millisecond_differ() -> None:
    assert len({new_job_id(1) for _ in range(1000)}) == 1000


def test_a_key_stands_for_the_same_id_for_ever() -> None:
    assert job_id_for_key("order-1") == "kexjbk2qqw1crjyqqg8vvkn5b3"
    assert job_id_for_key("order-1") != job_id_for_key("order-2")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_derived_id_has_an_ids_form_and_is_never_a_random_one(key: str) -> None:
    assert is_job_id(job_id_for_key(key))
    assert job_id_for_key(key)[0] == "k"


@pytest.mark.parametrize("text", ["", "k" * 25, "k" * 27, "K" * 26, "u" + "0" * 25, "../" + "0" * 23, "０" * 26])
def test_another_text_is_no_id(text: str) -> None:
    assert not is_job_id(text)


def test_partitions_are_stable_and_evenly_filled() -> None:
    counts = [0] * PARTITION_COUNT
    for number in range(3200):
        counts[partition_of(job_id_for_key(str(number)))] += 1
    assert min(counts) > 130
    assert max(counts) < 270
    assert partition_of("k" * 26) == 9


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/axn", "http://h", "https://h:8443/a?b=c", "https://[2606:4700::1]/x", "https://1.1.1.1",
        "HTTPS://Shop.Example./", "https://my_shop/", "https://h:/", "https://bücher.example/", "https://回调.example/回调",
        "https://h/?a=//b@c", "https://" + ".".join(["x" * 63] * 3) + ".example/",
    ],
)  # fmt: skip
def test_a_callback_url_is_kept_as_given(url: str) -> None:
    assert check_callback_url(url) == url


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("ftp://h/", "must be a URL such as"), ("//h/", "must be a URL such as"), ("https://", "must be a URL such as"),
        ("shop.example/axn", "must be a URL such as"), ("https://[::1", "must be a URL such as"),
        ("https://h:99999/", "port from 1 to 65535"), ("https://h:0/", "port from 1 to 65535"),
        ("https://h:x/", "must be a URL such as"), ("https://h:-1/", "must be a URL such as"),
        ("https://h:123456/", "must be a URL such as"), ("https://h:٤٤٣/", "must be a URL such as"),
        ("https:h/", "must be a URL such as"), ("https:///h", "must be a URL such as"), (" https://h", "a URL such as"),
        ("https://::1/", "must be a URL such as"), ("https://[::1]x/", "must be a URL such as"),
        ("https://[::1%25eth0]/", "without a zone"), ("https://[::1%1]/", "without a zone"),
        ("https://[v1.a]/", "IPv6 address"), ("https://[1.1.1.1]/", "IPv6 address"), ("https://[]/", "IPv6 address"),
        ("https://127.1/", "four decimal"), ("https://2130706433/", "four decimal"), ("https://0x7f.1/", "decimal"),
        ("https://0177.0.0.1/", "four decimal"), ("https://1.1.1.1./", "four decimal"), ("https://h.0x/", "decimal"),
        ("https://a..b/", "name a host"), ("https://-a.b/", "name a host"), ("https://./", "name a host"),
        ("https://%31.b/", "name a host"), ("https://１.１.１.１/", "name a host"),
        ("https://1。1。1。1/", "name a host"),
        ("https://" + "x" * 64 + "/", "name a host"), ("https://" + "x." * 127 + "x/", "name a host"),
        ("https://a\\@b/", "user name"), ("https://a/\\b", "%5C"),
        ("https://u:p@h/", "user name"), ("https://@h/", "user name"), ("https://h/#part", "fragment"),
        ("https://h/ x", "without spaces"), ("https://h/\x7f", "printable"), ("https://h/\ud800", "printable"),
        ("https://h/" + "x" * 2039, "at most 2048"),
    ],
)  # fmt: skip
def test_what_cannot_be_called_is_no_callback_url(url: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        check_callback_url(url)
