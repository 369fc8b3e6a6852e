"""Looks at the kept bindings of all partitions: how many fall due when, what is late, what fails. Reads only."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from worker.ledger.index_walk import in_batches, walk_by_score
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.renewal_keys import renewals_due_key, renewals_failing_key, renewals_key
from worker.ledger.renewals import Renewals

_BINDINGS_PER_READ = 200
_CODES_PER_PAGE = 1_000
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class RenewalCounts:
    """How many kept bindings there are. Times are Unix ms by Redis's clock.

    Attributes:
        kept: all that are to be renewed at some time.
        due_within: by each span that was asked for, in ms: how many fall due from now to then, late ones included.
        late: whose time has come and that are not renewed yet; tries that are put off are not among them.
        late_since: since when the longest of those that are not even taken up; 0: none.
        first_end: the nearest end among those that are taken up; 0: none.
        failing: by the code of their last try, how many failed and are tried again.
    """

    now_ms: int
    kept: int
    due_within: dict[int, int]
    late: int
    late_since: int
    first_end: int
    failing: dict[str, int]


@dataclass(frozen=True, slots=True)
class DueHour:
    """How much falls due in one hour from `begins_at`, Unix ms; late ones count to the first."""

    begins_at: int
    renewals: int


class RenewalViews:
    """Reads them.

    Methods raise RedisError, or OSError, where Redis cannot be asked.
    """

    def __init__(self, renewals: Renewals) -> None:
        self._renewals = renewals
        self._redis: Redis = renewals.redis

    async def counts(self, spans_ms: Sequence[int] = (HOUR_MS, 24 * HOUR_MS, 7 * 24 * HOUR_MS)) -> RenewalCounts:
        """How many there are now, in one round trip but for the failing ones' codes."""
        now_ms = await self._now_ms()
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.zcard(renewals_key(partition))
            pipeline.zcard(renewals_due_key(partition))
            pipeline.zrange(renewals_key(partition), 0, 0, withscores=True)
            pipeline.zrange(renewals_due_key(partition), 0, 0, withscores=True)
            pipeline.zcount(renewals_key(partition), "-inf", now_ms)
            for span_ms in spans_ms:
                pipeline.zcount(renewals_key(partition), "-inf", now_ms + span_ms)
        replies: list[Any] = await pipeline.execute()
        per_partition = 5 + len(spans_ms)
        rows = [replies[at : at + per_partition] for at in range(0, len(replies), per_partition)]
        taken_up = sum(row[1] for row in rows)
        firsts = [int(row[2][0][1]) for row in rows if row[2]]
        ends = [int(row[3][0][1]) for row in rows if row[3]]
        return RenewalCounts(
            now_ms=now_ms,
            kept=sum(row[0] for row in rows) + taken_up,
            due_within={
                span_ms: sum(row[5 + place] for row in rows) + taken_up for place, span_ms in enumerate(spans_ms)
            },
            late=sum(row[4] for row in rows) + taken_up,
            late_since=min((first for first in firsts if first <= now_ms), default=0),
            first_end=min(ends, default=0),
            failing=await self.failing(),
        )

    async def failing(self) -> dict[str, int]:
        """By the code of their last try, how many bindings' renewals failed; the most first."""
        codes: Counter[str] = Counter()
        client: Any = self._redis
        for partition in ALL_PARTITIONS:
            cursor = 0
            while True:
                cursor, page = await client.hscan(renewals_failing_key(partition), cursor, count=_CODES_PER_PAGE)
                codes.update(page.values())
                if not int(cursor):
                    break
        return dict(codes.most_common())

    async def forecast(self, hours: int) -> list[DueHour]:
        """What falls due in each of the next hours, as things stand: a renewal's own next one is not foreseen.

        Bindings that are renewed more often than once an hour count once.
        """
        now_ms = await self._now_ms()
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.zcard(renewals_due_key(partition))
            pipeline.zcount(renewals_key(partition), "-inf", f"({now_ms}")
            for hour in range(hours):
                begins_at = now_ms + hour * HOUR_MS
                pipeline.zcount(renewals_key(partition), begins_at, f"({begins_at + HOUR_MS}")
        replies: list[int] = await pipeline.execute()
        per_partition = 2 + hours
        due = [sum(replies[2 + hour :: per_partition]) for hour in range(hours)]
        if due:
            due[0] += sum(replies[0::per_partition]) + sum(replies[1::per_partition])
        return [DueHour(now_ms + hour * HOUR_MS, renewals) for hour, renewals in enumerate(due)]

    async def due_soonest(self) -> AsyncGenerator[tuple[str, int], None]:
        """Ids of all kept bindings that are not taken up, and when each is due, the first due first, page by page."""
        keys = [renewals_key(partition) for partition in ALL_PARTITIONS]
        async for binding_id, due in walk_by_score(self._redis, keys, is_newest_first=False):
            yield binding_id, int(due)

    async def ending_soonest(self) -> AsyncGenerator[tuple[str, int], None]:
        """Ids and ends of the bindings that are taken up to be renewed, first to end first, page by page."""
        keys = [renewals_due_key(partition) for partition in ALL_PARTITIONS]
        async for binding_id, end in walk_by_score(self._redis, keys, is_newest_first=False):
            yield binding_id, int(end)

    async def kept(self) -> AsyncGenerator[KeptBinding, None]:
        """All kept bindings, those taken up first; page by page, so what moves meanwhile may come twice."""
        for walk in (self.ending_soonest(), self.due_soonest()):
            async for batch in in_batches(walk, _BINDINGS_PER_READ):
                for one in await self._renewals.read([binding_id for binding_id, _ in batch]):
                    if not isinstance(one, str):
                        yield one

    async def _now_ms(self) -> int:
        client: Any = self._redis
        seconds, micros = await client.time()
        return int(seconds) * 1000 + int(micros) // 1000
