"""What leaves the process as a log line: whose it is and what happened, no number and no secret."""

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.logs import Event, get_log, masked_field
from worker.reporting import LineFormatter, LogFormat, set_up_logging
from worker.scrubbing import Scrubber

NUMBER = "13900001234"
JOB = "01k0000000" + "0123456789abcdef"
REQUEST_ID = "D5E4A1B2-1234-4A5B-8C6D-123456789012"
SECRET = "hunter2hunter2"
_log = get_log("worker.a_test")


@contextmanager
def kept_logging() -> Iterator[None]:
    """What `logging` is set to comes back."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in ("celery.worker.strategy", "celery.app.trace")}
    try:
        yield
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
        logging.captureWarnings(capture=False)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def logging_to(stream: io.StringIO, log_format: LogFormat = "json", level: str = "debug") -> Iterator[None]:
    with kept_logging():
        set_up_logging(level, log_format, secrets=[SECRET], stream=stream)
        yield


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_ours_is_one_object_with_its_fields() -> None:
    out = io.StringIO()
    with logging_to(out):
        _log.info("job settled", job_id=JOB, attempt=2, request_id=REQUEST_ID, ok=True, code=None)
    (line,) = lines(out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "info", "event": "job settled", "job_id": JOB, "attempt": 2, "request_id": REQUEST_ID, "ok": True,
        "code": None, "logger": "worker.a_test",
    }  # fmt: skip


def test_for_people_a_line_is_text_and_what_has_spaces_is_quoted() -> None:
    out = io.StringIO()
    with logging_to(out, "console"):
        _log.warning("batch paused", batch_id=JOB, message="mend it,\nthen resume")
    moment, _, rest = out.getvalue().partition(" ")
    assert moment.endswith("Z")
    assert rest == f'WARNING worker.a_test: batch paused batch_id={JOB} message="mend it,\\nthen resume"\n'


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("phone_no_a", NUMBER, "139****1234"),
        ("count", 13900001234, "139****1234"),
        ("many", [NUMBER, {NUMBER: (NUMBER,)}], ["139****1234", {"139****1234": ["139****1234"]}]),
        ("job_id", JOB, JOB),
        ("job_id", NUMBER, "139****1234"),
        ("webhook_id", f"{JOB}-3", f"{JOB}-3"),
        ("webhook_id", f"{JOB}-orphan-{NUMBER}", f"{JOB}-orphan-139****1234"),
        ("message", f"of {JOB}", f"of {JOB.replace('01k0000000', '01k00****00').replace('0123456789', '01****89')}"),
        ("request_id", REQUEST_ID, REQUEST_ID),
        ("request_id", f"{NUMBER}-{NUMBER}", "139****1234-139****1234"),
    ],
)
def test_numbers_are_masked_and_ids_stay_readable_by_name_and_form(name: str, value: Any, shown: Any) -> None:
    out = io.StringIO()
    with logging_to(out):
        _log.info("told", **{name: value})
    (line,) = lines(out)
    if name == "message":
        assert not re.search(r"\d{7}", line[name])
    else:
        assert line[name] == shown


@given(st.recursive(st.text() | st.from_regex(r"\d{7,20}") | st.integers() | st.floats(), st.lists))
def test_no_field_holds_seven_digits_in_a_row(value: Any) -> None:
    values = [masked_field("any", value)]
    while values:
        one = values.pop()
        if isinstance(one, dict):
            values += [*one, *one.values()]
        elif isinstance(one, list):
            values += one
        else:
            assert not re.search(r"\d{7}", str(one))


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_lines_of_libraries_go_the_same_way_scrubbed(log_format: LogFormat) -> None:
    out = io.StringIO()
    with logging_to(out, log_format):
        logging.getLogger("celery.worker").error("cannot connect to redis://:%s@h:1/0 for %s", SECRET, NUMBER)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(f"of {NUMBER}", stacklevel=1)
    assert SECRET not in out.getvalue()
    assert NUMBER not in out.getvalue()
    assert "cannot connect to redis://" in out.getvalue()
    assert "of 139****1234" in out.getvalue()
    if log_format == "json":
        assert [line["logger"] for line in lines(out)] == ["celery.worker", "py.warnings"]


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("is_ours", [True, False])
def test_a_traceback_shows_the_places_and_a_scrubbed_text(log_format: LogFormat, is_ours: bool) -> None:
    out = io.StringIO()
    with logging_to(out, log_format):
        try:
            try:
                int(f"{NUMBER}x")
            except ValueError as first:
                raise RuntimeError(f'{SECRET}: {{"phone": "A"}}') from first
        except RuntimeError as error:
            if is_ours:
                _log.error("broke off", exc_info=error)
            else:
                logging.getLogger("asyncio").exception("broke off")
    text = out.getvalue()
    assert "test_reporting.py" in text
    assert text.index("ValueError: ") < text.index("RuntimeError: [hidden]: {…}")
    assert NUMBER not in text
    if log_format == "json":
        assert lines(out)[0]["event"] == "broke off"


def test_a_handler_that_knows_no_fields_gets_them_as_text_and_the_traceback_scrubbed() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    with kept_logging():
        logging.basicConfig(handlers=[handler], level="INFO", force=True)
        _log.error("broke off", job_id=JOB, phone=NUMBER, exc_info=ValueError(NUMBER))
    assert out.getvalue().startswith(f"worker.a_test broke off job_id={JOB} phone=139****1234\n")
    assert "ValueError: 139****1234" in out.getvalue()


def test_below_its_level_a_line_is_not_even_made() -> None:
    class Broken:
        def __str__(self) -> str:
            raise AssertionError("looked at")

    out = io.StringIO()
    with logging_to(out, level="warning"):
        _log.info("told", value=Broken())
        _log.debug("told", value=Broken())
        with pytest.raises(AssertionError, match="looked at"):
            _log.warning("told", value=Broken())
    assert not out.getvalue()


def test_only_at_debug_celery_tells_of_each_message() -> None:
    for level, is_told in (("info", False), ("debug", True)):
        with logging_to(io.StringIO(), level=level):
            assert logging.getLogger("celery.app.trace").isEnabledFor(logging.INFO) is is_told


def test_at_a_terminal_lines_have_colours() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, Event(event="told", lane="batch"), (), None)
    assert "\x1b[" in LineFormatter("console", Scrubber(), has_colors=True).format(record)
