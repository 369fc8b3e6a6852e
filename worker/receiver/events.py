"""What came in, per webhook-id and in total."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Call:
    """One call as it was answered.

    Attributes:
        at_ms: when it arrived, Unix ms.
        number: which call with this webhook-id it is, from 1; 0 for one without.
        refusal: why it is not verified; empty where it is. The next two are then unknown.
        status: of the answer.
        has_other_body: an earlier call with this webhook-id brought another body.
    """

    at_ms: int
    webhook_id: str
    number: int
    refusal: str
    status: int
    type: str | None = None
    data: Any = None
    has_other_body: bool = False


@dataclass
class Event:
    """All calls with one webhook-id.

    `received` counts all of them, `verified` the delivered ones; `type` and `data` are those of the last verified body.
    """

    webhook_id: str
    type: str | None = None
    received: int = 0
    verified: int = 0
    data: Any = None
    body_digests: set[bytes] = field(default_factory=set)

    def keep(self, body: bytes) -> None:
        """Take over the content of a body whose signature holds."""
        self.body_digests.add(hashlib.sha256(body).digest())
        self.type, self.data = _content(body)

    def summary(self) -> dict[str, Any]:
        """Return the event as JSON values: webhook_id, type, received, verified, data."""
        return {
            "webhook_id": self.webhook_id,
            "type": self.type,
            "received": self.received,
            "verified": self.verified,
            "data": self.data,
        }


class Events:
    """Everything since the start, in memory: an event per webhook-id is kept for good."""

    def __init__(self) -> None:
        self._received = 0
        self._verified = 0
        self._refused = 0
        self._events: dict[str, Event] = {}

    def arrived(self, webhook_id: str | None) -> int:
        """Count a call, whatever will become of it; the number of this one among those with its webhook-id."""
        self._received += 1
        if not webhook_id:
            return 0
        event = self._events.setdefault(webhook_id, Event(webhook_id))
        event.received += 1
        return event.received

    def refused(self) -> None:
        """Count a call that is not verified."""
        self._refused += 1

    def authentic(self, webhook_id: str, body: bytes) -> Event:
        """Keep the content of a call whose signature holds, delivered or not: every try must carry the same body."""
        event = self._events[webhook_id]
        event.keep(body)
        return event

    def delivered(self, webhook_id: str) -> None:
        """Count a call that was verified and accepted."""
        self._verified += 1
        self._events[webhook_id].verified += 1

    def stats(self) -> dict[str, int]:
        """Return the totals.

        `received`, `verified` and `refused` count calls (what is missing was answered 500 on purpose), `events` the
        webhook-ids delivered at least once, `duplicates` further deliveries of them, `bodies_differ` the webhook-ids
        that came with more than one body.
        """
        events = sum(event.verified > 0 for event in self._events.values())
        return {
            "received": self._received,
            "verified": self._verified,
            "refused": self._refused,
            "events": events,
            "duplicates": self._verified - events,
            "bodies_differ": sum(len(event.body_digests) > 1 for event in self._events.values()),
        }

    def summaries(self, event_type: str | None) -> list[dict[str, Any]]:
        """Return all events, or those of one type, in the order of their first call."""
        return [event.summary() for event in self._events.values() if event_type in (None, event.type)]


def _content(body: bytes) -> tuple[str | None, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(message, dict):
        return None, None
    event_type = message.get("type")
    return event_type if isinstance(event_type, str) else None, message.get("data")
