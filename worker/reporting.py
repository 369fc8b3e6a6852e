"""Log lines of a worker process: ours, Celery's and the libraries' the same way, as JSON or for people."""

import json
import logging
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import Processor

from worker.logs import Event
from worker.scrubbing import Scrubber

LogFormat = Literal["console", "json"]
_MESSAGE_LOGGERS = ("celery.worker.strategy", "celery.app.trace")
"""They tell of each message that it came and went; what became of its jobs is told by the jobs' own lines."""


_LEVELS = {level: logging.getLevelName(level).lower() for level in (10, 20, 30, 40, 50)}
_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, default=str)
"""Made once: `json.dumps` makes one for each line that is not as usual."""


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """One line per record.

    Args:
        log_format: json, or console: for people.
        scrubber: of exceptions, and of the text of lines that are not ours; the fields of ours come masked.
        has_colors: of console.
    """

    def __init__(self, log_format: LogFormat, scrubber: Scrubber, *, has_colors: bool = False) -> None:
        self._scrubber = scrubber
        self._render: Processor = _json if log_format == "json" else _text
        if has_colors and log_format == "console":
            self._render = structlog.dev.ConsoleRenderer()
        super().__init__(processors=(self._foreign, self._render))

    def format(self, record: logging.LogRecord) -> str:
        """The line. Ours takes the short way: no copy of the record, nothing to be found out of it."""
        if not isinstance(record.msg, Event):
            return super().format(record)
        return cast("str", self._render(None, "", self._line(record, record.msg)))

    def _foreign(self, _: Any, __: str, told: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event = {"event": self._scrubber.text(told["event"]), "exc_info": told.get("exc_info")}
        return self._line(told["_record"], event)

    def _line(self, record: logging.LogRecord, told: Mapping[str, Any]) -> MutableMapping[str, Any]:
        line: dict[str, Any] = {
            "timestamp": _moment(record.created),
            "level": _LEVELS.get(record.levelno, record.levelname.lower()),
        }
        line |= told
        line["logger"] = record.name
        exc_info = line.pop("exc_info", None)
        if exc_info and exc_info[1] is not None:
            line["exception"] = self._scrubber.exception(exc_info[1])
        return line


@lru_cache(maxsize=2)
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()[:-6]


def _moment(created: float) -> str:
    unix_s = int(created)
    return f"{_second(unix_s)}.{int((created - unix_s) * 1000):03d}Z"


def _json(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    return _ENCODER.encode(line)


def _text(_: Any, __: str, line: MutableMapping[str, Any]) -> str:
    """As a person reads it where there are no colours: time, level, logger, what happened, the fields."""
    head = f"{line.pop('timestamp')} {line.pop('level').upper():7} {line.pop('logger')}: "
    exception = line.pop("exception", "")
    return f"{head}{Event(line)}{f'{chr(10)}{exception}' if exception else ''}"


def set_up_logging(
    level: str | int,
    log_format: LogFormat = "console",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    log_file: str = "",
) -> None:
    """Log to standard error, or to a stream or file, whatever was set up before. Python's warnings go there too."""
    stream = stream or sys.stderr
    handler = logging.FileHandler(log_file, encoding="utf-8") if log_file else logging.StreamHandler(stream)
    has_colors = not log_file and stream.isatty()
    handler.setFormatter(LineFormatter(log_format, Scrubber(secrets), has_colors=has_colors))
    logging.basicConfig(level=level.upper() if isinstance(level, str) else level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    is_debug = logging.getLogger().isEnabledFor(logging.DEBUG)
    for name in _MESSAGE_LOGGERS:
        logging.getLogger(name).setLevel(logging.NOTSET if is_debug else logging.WARNING)
