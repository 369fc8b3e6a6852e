"""Logs and error reports without phone numbers or secrets."""

import logging
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration

from worker.domain.masking import mask_text

_HIDDEN = "[hidden]"
_SECRET_WORDS = ("secret", "token", "signature", "authorization", "password", "access_key", "dsn")


class MaskingFormatter(logging.Formatter):
    """Formats a record, traceback included, with each run of seven or more digits masked."""

    def format(self, record: logging.LogRecord) -> str:
        return mask_text(super().format(record))


class _MaskedFormatter(logging.Formatter):
    """Masks what another formatter makes of a record."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        return mask_text(self._formatter.format(record))


def mask_handlers(logger: logging.Logger) -> None:
    """Mask what this logger's handlers write, whoever set them up. Twice does no harm."""
    for handler in logger.handlers:
        if not isinstance(handler.formatter, MaskingFormatter | _MaskedFormatter):
            handler.setFormatter(_MaskedFormatter(handler.formatter or logging.Formatter()))


def set_up_logging(level: str) -> None:
    """Log to standard error, masked."""
    handler = logging.StreamHandler()
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def set_up_sentry(dsn: str, environment: str, release: str) -> None:
    """Send unexpected errors to Sentry, scrubbed. Without a DSN nothing is sent."""
    if dsn:
        sentry_sdk.init(
            dsn=dsn,
            environment=environment,
            release=release,
            include_local_variables=False,
            max_breadcrumbs=20,
            before_send=lambda event, _hint: scrub(event),
            before_breadcrumb=lambda crumb, _hint: scrub(crumb),
            integrations=[CeleryIntegration(propagate_traces=False)],
        )


def scrub(value: Any) -> Any:
    """The value with numbers masked and everything under a secret's name hidden."""
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, dict):
        return {key: _HIDDEN if _is_secret(str(key)) else scrub(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(part) for part in value]
    return value


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)
