"""How a callback stands in its hash, and the values that its claims carry."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from worker.domain.formats import CALLBACK
from worker.domain.job import Lane
from worker.domain.job_ids import partition_of
from worker.ledger.keys import (
    job_of_webhook,
    member_of,
    order_name,
    receiver_line_key,
    receiver_line_member,
)

MOST_LOGGED = 20
"""Tries that a callback's log keeps, the newest."""


def flatten(pairs: Iterable[tuple[str, str | int]]) -> list[str]:
    """Field, value, field, value … as the scripts take them."""
    return [str(part) for pair in pairs for part in pair]


@dataclass(frozen=True, slots=True)
class CallbackWishes:
    """How a request wants its callbacks delivered.

    Attributes:
        deadline_in_ms: given up so long after the job was accepted; None: no such deadline.
        deadline_at_ms: given up at this Unix ms instead.
        order_key: one at a time, in order, for this key and receiver; empty: no order.
    """

    deadline_in_ms: int | None = None
    deadline_at_ms: int | None = None
    order_key: str = ""

    def fields(self) -> dict[str, str]:
        """Of the job's record; empty ones are left out there."""
        return {
            "callback_deadline_in": "" if self.deadline_in_ms is None else str(self.deadline_in_ms),
            "callback_deadline_at": "" if self.deadline_at_ms is None else str(self.deadline_at_ms),
            "callback_order_key": self.order_key,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> "CallbackWishes":
        """As a job's record has them."""
        in_ms, at_ms = record.get("callback_deadline_in"), record.get("callback_deadline_at")
        return cls(
            None if in_ms is None else int(in_ms),
            None if at_ms is None else int(at_ms),
            record.get("callback_order_key", ""),
        )

    def deadline(self, accepted_at: int) -> int:
        """Unix ms, 0 for none."""
        if self.deadline_in_ms is not None:
            return accepted_at + self.deadline_in_ms
        return self.deadline_at_ms or 0


NO_WISHES = CallbackWishes()


@dataclass(frozen=True, slots=True)
class OwedCallback:
    """A callback that a settlement owes, written with it.

    Attributes:
        host: its receiver: what callbacks are kept apart by.
        body: the exact text of every try.
        token: of the claim for the first try when this process makes it at once, else empty.
        lease_ms: of that claim; 0 where nobody tries at once: it stands in its receiver's line.
        deadline_at: Unix ms after which it is given up; 0: no such time.
        order_key: one at a time, in order, for this key and receiver; empty: no order.
        secret: name of the secret that signs; empty: the receiver's own.
        is_checkout: of a job of that lane: it stands before all others in its receiver's line.
        trace: the traceparent of its job; empty where that is not traced.
    """

    webhook_id: str
    url: str
    host: str
    body: str
    token: str = ""
    lease_ms: int = 0
    deadline_at: int = 0
    order_key: str = ""
    secret: str = ""
    is_checkout: bool = False
    trace: str = ""

    def pairs(self, job_id: str) -> list[str]:
        """Field, value, field, value … of the callback's record; the scripts add what the time decides."""
        fields = {"v": str(CALLBACK.writes), "job_id": job_id, "url": self.url, "host": self.host, "body": self.body}
        fields["state"] = "waiting"
        fields |= {"token": self.token, "tries": "1"} if self.token else {}
        told = {
            "deadline_at": str(self.deadline_at or ""),
            "order_key": self.order_key,
            "secret": self.secret,
            "checkout": "1" if self.is_checkout else "",
            "trace": self.trace,
        }
        return flatten((fields | {name: value for name, value in told.items() if value}).items())

    @property
    def member(self) -> str:
        """In the timetable and in its receiver's line."""
        return member_of(Lane.CALLBACK, self.webhook_id)

    @property
    def line_key(self) -> str:
        """Its receiver's line."""
        return line_of(self.webhook_id, self.host)

    @property
    def line_member(self) -> str:
        """That line's own member of the timetable."""
        return receiver_line_member(self.host)

    @property
    def order_name(self) -> str:
        """Of the order it keeps; empty for none."""
        return order_name(self.host, self.order_key) if self.order_key else ""

    def first_claim(self, job_id: str) -> "CallbackClaim":
        """Of who tries at once."""
        return CallbackClaim(
            webhook_id=self.webhook_id, token=self.token, job_id=job_id, url=self.url, host=self.host, body=self.body,
            tries=1, order_name=self.order_name, secret=self.secret, is_checkout=self.is_checkout, trace=self.trace,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoggedTry:
    """One line of a callback's log.

    Attributes:
        at_ms: when it ended, Unix ms by the worker's clock.
        status: of the answer, 0 without one.
        ms: how long it took.
        error: its class, empty for none.
        answer: its first characters, numbers masked.
    """

    at_ms: int
    status: int
    ms: int
    error: str
    answer: str


@dataclass(frozen=True, slots=True)
class CallbackClaim:
    """A callback under lease.

    Attributes:
        tries: this one counted.
        late_error: why it must be given up now, `deadline` or `too_old`: nothing may be sent, and no try was numbered.
            Empty where it may be tried.
        order_name: of the order it keeps; empty for none.
        log: the earlier tries, a JSON text.
        is_checkout: as of the callback that is owed.
        trace: as above.
    """

    webhook_id: str
    token: str
    job_id: str
    url: str
    host: str
    body: str
    tries: int
    late_error: str = ""
    order_name: str = ""
    secret: str = ""
    log: str = ""
    is_checkout: bool = False
    trace: str = ""

    def log_with(self, new: LoggedTry) -> str:
        """The log with one more try: a JSON text, oldest first."""
        try:
            earlier = json.loads(self.log or "[]")
        except ValueError:
            earlier = []
        tries = [*(earlier if isinstance(earlier, list) else []), asdict(new)]
        return json.dumps(tries[-MOST_LOGGED:], ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class CallbackHead:
    """What must be known of a callback before it can be claimed."""

    webhook_id: str
    url: str
    host: str
    order_key: str
    is_checkout: bool = False

    @property
    def order_name(self) -> str:
        """Of the order it keeps; empty for none."""
        return order_name(self.host, self.order_key) if self.order_key else ""


def line_of(webhook_id: str, host: str) -> str:
    """The line of this receiver in the callback's partition."""
    return receiver_line_key(partition_of(job_of_webhook(webhook_id)), host)
