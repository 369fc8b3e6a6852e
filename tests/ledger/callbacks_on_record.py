"""Callbacks as the scripts leave them in Redis, for tests of what people do with them."""

import json
from collections.abc import Iterable
from typing import Any

from worker.domain.job import Lane
from worker.domain.job_ids import job_id_for_key, partition_of
from worker.ledger.keys import callback_key, job_keys, job_of_webhook, member_of

A = "15012345678"
X = "17000001111"
HOST = "shop.example"
DAY_MS = 86_400_000
TRIES = [
    {"at_ms": 1_700_000_000_000, "status": 0, "ms": 3001, "error": "connect.timeout", "answer": ""},
    {"at_ms": 1_700_000_005_000, "status": 500, "ms": 12, "error": "http.500", "answer": f"{A} not served\n\x1b[31m"},
]


def webhook_id(key: str) -> str:
    return f"{job_id_for_key(key)}-1"


def body_of(id_: str) -> str:
    return json.dumps({"type": "bind.succeeded", "data": {"job_id": job_of_webhook(id_), "phone_no_x": X}})


def record(id_: str, state: str, **fields: Any) -> dict[str, Any]:
    told = {
        "v": "1", "job_id": job_of_webhook(id_), "url": f"https://{HOST}/axn", "host": HOST, "body": body_of(id_),
        "state": state, "tries": 2, "last_error": "http.500", "created_at": 1_700_000_000_000, "log": json.dumps(TRIES),
    }  # fmt: skip
    return {name: value for name, value in (told | fields).items() if value is not None}


def commands_of_dead(keys: Iterable[str], *, at_ms: int, **fields: Any) -> list[tuple[Any, ...]]:
    """Records and places in the index of callbacks that were given up, each a millisecond later than the one before."""
    commands: list[tuple[Any, ...]] = []
    for number, key in enumerate(keys):
        id_ = webhook_id(key)
        commands += [
            ("HSET", callback_key(id_), *_flat(record(id_, "dead", **fields))),
            ("PEXPIRE", callback_key(id_), 30 * DAY_MS),
            ("ZADD", job_keys(id_.partition("-")[0]).dead_callbacks, at_ms + number, member_of(Lane.CALLBACK, id_)),
        ]
    return commands


def commands_of_waiting(keys: Iterable[str], *, look_ms: int, **fields: Any) -> list[tuple[Any, ...]]:
    """The same of callbacks that wait for their next try."""
    commands: list[tuple[Any, ...]] = []
    for key in keys:
        id_ = webhook_id(key)
        timetable = job_keys(id_.partition("-")[0]).timetable
        commands += [
            ("HSET", callback_key(id_), *_flat(record(id_, "waiting", next_at=look_ms, **fields))),
            ("ZADD", timetable, look_ms, member_of(Lane.CALLBACK, id_)),
        ]
    return commands


def commands_of_job(key: str, callback_state: str, **fields: Any) -> list[tuple[Any, ...]]:
    """A finished job's record."""
    told = {"state": "bound", "fence": 1, "finished_at": 5, "callback_state": callback_state, "callback_attempts": 2}
    return [("HSET", job_keys(job_id_for_key(key)).job, *_flat(told | fields))]


def keys_of_partition(partition: int, count: int) -> list[str]:
    """Keys whose callbacks all stand in this partition."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        number += 1
        if partition_of(job_id_for_key(str(number))) == partition:
            found.append(str(number))
    return found


def _flat(fields: dict[str, Any]) -> list[Any]:
    return [part for pair in fields.items() for part in pair]
