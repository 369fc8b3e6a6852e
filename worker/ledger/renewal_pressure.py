"""What is about to end among the bindings whose renewal is due: counted by the end, which orders them. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.renewal_keys import renewals_due_key, renewals_failing_key

_FAILING_PER_PARTITION = 500


@dataclass(frozen=True, slots=True)
class Pressure:
    """What waits to be renewed. Times are Unix ms by Redis's clock.

    Attributes:
        due: bindings whose time has come.
        ending_within: by each span that was asked for, in ms: how many of them end from now to then, ended ones too.
    """

    now_ms: int
    due: int
    ending_within: dict[int, int]


async def pressure(redis: Redis, spans_ms: Sequence[int]) -> Pressure:
    """How many due bindings end soon. Where nothing is due, one small round trip.

    Raises:
        RedisError: or OSError: Redis cannot be asked.
    """
    client: Any = redis
    pipeline = client.pipeline(transaction=False)
    pipeline.time()
    for partition in ALL_PARTITIONS:
        pipeline.zcard(renewals_due_key(partition))
    (seconds, micros), *sizes = await pipeline.execute()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    filled = [partition for partition, size in zip(ALL_PARTITIONS, sizes, strict=True) if size]
    if not filled:
        return Pressure(now_ms, 0, dict.fromkeys(spans_ms, 0))
    pipeline = client.pipeline(transaction=False)
    for partition in filled:
        for span_ms in spans_ms:
            pipeline.zcount(renewals_due_key(partition), "-inf", now_ms + span_ms)
    counts = await pipeline.execute()
    ending = {span_ms: sum(counts[place :: len(spans_ms)]) for place, span_ms in enumerate(spans_ms)}
    return Pressure(now_ms, sum(sizes), ending)


async def is_anything_due(redis: Redis) -> bool:
    """Whether any binding waits to be renewed, or its renewals fail: in one round trip.

    Raises:
        RedisError: or OSError: Redis cannot be asked.
    """
    client: Any = redis
    pipeline = client.pipeline(transaction=False)
    for partition in ALL_PARTITIONS:
        pipeline.zcard(renewals_due_key(partition))
        pipeline.hlen(renewals_failing_key(partition))
    return any(await pipeline.execute())


async def failing_ids(redis: Redis) -> list[str]:
    """Ids of bindings whose last try of a renewal failed: up to some hundreds of each partition.

    Raises:
        RedisError: or OSError: Redis cannot be asked.
    """
    client: Any = redis
    pipeline = client.pipeline(transaction=False)
    for partition in ALL_PARTITIONS:
        pipeline.hscan(renewals_failing_key(partition), 0, count=_FAILING_PER_PARTITION)
    return [binding_id for _, page in await pipeline.execute() for binding_id in page]
