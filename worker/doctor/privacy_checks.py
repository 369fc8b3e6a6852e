"""Numbers at rest: can this process read those that are sealed, and are those sealed that should be?"""

from collections import Counter
from contextlib import aclosing
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.doctor.finding import Finding, error, good, unknown, warning
from worker.errors import SealError
from worker.ledger.record_walk import RecordKind, walk_records
from worker.ledger.seal import Seal, key_id_of
from worker.ledger.sealed_records import BODY, opened_record, plain_numbers, sealed_texts

_AREA = "ledger.numbers"
_LOOKED_AT = 500
_PER_PAGE = 100
_FIELDS = ("request", "phone_no_x", "old_phone_no_x", BODY)


async def check_numbers(redis: Redis, seal: Seal) -> Finding:
    """Look at some records, as SCAN comes to them; nothing is changed.

    Args:
        redis: a client that decodes replies to text.
        seal: of this process's settings.
    """
    try:
        by_key, plain, unreadable = await _sample(redis, seal)
    except (RedisError, OSError) as failure:
        return unknown(_AREA, f"could not be looked at ({type(failure).__name__})")
    if unreadable:
        ids = ", ".join(sorted(unreadable))
        remedy = "add the missing keys to AXN_ENCRYPTION__KEYS behind the first one; until then these jobs wait"
        return error(_AREA, f"{sum(unreadable.values())} of some records cannot be read here (keys: {ids})", remedy)
    if not seal.is_on:
        why = "begins with `plain`" if seal.keys else "is not set"
        return good(_AREA, f"stand in Redis as they are (AXN_ENCRYPTION__KEYS {why})")
    if plain or any(key_id != seal.writes_with for key_id in by_key):
        told = f"some records are not sealed by {seal.writes_with}, the ring's first key"
        return warning(_AREA, told, "`axn keys rotate`, once every process has the ring; `axn keys show` counts them")
    return good(_AREA, f"are sealed by {seal.writes_with}")


async def _sample(redis: Redis, seal: Seal) -> tuple[Counter[str], int, Counter[str]]:
    """Records by their keys' ids, how many hold plain numbers, and by key those that cannot be read."""
    by_key, unreadable, plain, seen = Counter[str](), Counter[str](), 0, 0
    client: Any = redis
    async with aclosing(walk_records(redis, _PER_PAGE)) as pages:
        async for page in pages:
            hashes = [place for place in page if place.kind is not RecordKind.CHUNK]
            pipeline = client.pipeline(transaction=False)
            for place in hashes:
                pipeline.hmget(place.key, _FIELDS)
            for place, values in zip(hashes, await pipeline.execute(raise_on_error=False), strict=True):
                if isinstance(values, Exception):
                    continue
                record = {name: value for name, value in zip(_FIELDS, values, strict=True) if value}
                ids = {key_id_of(text) for name, value in record.items() for text in sealed_texts(name, value)}
                by_key.update(ids)
                plain += any(plain_numbers(name, value) for name, value in record.items())
                try:
                    opened_record(seal, place.id, record)
                except SealError:
                    unreadable.update(ids)
            seen += len(page)
            if seen >= _LOOKED_AT:
                break
    return by_key, plain, unreadable
