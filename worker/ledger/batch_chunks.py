"""A chunk of a batch as it stands in Redis: its rows' texts, and what became of them so far."""

from redis.asyncio import Redis
from redis.client import NEVER_DECODE

from worker.errors import BatchNotFoundError
from worker.ledger.batch_records import CHUNK_PLACE, DIGEST_BYTES, unpacked
from worker.ledger.batch_rows import WrittenOutcome, chunk_key, outcomes_key
from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.seal import NO_SEAL, Seal


async def read_rows(redis: Redis, batch_id: str, chunk: int, seal: Seal = NO_SEAL) -> list[str]:
    """The texts of a chunk's rows.

    Raises:
        BatchNotFoundError: it is gone, with its batch.
        SealError: they cannot be read with this seal's keys.
    """
    content = await redis.execute_command("GET", chunk_key(batch_id, chunk), **{NEVER_DECODE: []})  # type: ignore[no-untyped-call]
    if content is None:
        raise BatchNotFoundError(batch_id)
    return unpacked(seal.unpacked(batch_id, f"{CHUNK_PLACE}{chunk}", content[DIGEST_BYTES:]))


async def read_outcomes(redis: Redis, batch_id: str, chunk: int) -> dict[int, WrittenOutcome]:
    """A chunk's outcomes so far, by the rows' indexes in it."""
    async with redis.pipeline(transaction=False) as pipeline:
        for partition in ALL_PARTITIONS:
            pipeline.hgetall(outcomes_key(partition, batch_id, chunk))
        found = await pipeline.execute()
    return {int(index): WrittenOutcome.parse(text) for some in found for index, text in some.items()}
