"""How the batches stand, all together: each batch's state, and the rows of those that have not ended."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from worker.domain.batch import Batch, BatchState
from worker.domain.batch_hours import next_opening
from worker.ledger.batch_records import BatchCounts, batch_from
from worker.ledger.batch_rows import batch_keys, batches_key, counts_key
from worker.ledger.keys import ALL_PARTITIONS

_MOST_LOOKED_INTO = 100
_MOMENTS = ("created_at", "began_at", "resumed_at", "moved_at")
NOT_BEGUN = "not_begun"
ALIVE = "alive"


@dataclass(frozen=True, slots=True)
class BatchStanding:
    """The batches on record.

    Attributes:
        by_state: how many there are, every state named.
        rows: of those that run or are paused, by the state of their outcome; ALIVE and NOT_BEGUN those without one.
        idle_ms: how long no row has begun or ended in the one that stands still longest, of those that run, within
            their hours, or that trouble has paused.
    """

    by_state: Mapping[BatchState, int]
    rows: Mapping[str, int]
    idle_ms: int


async def batch_standing(redis: Redis, now_ms: int) -> BatchStanding:
    """Read it: a command for each batch on record, and seventeen for each of at most 100 that have not ended.

    Args:
        redis: a client that decodes replies to text.
        now_ms: Unix ms by Redis's clock.

    Raises:
        RedisError: or OSError: Redis cannot be asked.
    """
    states = await _states(redis)
    under_way = [batch_id for batch_id, state in states.items() if state in (BatchState.RUNNING, BatchState.PAUSED)]
    rows: Counter[str] = Counter({ALIVE: 0, NOT_BEGUN: 0})
    idle_ms = 0
    for record, counts, batch in await _read(redis, under_way[:_MOST_LOOKED_INTO]):
        rows.update({**batch.by_state, ALIVE: batch.alive, NOT_BEGUN: batch.rows - batch.begun})
        idle_ms = max(idle_ms, _idle_ms(record, counts, batch, now_ms))
    counted = Counter(states.values())
    return BatchStanding({state: counted[state] for state in BatchState}, rows, idle_ms)


async def _states(redis: Redis) -> dict[str, BatchState]:
    pipeline: Any = redis.pipeline(transaction=False)
    for partition in ALL_PARTITIONS:
        pipeline.smembers(batches_key(partition))
    ids = sorted(batch_id for some in await pipeline.execute() for batch_id in some)
    if not ids:
        return {}
    pipeline = redis.pipeline(transaction=False)
    for batch_id in ids:
        pipeline.hmget(batch_keys(batch_id).batch, ["state", "removing"])
    found = zip(ids, await pipeline.execute(), strict=True)
    known = {state.value for state in BatchState}
    return {batch_id: BatchState(state) for batch_id, (state, removing) in found if state in known and not removing}


async def _read(redis: Redis, ids: Sequence[str]) -> list[tuple[Mapping[str, str], BatchCounts, Batch]]:
    if not ids:
        return []
    pipeline: Any = redis.pipeline(transaction=False)
    for batch_id in ids:
        pipeline.hgetall(batch_keys(batch_id).batch)
        for partition in ALL_PARTITIONS:
            pipeline.hgetall(counts_key(partition, batch_id))
    replies, size = await pipeline.execute(), 1 + len(ALL_PARTITIONS)
    found = []
    for place, batch_id in enumerate(ids):
        record, *hashes = replies[place * size : (place + 1) * size]
        if record:  # it may have been removed meanwhile
            counts = BatchCounts.of(hashes)
            found.append((record, counts, batch_from(batch_id, record, counts)))
    return found


def _idle_ms(record: Mapping[str, str], counts: BatchCounts, batch: Batch, now_ms: int) -> int:
    is_paused_by_somebody = batch.state is BatchState.PAUSED and record.get("paused_by")
    is_out_of_hours = not batch.alive and next_opening(batch.options, now_ms)
    if is_paused_by_somebody or is_out_of_hours:
        return 0
    return max(now_ms - max(counts.ended_at, *(int(record.get(name, 0)) for name in _MOMENTS)), 0)
