"""How the renewals stand, all partitions together: some commands for each partition, however many bindings are kept."""

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.renewal_keys import renewals_due_key, renewals_failing_key, renewals_key

_PER_PARTITION = 6
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class RenewalStanding:
    """How many kept bindings there are.

    Attributes:
        kept: all that are to be renewed at some time.
        due_in_hour, due_in_day: whose time comes within it, late ones included.
        late: whose time has come and that are not renewed yet; tries that are put off are not among them.
        late_ms: how long ago the first of those was due that are not even taken up.
        failing: whose last try failed, to be tried again.
    """

    kept: int
    due_in_hour: int
    due_in_day: int
    late: int
    late_ms: int
    failing: int


async def renewal_standing(redis: Redis, now_ms: int) -> RenewalStanding:
    """Read it in one round trip.

    Args:
        redis: a client that decodes replies to text.
        now_ms: Unix ms by Redis's clock.

    Raises:
        RedisError: or OSError: Redis cannot be asked.
    """
    pipeline: Any = redis.pipeline(transaction=False)
    for partition in ALL_PARTITIONS:
        pipeline.zcard(renewals_due_key(partition))
        pipeline.zcard(renewals_key(partition))
        for span_ms in (0, HOUR_MS, DAY_MS):
            pipeline.zcount(renewals_key(partition), "-inf", now_ms + span_ms)
        pipeline.hlen(renewals_failing_key(partition))
    for partition in ALL_PARTITIONS:
        pipeline.zrange(renewals_key(partition), 0, 0, withscores=True)
    replies = await pipeline.execute()
    counted, firsts = replies[: -len(ALL_PARTITIONS)], replies[-len(ALL_PARTITIONS) :]
    taken_up, waiting, late, hour, day, failing = (sum(counted[at::_PER_PARTITION]) for at in range(_PER_PARTITION))
    first = min((int(pairs[0][1]) for pairs in firsts if pairs), default=now_ms)
    return RenewalStanding(
        kept=waiting + taken_up,
        due_in_hour=hour + taken_up,
        due_in_day=day + taken_up,
        late=late + taken_up,
        late_ms=max(now_ms - first, 0),
        failing=failing,
    )
