"""Reports to Sentry: of bugs and of what stands still until a person acts, never of a job's expected failures.

What is logged at level error is reported, and what breaks a Celery task or an asyncio task. A report carries the fields
of its line as tags and is grouped by what happened and its code. Everything passes the scrubber on its way out.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import sentry_sdk
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sentry_sdk.crons import capture_checkin
from sentry_sdk.integrations.asyncio import enable_asyncio_integration
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger
from sentry_sdk.transport import Transport

from worker.domain.masking import mask_text
from worker.errors import AxnError
from worker.logs import ID_FIELDS, Event, is_known_id, masked_field, worked_on
from worker.scrubbing import HIDDEN, Scrubber, is_secret_name, secrets_of
from worker.settings import Settings

TAGS = frozenset({*ID_FIELDS, "request_id", "lane", "kind", "code", "state", "action", "host", "error"})
CHECK_IN_KEY = "axn1:sentry_check_in"
"""Stands for a minute: whoever writes it checks in, one of all workers."""
CHECK_IN_LOOK_MS = 20_000
_CHECK_IN_MS = 60_000
_MONITOR = "axn-timetable"
_MONITOR_CONFIG: Any = {
    "schedule": {"type": "interval", "value": 1, "unit": "minute"},
    "checkin_margin": 3,
    "max_runtime": 1,
    "failure_issue_threshold": 2,
    "recovery_threshold": 1,
}
_EXPECTED = (RedisError, OSError, AxnError)
"""A server or a network that is away: every caller waits for it, and alerts tell of it."""
_RECONNECTING = "celery.worker.consumer.consumer"
_SENDING_SPANS = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_MOST_CRUMBS = 20
_REPORTED = "_axn_reported"
_ANY = "*"
_SENTRYS_OWN = frozenset(
    {
        ("event_id",), ("timestamp",), ("start_timestamp",),
        ("contexts", "trace", "trace_id"), ("contexts", "trace", "span_id"), ("contexts", "trace", "parent_span_id"),
        ("breadcrumbs", "values", _ANY, "timestamp"),
        ("spans", _ANY, "trace_id"), ("spans", _ANY, "span_id"), ("spans", _ANY, "parent_span_id"),
        ("spans", _ANY, "timestamp"), ("spans", _ANY, "start_timestamp"),
    }
)  # fmt: skip
"""Ids and moments of Sentry's own, by their place; nothing else is left as it is."""
_OF_A_FRAME = frozenset({"filename", "abs_path", "module", "function", "package"})


def set_up_sentry(settings: Settings, release: str, *, transport: Transport | None = None) -> None:
    """Report to AXN_SENTRY_DSN; without one nothing is reported."""
    dsn = settings.sentry_dsn.get_secret_value()
    if not dsn:
        return
    scrubber = Scrubber(secrets_of(settings) - {dsn})
    sentry_sdk.init(
        dsn=dsn,
        environment=settings.environment,
        release=release,
        transport=transport,
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=_MOST_CRUMBS,
        before_send=partial(_before_send, scrubber),  # type: ignore[arg-type] # its events are mappings of any kind
        before_send_transaction=partial(_before_send_transaction, scrubber),  # type: ignore[arg-type] # as above
        before_send_log=partial(_before_send_log, scrubber),  # type: ignore[arg-type] # as above
        before_breadcrumb=partial(_before_breadcrumb, scrubber),
        auto_enabling_integrations=False,  # those of clients would keep their commands and URLs
        integrations=[
            CeleryIntegration(propagate_traces=False),
            LoggingIntegration(level=30, event_level=40, sentry_logs_level=None),
        ],
    )
    ignore_logger(_RECONNECTING)
    ignore_logger(_SENDING_SPANS)


def report_asyncio_errors() -> None:
    """Of the tasks of the loop that this is called in."""
    enable_asyncio_integration(task_spans=False)


