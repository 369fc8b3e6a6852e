"""All records that may hold numbers, page by page, beside running workers.

SCAN names each key that is there all the while at least once; what comes or goes meanwhile may be missed or come twice.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis.asyncio import Redis

from worker.ledger.index_walk import in_batches
from worker.ledger.keys import VERSION

_KEYS_PER_PAGE = 1_000
_FORM = re.compile(rf"{VERSION}:\{{p\d\d\}}:(?:(job|callback):([^:]+)|batch:([^:]+):chunk:(\d+))")


class RecordKind(StrEnum):
    """What a key holds."""

    JOB = "job"
    """Hash: a job, and its binding."""
    CALLBACK = "callback"
    """Hash: a callback that is not delivered."""
    CHUNK = "chunk"
    """Text: rows of a batch; their outcomes stand in hashes that follow from its place."""


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a record stands.

    Attributes:
        id: of the job, the callback or the batch.
        chunk: its number, of a chunk.
    """

    key: str
    kind: RecordKind
    id: str
    chunk: int = 0


async def walk_records(redis: Redis, size: int) -> AsyncGenerator[list[RecordPlace], None]:
    """So many of them at a time."""
    async with aclosing(in_batches(_places(redis), size)) as pages:
        async for page in pages:
            yield page


async def _places(redis: Redis) -> AsyncGenerator[RecordPlace, None]:
    keys: Any = redis.scan_iter(f"{VERSION}:{{p??}}:*", count=_KEYS_PER_PAGE)
    async for key in keys:
        if place := place_of(key):
            yield place


def place_of(key: str) -> RecordPlace | None:
    """What a key's name tells; None where it is of no such record."""
    found = _FORM.fullmatch(key)
    if not found:
        return None
    kind, id_, batch_id, chunk = found.groups()
    if kind:
        return RecordPlace(key, RecordKind(kind), id_)
    return RecordPlace(key, RecordKind.CHUNK, batch_id, int(chunk))
