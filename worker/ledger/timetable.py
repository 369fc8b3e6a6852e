"""What must be looked at, and when: one sorted set per partition."""

from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.ledger.keys import ALL_PARTITIONS, split_member, timetable_key
from worker.redis_scripts import load_script


class Timetable:
    """Takes due entries. Writing them is part of every script that changes a job.

    Args:
        redis: a client that decodes replies to text.
        next_look_ms: when an entry that was taken comes due again, should nobody have dealt with it.
        most_per_partition: how many entries one tick takes of each partition.
    """

    def __init__(self, redis: Redis, *, next_look_ms: int, most_per_partition: int) -> None:
        self._redis = redis
        self._next_look_ms = next_look_ms
        self._most = most_per_partition
        self._take_due = load_script(redis, "worker.ledger", "take_due")

    async def take_due(self) -> list[tuple[Lane, str]]:
        """Lane and id of everything that is due, from all partitions in one round trip."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            await self._take_due([timetable_key(partition)], [self._most, self._next_look_ms], client=pipeline)
        return [split_member(member) for members in await pipeline.execute() for member in members]

    async def size(self) -> int:
        """Entries in all partitions."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.zcard(timetable_key(partition))
        return sum(await pipeline.execute())
