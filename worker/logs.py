"""Log lines with fields: `_log.info("job settled", job_id=…, state=…)`. What happened is a fixed text, the rest fields.

They are ordinary records of `logging`, so that whoever set that up (an order system, a test, Sentry) gets them, as the
text and `name=value`; `worker.reporting` writes them, through structlog, as JSON or for people.
Numbers are masked here, before any handler sees them. Below its level a line costs a look at the level.
"""

import json
import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from worker.domain.job_ids import is_job_id
from worker.domain.masking import mask_text
from worker.scrubbing import Scrubber

_SEVEN_DIGITS = re.compile(r"\d{7}")
_PLAIN = re.compile(r"[^\s\"=]*")
_SHORTEST_NUMBER = 7
_LEAST_NUMBER = 10**6
_REQUEST_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
ID_FIELDS = frozenset({"job_id", "webhook_id", "batch_id", "binding_id", "unbind_job_id"})
_SCRUBBER = Scrubber()
_EXC_INFO = "exc_info"


_working_on: ContextVar[dict[str, str]] = ContextVar("axn_working_on")


def working_on(job_id: str, lane: str) -> None:
    """The task that this is called in works on this job, and so do those which it starts."""
    _working_on.set({"job_id": job_id, "lane": lane})


def worked_on() -> dict[str, str]:
    """What `working_on` was told in this task; for reports of errors. Lines name their job themselves."""
    return _working_on.get({})


class Event(dict[str, Any]):
    """The fields of a line, `event` first, masked; as text for handlers that know nothing of fields."""

    def __str__(self) -> str:
        told = (f"{name}={_shown(value)}" for name, value in self.items() if name not in ("event", _EXC_INFO))
        return " ".join((str(self["event"]), *told))


def _shown(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class Log:
    """Says what happened, at a level: `docs/logs.md` says which."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._is_enabled_for = self._logger.isEnabledFor

    def debug(self, event: str, **fields: Any) -> None:
        """What is of use while somebody looks for a fault."""
        if self._is_enabled_for(logging.DEBUG):
            self._tell(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """What goes as it should, a job's expected failures and retries too."""
        if self._is_enabled_for(logging.INFO):
            self._tell(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """What mends itself, or waits for somebody who has the time."""
        if self._is_enabled_for(logging.WARNING):
            self._tell(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """A bug, or what stands still until a person acts: goes to Sentry. `exc_info` takes the exception."""
        if self._is_enabled_for(logging.ERROR):
            self._tell(logging.ERROR, event, fields)

    def _tell(self, level: int, event: str, fields: Mapping[str, Any]) -> None:
        """Through filters and handlers as any record, but without the search for the caller's place in the source."""
        told = _as_event(event, fields)
        exc_info = told.get(_EXC_INFO)
        record = logging.LogRecord(self._logger.name, level, "", 0, told, (), exc_info)
        if exc_info:
            record.exc_text = _SCRUBBER.exception(exc_info[1])  # what a handler of `logging` shows of it
        self._logger.handle(record)


def get_log(name: str) -> Log:
    """The log of a module, over the standard logger of its name."""
    return Log(name)


def masked_field(name: str, value: Any) -> Any:
    """The value as a log line may hold it: our ids and the provider's RequestId whole, in all else numbers masked."""
    if isinstance(value, str):
        if len(value) < _SHORTEST_NUMBER or not _SEVEN_DIGITS.search(value):
            return str(value)
        return _masked_text(name, value)
    if value is None or (isinstance(value, int | float) and -_LEAST_NUMBER < value < _LEAST_NUMBER):
        return round(value, 3) if isinstance(value, float) else value
    if isinstance(value, Mapping):
        return {mask_text(str(key)): masked_field("", part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked_field("", part) for part in value]
    return mask_text(str(value))


def is_known_id(name: str, text: str) -> bool:
    """Whether this is, by its field and its form, an id of ours or the provider's RequestId: it may leave as it is."""
    if name == "request_id":
        return bool(_REQUEST_ID.fullmatch(text))
    return name in ID_FIELDS and is_job_id(text.partition("-")[0])


def _masked_text(name: str, text: str) -> str:
    if name == "request_id" and _REQUEST_ID.fullmatch(text):
        return text
    if name in ID_FIELDS:
        id_, dash, rest = text.partition("-")  # a webhook-id goes on after the job's id
        if is_job_id(id_):
            return id_ + dash + mask_text(rest)
    return mask_text(text)


def _as_event(told: str, fields: Mapping[str, Any]) -> Event:
    event = Event(event=told)
    for name, value in fields.items():
        kind = type(value)  # first what nearly all fields are: this is on each job's way
        is_short = kind is str and (len(value) < _SHORTEST_NUMBER or not _SEVEN_DIGITS.search(value))
        if is_short or (kind is int and 0 <= value < _LEAST_NUMBER):
            event[name] = value
        elif name == _EXC_INFO:
            event[name] = (kind, value, value.__traceback__)
        else:
            event[name] = masked_field(name, value)
    return event
