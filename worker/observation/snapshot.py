"""The whole system at one moment, read from Redis and the broker: for `axn status` and for the metrics."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.ledger.keys import ALL_PARTITIONS, PROGRESS_KEY, dead_callbacks_key, index_keys, timetable_key
from worker.observation.presence import PRESENCES_KEY, Presence, read_presences
from worker.pace.desk import PaceDesk
from worker.pace.state import AccountState

_MS_PER_S = 1_000
_PER_PARTITION = 5

Backlogs = Callable[[], Awaitable[Mapping[Lane, int]]]
"""Messages that wait in each lane's queue; a lane is left out where the broker does not tell."""


@dataclass(frozen=True, slots=True)
class LaneQueue:
    """What waits in a lane's queue.

    Attributes:
        oldest_ms: age of the oldest message, counted from the newest that was taken up; 0 where none waits.
    """

    messages: int
    oldest_ms: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The system.

    Attributes:
        at: Unix ms by Redis's clock.
        in_doubt, failed: jobs on record.
        dead_callbacks: given up, on record.
        unfinished: jobs and callbacks that stand in the timetable.
        late_ms: how long ago the earliest entry of the timetable was due that nobody has taken.
        queues: by lane; a lane is left out where the broker does not tell.
        workers: that have told of themselves lately.
    """

    at: int
    in_doubt: int
    failed: int
    dead_callbacks: int
    unfinished: int
    late_ms: int
    queues: Mapping[Lane, LaneQueue]
    workers: Sequence[Presence]
    account: AccountState


async def take_snapshot(redis: Redis, pace: PaceDesk, backlogs: Backlogs) -> Snapshot:
    """Read it: two round trips to Redis, and one question to the broker.

    Args:
        redis: a client that decodes replies to text.
        pace: of the settings' account.
        backlogs: see there.

    Raises:
        RedisError: it did not answer.
    """
    waiting = await backlogs()
    pipeline = redis.pipeline(transaction=False)
    pipeline.time()
    pipeline.hgetall(PROGRESS_KEY)
    pipeline.hgetall(PRESENCES_KEY)
    for partition in ALL_PARTITIONS:
        for key in (*index_keys(partition), dead_callbacks_key(partition), timetable_key(partition)):
            pipeline.zcard(key)
        pipeline.zrange(timetable_key(partition), 0, 0, withscores=True)
    (seconds, micros), taken_up, told, *counted = await pipeline.execute()
    now_ms = int(seconds) * _MS_PER_S + int(micros) // _MS_PER_S
    in_doubt, failed, dead, entries, earliest = (counted[place::_PER_PARTITION] for place in range(_PER_PARTITION))
    due_ms = min((pairs[0][1] for pairs in earliest if pairs), default=now_ms)
    return Snapshot(
        at=now_ms,
        in_doubt=sum(in_doubt),
        failed=sum(failed),
        dead_callbacks=sum(dead),
        unfinished=sum(entries),
        late_ms=max(int(now_ms - due_ms), 0),
        queues={lane: _queue(count, int(taken_up.get(lane.value, 0)), now_ms) for lane, count in waiting.items()},
        workers=[presence for presence in read_presences(told) if presence.is_there(now_ms)],
        account=await pace.read(),
    )


def _queue(messages: int, taken_up_at: int, now_ms: int) -> LaneQueue:
    return LaneQueue(messages, max(now_ms - taken_up_at, 0) if messages and taken_up_at else 0)
