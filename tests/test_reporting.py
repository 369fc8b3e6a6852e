"""What leaves the process as a log line or an error report holds no number and no secret."""

import json
import logging
import re
from typing import Any

import pytest
import sentry_sdk
from hypothesis import given
from hypothesis import strategies as st
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from worker.reporting import MaskingFormatter, scrub, set_up_sentry

NUMBER = "13900001234"


class KeptTransport(Transport):
    """Keeps envelopes instead of sending them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.texts.append(envelope.serialize().decode())


def formatted(message: str, **more: Any) -> str:
    record = logging.LogRecord("axn", logging.ERROR, __file__, 1, message, (), more.get("exc_info"))
    return MaskingFormatter("%(message)s").format(record)


def test_a_log_line_shows_no_whole_number() -> None:
    assert formatted(f"job for {NUMBER} failed") == "job for 139****1234 failed"


def test_a_logged_traceback_shows_no_whole_number() -> None:
    try:
        int(f"bad number {NUMBER}")
    except ValueError as error:
        text = formatted("broke", exc_info=(type(error), error, error.__traceback__))
    assert "Traceback" in text
    assert NUMBER not in text


def test_everything_under_a_secret_s_name_is_hidden() -> None:
    event = {"extra": {"access_key_secret": "s3cr3t", "Authorization": ["ACS3 …"], "lane": "checkout"}}
    assert scrub(event) == {"extra": {"access_key_secret": "[hidden]", "Authorization": "[hidden]", "lane": "checkout"}}


@given(
    st.recursive(
        st.text() | st.from_regex(r"\d{7,20}"), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_scrubbed_values_hold_no_run_of_seven_digits(value: Any) -> None:
    values = [scrub(value)]
    while values:
        one = values.pop()
        if isinstance(one, dict):
            values += one.values()
        elif isinstance(one, list):
            values += one
        else:
            assert not re.search(r"\d{7}", str(one))


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> KeptTransport:
    kept = KeptTransport()
    started = sentry_sdk.init
    monkeypatch.setattr("worker.reporting.sentry_sdk.init", lambda **given: started(**given, transport=kept))
    return kept


def test_an_error_report_holds_neither_number_nor_local_variables(transport: KeptTransport) -> None:
    set_up_sentry("https://key@sentry.invalid/1", "test", "0")
    phone_no_a = NUMBER
    try:
        int(f"unexpected for {phone_no_a}")
    except ValueError as error:
        sentry_sdk.capture_exception(error)
    sentry_sdk.flush()
    sentry_sdk.get_client().close()
    (text,) = transport.texts
    assert "unexpected for 139****1234" in text
    assert NUMBER not in text
    frames = json.loads(text.splitlines()[2])["exception"]["values"][0]["stacktrace"]["frames"]
    assert all("vars" not in frame for frame in frames)


def test_without_a_dsn_nothing_is_set_up(transport: KeptTransport) -> None:
    set_up_sentry("", "test", "0")
    assert not transport.texts
