"""What Celery carries: names, queues and the messages themselves.

A message holds job ids of one lane, never a phone number. It is a hint that work exists: losing or doubling one harms
nothing. Messages carry a version, so that a worker can tell a newer producer's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from worker.domain.formats import MESSAGE
from worker.domain.job import Lane
from worker.domain.job_ids import is_job_id

IDS_PER_MESSAGE = 100
"""At most; more would make one lost message a long wait."""

TASK_PREFIX = "axn."
"""Of all our tasks, in every release."""
TASK_BIND = "axn.bind"
"""One bind request, from any Celery client in any language."""
TASK_UPDATE = "axn.update"
"""One update request, likewise."""
TASK_UNBIND = "axn.unbind"
"""One unbind request, likewise."""
TASK_REBIND = "axn.rebind"
"""One rebind request, likewise."""
TASK_JOBS = "axn.jobs"
"""Ids of jobs that stand in the ledger."""
TASK_CALLBACKS = "axn.callbacks"
"""webhook-ids of callbacks that are due again, and lines of callbacks that somebody must look at."""

LINE_MARK = "@"
"""Before a host: the line of callbacks that wait for this receiver."""
ORDER_MARK = "!"
"""Before a name: the line of callbacks with one order key."""
BATCH_MARK = "%"
"""Before a batch's id: its rows are to be fed."""
RENEWAL_MARK = "^"
"""Before a partition's two digits: its bindings are to be renewed. Before a binding's id: its renewal."""


@dataclass(frozen=True, slots=True)
class IdsMessage:
    """What a message says.

    Attributes:
        published_at_ms: Unix ms by Redis's clock; 0 where it does not tell.
    """

    lane: Lane
    ids: list[str]
    published_at_ms: int


def encode_ids(lane: Lane, ids: Sequence[str], published_at_ms: int) -> dict[str, Any]:
    """The one argument of a message."""
    return {"v": MESSAGE.writes, "lane": lane.value, "ids": list(ids), "at": published_at_ms}


def decode_ids(message: object) -> IdsMessage:
    """What a message says; ids of another form are left out.

    Raises:
        NewerFormatError: a newer release's. ValueError: not such a message. Nothing is lost by dropping either: the
            timetable publishes again what is not finished.
    """
    version = _version_of(message)
    MESSAGE.check(version)
    if not isinstance(message, dict) or version < 1 or not isinstance(message.get("ids"), list):
        raise ValueError(f"not a message of version {MESSAGE.reads}")
    ids = [id_ for id_ in message["ids"] if isinstance(id_, str) and _is_id(id_)]
    at = message.get("at")
    return IdsMessage(Lane(str(message.get("lane"))), ids, at if isinstance(at, int) else 0)


def _version_of(message: object) -> int:
    version = message.get("v") if isinstance(message, dict) else None
    return version if isinstance(version, int) else 0


def _is_id(id_: str) -> bool:
    return id_.startswith((LINE_MARK, ORDER_MARK, BATCH_MARK, RENEWAL_MARK)) or is_job_id(id_.partition("-")[0])


def in_messages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids, a message's worth at a time."""
    for start in range(0, len(ids), IDS_PER_MESSAGE):
        yield ids[start : start + IDS_PER_MESSAGE]
