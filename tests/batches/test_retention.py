"""Batches that ended long ago go, where a setting says when, and no others."""

from typing import Any

import pytest
from redis.asyncio import Redis

from tests.privacy.filled import BATCH, Parts, fill
from worker.batches.assembly import build_batch_retention
from worker.clock import SystemClock
from worker.errors import BatchNotFoundError
from worker.ledger.batch_rows import batch_keys, counts_key
from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.seal import NO_SEAL
from worker.settings import Settings

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("state", "ended_ago_ms", "opened", "goes"),
    [
        ("finished", 8 * DAY_MS, 0, True),
        ("cancelled", 8 * DAY_MS, 0, True),
        ("finished", 6 * DAY_MS, 0, False),
        ("cancelled", 8 * DAY_MS, 5, False),
        ("running", 0, 0, False),
    ],
    ids=["finished", "cancelled", "not yet", "its jobs are under way", "running"],
)
async def test_what_ended_long_ago_is_removed(
    redis: Redis, state: str, ended_ago_ms: int, opened: int, *, goes: bool
) -> None:
    parts, clock = Parts(redis, NO_SEAL), SystemClock()
    client: Any = redis
    await fill(parts)
    ended = {"finished_at": clock.unix_ms() - ended_ago_ms} if ended_ago_ms else {}
    await client.hset(batch_keys(BATCH).batch, mapping={"state": state, **ended})
    if opened:
        await client.hincrby(counts_key(0, BATCH), "opened", opened)
    settings = Settings.model_validate({"retention": {"batch": "7d"}})
    retention = build_batch_retention(settings, redis, NO_SEAL, clock)
    assert retention
    assert await retention.remove_old() is False
    if goes:
        with pytest.raises(BatchNotFoundError):
            await parts.batches.read(BATCH)
        assert not any([await client.exists(counts_key(number, BATCH)) for number in ALL_PARTITIONS])
    else:
        assert (await parts.batches.read(BATCH)).state == state


def test_by_default_nothing_is_removed(redis: Redis) -> None:
    assert build_batch_retention(Settings(), redis, NO_SEAL, SystemClock()) is None
