"""A callback's record as people may see it: whoever reads it here gets its numbers masked and nothing unprintable.

What a receiver answered is a stranger's text: it could hold a number that it was told, or the escape codes by which a
terminal is made to show something else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.domain.masking import mask_text, mask_value
from worker.errors import SealError
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import BODY, opened_value

_LONGEST_ANSWER = 1024
LISTED_FIELDS = (
    "job_id", "url", "host", "body", "state", "tries", "last_error", "created_at", "next_at", "lease_until",
    "deadline_at", "order_key", "secret", "replays", "replayed_at", "replayed_by",
)  # fmt: skip
"""What a list needs of each record: the tries' log is by far its largest field."""


class CallbackState(StrEnum):
    """Where a callback stands."""

    WAITING = "waiting"
    """To be tried, or being tried."""
    DEAD = "dead"
    """Given up: it stays on record until a person replays it, for AXN_DEAD_CALLBACK_TTL."""
    DELIVERED = "delivered"
    """The receiver took it. Only its job's record still tells so."""


@dataclass(frozen=True, slots=True)
class CallbackTry:
    """One try.

    Attributes:
        at_ms: when it began, Unix ms.
        status: the HTTP status; 0 where there was no answer.
        ms: how long it took.
        error: the class of failure where there was no answer.
        answer: the beginning of the answer's body.
    """

    at_ms: int
    status: int
    ms: int
    error: str
    answer: str


@dataclass(frozen=True, slots=True)
class Callback:
    """One callback.

    Times are Unix milliseconds by Redis's clock, 0 where the thing has not happened or is not known.

    Attributes:
        webhook_id: the receiver knows it by this id.
        type: of its event, such as `bind.succeeded`.
        url: as the request named it.
        host: its receiver's; empty in older records.
        tries: made so far, or since the last replay.
        last_error: what the last failed try came to.
        next_at: when it is tried next.
        leased_until: until when a worker may still be trying it.
        died_at: when it was given up.
        kept_until: when a dead one is forgotten.
        replays: how often people put it back.
        log: the newest tries, oldest first. Lists leave it out.
        body: the exact text of every try.
    """

    webhook_id: str
    job_id: str
    state: CallbackState
    type: str = ""
    url: str = ""
    host: str = ""
    tries: int = 0
    last_error: str = ""
    created_at: int = 0
    next_at: int = 0
    leased_until: int = 0
    deadline_at: int = 0
    died_at: int = 0
    kept_until: int = 0
    order_key: str = ""
    secret: str = ""
    replays: int = 0
    replayed_at: int = 0
    replayed_by: str = ""
    log: tuple[CallbackTry, ...] = ()
    body: str = ""

    @property
    def masked_body(self) -> str:
        """The body with each of its numbers masked."""
        return mask_text(self.body)

    @property
    def masked_url(self) -> str:
        """The URL with each of its numbers masked."""
        return printable(mask_text(self.url))


def callback_from_record(
    webhook_id: str,
    record: Mapping[str, str | None],
    *,
    died_at: float = 0,
    kept_until: int = 0,
    seal: Seal = NO_SEAL,
) -> Callback:
    """Read a callback's hash. What cannot be read of it is left out: a person looks at it, perhaps because of that."""
    is_dead = record.get("state") == CallbackState.DEAD
    try:
        body = opened_value(seal, webhook_id, BODY, _text(record, "body"))
    except SealError:
        body = ""
    return Callback(
        webhook_id=webhook_id,
        job_id=_text(record, "job_id"),
        state=CallbackState.DEAD if is_dead else CallbackState.WAITING,
        type=_type_of(body),
        url=_text(record, "url"),
        host=_text(record, "host"),
        tries=_number(record, "tries"),
        last_error=printable(mask_text(_text(record, "last_error"))),
        created_at=_number(record, "created_at"),
        next_at=0 if is_dead else _number(record, "next_at"),
        leased_until=0 if is_dead else _number(record, "lease_until"),
        deadline_at=_number(record, "deadline_at"),
        died_at=int(died_at) if is_dead else 0,
        kept_until=max(kept_until, 0) if is_dead else 0,
        order_key=printable(mask_text(_text(record, "order_key"))),
        secret=_text(record, "secret"),
        replays=_number(record, "replays"),
        replayed_at=_number(record, "replayed_at"),
        replayed_by=_text(record, "replayed_by"),
        log=_log_of(_text(record, "log")),
        body=body,
    )


def printable(text: str) -> str:
    """The text with control and other unprintable characters written out, line ends kept."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _text(record: Mapping[str, str | None], name: str) -> str:
    return record.get(name) or ""


def _number(record: Mapping[str, Any], name: str) -> int:
    try:
        return int(float(record.get(name) or 0))
    except (TypeError, ValueError, OverflowError):
        return 0


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _type_of(body: str) -> str:
    event = _parsed(body)
    return printable(str(event.get("type", ""))) if isinstance(event, dict) else ""


def _log_of(text: str) -> tuple[CallbackTry, ...]:
    entries = _parsed(text)
    entries = entries if isinstance(entries, Sequence) else ()
    return tuple(_try_of(entry) for entry in entries if isinstance(entry, dict))


def _try_of(entry: Mapping[str, Any]) -> CallbackTry:
    return CallbackTry(
        at_ms=_number(entry, "at_ms"),
        status=_number(entry, "status"),
        ms=_number(entry, "ms"),
        error=printable(mask_text(str(entry.get("error") or ""))),
        answer=printable(mask_value(str(entry.get("answer") or ""), longest=_LONGEST_ANSWER)),
    )
