"""What must be looked at, and when: one sorted set per partition."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.ledger.keys import ALL_PARTITIONS, PROGRESS_KEY, split_member, timetable_key
from worker.logs import get_log
from worker.redis_scripts import load_script

EVERYTHING = math.inf
"""Of a lane: each message of it has been taken up, so what nobody dealt with is to be published again."""
_A_TIME_BEYOND_ALL = 2**52


_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """What a look at the timetable brought.

    Attributes:
        now_ms: Redis's clock at the look.
        entries: lane and id of all that is to be published.
        still_queued: how many entries were due, and not published again because their message must still be queued.
    """

    now_ms: int
    entries: list[tuple[Lane, str]]
    still_queued: int


NOTHING = Due(0, [], 0)


class Timetable:
    """Takes due entries. Writing them is part of every script that changes a job.

    Args:
        redis: a client that decodes replies to text.
        next_look_ms: from a publication to the first look at what became of it; the next ones come at twice the
            distance each.
        most_per_partition: how many entries one tick takes of each partition.
    """

    def __init__(self, redis: Redis, *, next_look_ms: int, most_per_partition: int) -> None:
        self._redis = redis
        self._next_look_ms = next_look_ms
        self._most = most_per_partition
        self._take_due = load_script(redis, "worker.ledger", "take_due")

    async def is_anything_due(self) -> bool:
        """Whether a look would bring anything: one cheap round trip, which changes nothing."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.zrange(timetable_key(partition), 0, 0, withscores=True)
        pipeline.time()
        *firsts, now = await pipeline.execute(raise_on_error=False)
        if any(isinstance(answer, Exception) for answer in (*firsts, now)):
            return True  # taking what is due tells which partitions are away
        seconds, micros = now
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        return any(float(at_ms) <= now_ms + 1 for first in firsts for _, at_ms in first)

    async def take_due(self, taken_up: Mapping[Lane, float] | None = None) -> Due:
        """Everything that is due, from all partitions in one round trip; from those that answer where some do not.

        Args:
            taken_up: per lane, Unix ms; the messages published before have been taken up by a worker, so an entry that
                is due again needs a new one. Lanes not named: EVERYTHING.
        """
        lanes: list[str | int] = []
        for lane, until_ms in (taken_up or {}).items():
            lanes += [lane.value, int(min(until_ms, _A_TIME_BEYOND_ALL))]
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            await self._take_due([timetable_key(partition)], [self._most, self._next_look_ms, *lanes], client=pipeline)
        replies = _answered(await pipeline.execute(raise_on_error=False))
        return Due(
            now_ms=max(int(reply[0]) for reply in replies),
            entries=_entries([member for reply in replies for member in reply[2:]]),
            still_queued=sum(int(reply[1]) for reply in replies),
        )

    async def note_progress(self, taken_up: Mapping[Lane, int]) -> dict[Lane, int]:
        """Tell all tickers how far this process's messages have come, and learn how far anybody's have.

        The value is a hint: where two processes overwrite each other, the lower one merely puts a repetition off.

        Args:
            taken_up: per lane, Unix ms at which the newest message that was taken up here had been published.
        """
        pipeline = self._redis.pipeline(transaction=False)
        if taken_up:
            pipeline.hset(PROGRESS_KEY, mapping={lane.value: at_ms for lane, at_ms in taken_up.items()})
        pipeline.hgetall(PROGRESS_KEY)
        told = (await pipeline.execute(raise_on_error=False))[-1]
        if isinstance(told, Exception):
            _log.warning("timetable: how far messages have come is not told", error=type(told).__name__)
            return {}
        known = {lane.value: lane for lane in Lane}
        return {known[name]: int(at_ms) for name, at_ms in told.items() if name in known}

    async def size(self) -> int:
        """Entries in all partitions."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.zcard(timetable_key(partition))
        return sum(await pipeline.execute())


def _answered(replies: list[Any]) -> list[Any]:
    """Without those that are errors; raises the first of them where there is nothing else."""
    good = [reply for reply in replies if not isinstance(reply, Exception)]
    if not good:
        raise replies[0]
    if len(good) < len(replies):
        _log.warning("timetable: partitions are away; the others go on", away=len(replies) - len(good), of=len(replies))
    return good


def _entries(members: list[str]) -> list[tuple[Lane, str]]:
    entries = []
    for member in members:
        try:
            entries.append(split_member(member))
        except ValueError:  # a newer release's lane: its own workers look after it
            _log.warning("timetable: an entry of a lane that this release does not know is left alone")
    return entries
