"""What an answer, or none, is taken for."""

import pytest

from worker.callbacks.receivers import receiver_of
from worker.callbacks.results import Health, TryResult, answered, failed
from worker.callbacks.retry_after import retry_after_ms
from worker.http import HttpAnswer, MaybeSentError, NotSentError

NOW_MS = 1_767_225_600_000  # Thu, 01 Jan 2026 00:00:00 GMT
DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("headers", "expected_ms"),
    [
        ({}, 0),
        ({"retry-after": "120"}, 120_000),
        ({"retry-after": " 1.5 "}, 1_500),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "9" * 18}, 999_999_999_999_999_999_000),
        ({"retry-after": "9" * 19}, 0),
        ({"retry-after": "1e3"}, 0),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "120, 240"}, 0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30_000),
        ({"retry-after": "Thu, 01 Jan 2026 08:00:30 +0800"}, 30_000),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 -0000"}, 30_000),
        ({"retry-after": "Thursday, 01-Jan-26 00:00:30 GMT"}, 30_000),
        ({"retry-after": "Wed, 31 Dec 2025 23:59:59 GMT"}, 0),
        ({"retry-after": "Thu, 99 Jan 2026 00:00:30 GMT"}, 0),
        # A receiver whose clock is an hour fast means 30 s all the same.
        ({"retry-after": "Thu, 01 Jan 2026 01:00:30 GMT", "date": "Thu, 01 Jan 2026 01:00:00 GMT"}, 30_000),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": "nonsense"}, 30_000),
    ],
)
def test_retry_after_is_a_number_or_a_date(headers: dict[str, str], expected_ms: int) -> None:
    found_ms = retry_after_ms(headers, NOW_MS)
    assert found_ms == pytest.approx(expected_ms, rel=1e-9)


@pytest.mark.parametrize(
    ("status", "error", "health"),
    [
        (200, "", Health.ANSWERS), (204, "", Health.ANSWERS), (299, "", Health.ANSWERS),
        (302, "http.302", Health.ANSWERS), (404, "http.404", Health.ANSWERS), (410, "http.410", Health.ANSWERS),
        (408, "http.408", Health.FAILS), (429, "http.429", Health.FAILS),
        (500, "http.500", Health.FAILS), (503, "http.503", Health.FAILS),
    ],
)  # fmt: skip
def test_2xx_alone_is_success_and_a_refusal_tells_nothing_against_the_receiver(
    status: int, error: str, health: Health
) -> None:
    result = answered(HttpAnswer(status, {}, b""), 7, NOW_MS)
    assert (result.error, result.health, result.is_delivered, result.ms) == (error, health, not error, 7)
    assert result.is_gone == (status == 410)


@pytest.mark.parametrize(
    ("failure", "error", "health"),
    [
        (NotSentError("connect_refused", ""), "connect.refused", Health.FAILS),
        (NotSentError("connect_timeout", ""), "connect.timeout", Health.FAILS),
        (NotSentError("dns", ""), "dns", Health.FAILS),
        (NotSentError("tls", ""), "tls", Health.FAILS),
        (NotSentError("refused_by_guard", ""), "denied", Health.FAILS),
        (MaybeSentError("timeout", ""), "timeout", Health.FAILS),
        (MaybeSentError("answer_too_large", ""), "answer.too_large", Health.FAILS),
        (NotSentError("bad_url", ""), "url", Health.UNKNOWN),
        (NotSentError("closed", ""), "closed", Health.UNKNOWN),
    ],
)
def test_without_an_answer_the_receiver_fails_unless_it_was_our_own_fault(
    failure: NotSentError | MaybeSentError, error: str, health: Health
) -> None:
    assert failed(failure, 3) == TryResult(error, ms=3)
    assert failed(failure, 3).health is health


def test_of_an_answer_a_kilobyte_is_kept_and_no_number() -> None:
    body = b"x" * 1_020 + b"15012345678" + b"y" * 70_000
    result = answered(HttpAnswer(500, {}, body), 1, NOW_MS)
    assert result.answer == "x" * 1_020 + "150*"
    assert answered(HttpAnswer(500, {}, b"\xff\x00"), 1, NOW_MS).answer == "\ufffd\x00"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Shop.Example/axn", "shop.example"),
        ("https://shop.example.:8443/", "shop.example"),
        ("https://\u5546\u5e97.example/", "xn--czrs0t.example"),
        ("https://[::1]:8080/", "::1"),
        ("https://127.0.0.1/", "127.0.0.1"),
        ("https://[/", ""),
        ("", ""),
    ],
)
def test_a_receiver_is_the_host_and_nothing_else(url: str, host: str) -> None:
    assert receiver_of(url) == host