class CheckIns:
    """Tells Sentry's crons that the timetable is looked at: of all workers once a minute at most."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def tell(self) -> bool:
        """Check in, if nobody has within this minute. Returns False: there is nothing more to be done at once."""
        if await self._redis.set(CHECK_IN_KEY, 1, nx=True, px=_CHECK_IN_MS):
            capture_checkin(_MONITOR, status="ok", monitor_config=_MONITOR_CONFIG)
        return False


def _before_send(scrubber: Scrubber, event: dict[str, Any], hint: Mapping[str, Any]) -> dict[str, Any] | None:
    error = (hint.get("exc_info") or (None, None))[1]
    if error is not None and not _is_news(event, error):
        return None
    record = hint.get("log_record")
    fields = record.msg if record is not None and isinstance(record.msg, Event) else None
    if fields is not None:
        told = {name: value for name, value in fields.items() if name not in ("event", "exc_info")}
        event["logentry"] = {"message": fields["event"]}
        event["fingerprint"] = [fields["event"], str(told.get("code") or told.get("error") or "")]
        event["tags"] = {**(event.get("tags") or {}), **{name: told[name] for name in told if name in TAGS}}
        event["extra"] = {name: value for name, value in told.items() if name not in TAGS}
    elif _mechanism(event) in ("asyncio", "celery"):
        event["tags"] = {**(event.get("tags") or {}), **worked_on()}
    return scrub_event(scrubber, event)


def _is_news(event: Mapping[str, Any], error: BaseException) -> bool:
    """Not expected, and not reported before: what breaks a task is met there, and again where it is logged."""
    if getattr(error, _REPORTED, False) or (_mechanism(event) != "logging" and isinstance(error, _EXPECTED)):
        return False
    setattr(error, _REPORTED, True)
    return True


def _mechanism(event: Mapping[str, Any]) -> str:
    values = (event.get("exception") or {}).get("values") or [{}]
    return str((values[-1].get("mechanism") or {}).get("type", ""))


def scrub_event(scrubber: Scrubber, event: Mapping[str, Any]) -> dict[str, Any]:
    """The event with everything scrubbed but ids and moments of Sentry's own, and ids of ours among its tags."""
    scrubbed = {key: _scrubbed(scrubber, part, (key,)) for key, part in event.items() if key != "tags"}
    if tags := event.get("tags"):
        scrubbed["tags"] = {name: _tag(scrubber, name, value) for name, value in dict(tags).items()}
    return scrubbed


def _tag(scrubber: Scrubber, name: str, value: Any) -> str:
    return str(masked_field(name, value)) if is_known_id(name, str(value)) else scrubber.text(str(value))


def _scrubbed(scrubber: Scrubber, value: Any, path: tuple[str, ...]) -> Any:
    if path in _SENTRYS_OWN:
        return value
    if isinstance(value, Mapping):
        return {
            scrubber.text(str(key)): HIDDEN
            if is_secret_name(str(key))
            else _scrubbed(scrubber, part, (*path, str(key)))
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_scrubbed(scrubber, part, (*path, _ANY)) for part in value]
    if isinstance(value, str) and path[-1] in _OF_A_FRAME and path[-3:-1] == ("frames", _ANY):
        return mask_text(value)
    return scrubber.value(value)


def _before_send_transaction(scrubber: Scrubber, event: dict[str, Any], _: Mapping[str, Any]) -> dict[str, Any]:
    return scrub_event(scrubber, event)


def _before_send_log(scrubber: Scrubber, log: dict[str, Any], _: Mapping[str, Any]) -> dict[str, Any]:
    own = ("time_unix_nano", "trace_id", "span_id")
    return {key: part if key in own else _scrubbed(scrubber, part, ("log", key)) for key, part in log.items()}


def _before_breadcrumb(scrubber: Scrubber, crumb: dict[str, Any], hint: Mapping[str, Any]) -> dict[str, Any]:
    record = hint.get("log_record")
    if record is not None and isinstance(record.msg, Event):
        fields = {name: value for name, value in record.msg.items() if name not in ("event", "exc_info")}
        crumb = {**crumb, "message": record.msg["event"], "data": fields}
    own = ("timestamp",)
    return {key: part if key in own else _scrubbed(scrubber, part, ("crumb", key)) for key, part in crumb.items()}
