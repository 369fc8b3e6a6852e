"""Large sorted sets in the order of their scores, over all partitions, in pages that keep Redis busy for a moment each.

A walk goes on by score, not by rank, so that members which come and go meanwhile neither hide others nor bring them
back.
"""

import heapq
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Any, TypeVar

from redis.asyncio import Redis

MEMBERS_PER_PAGE = 500

T = TypeVar("T")


async def walk_by_score(
    redis: Redis,
    keys: Sequence[str],
    *,
    is_newest_first: bool,
    since: float = float("-inf"),
    until: float = float("inf"),
) -> AsyncGenerator[tuple[str, float], None]:
    """Members and scores of all these sets, merged by score.

    Args:
        redis: a client that decodes replies to text.
        keys: of the sorted sets.
        is_newest_first: highest scores first, else lowest first.
        since: lowest score wanted.
        until: highest score wanted.
    """
    async with AsyncExitStack() as stack:
        walks = []
        for key in keys:
            walk = _walk_one(redis, key, is_newest_first=is_newest_first, since=since, until=until)
            walks.append(await stack.enter_async_context(aclosing(walk)))
        heads: list[tuple[float, int, str]] = []

        async def advance(number: int) -> None:
            if head := await anext(walks[number], None):
                member, score = head
                heapq.heappush(heads, (-score if is_newest_first else score, number, member))

        for number in range(len(walks)):
            await advance(number)
        while heads:
            place, number, member = heapq.heappop(heads)
            yield member, abs(place)
            await advance(number)


async def _walk_one(
    redis: Redis, key: str, *, is_newest_first: bool, since: float, until: float
) -> AsyncGenerator[tuple[str, float], None]:
    client: Any = redis
    begin, end = (until, since) if is_newest_first else (since, until)
    size = MEMBERS_PER_PAGE
    seen: set[str] = set()
    while True:
        page: list[tuple[str, float]] = await client.zrange(
            key, begin, end, desc=is_newest_first, byscore=True, offset=0, num=size, withscores=True
        )
        fresh = [(member, score) for member, score in page if member not in seen]
        for member, score in fresh:
            yield member, score
        if len(page) < size:
            return
        if not fresh:  # more members of one moment than a page holds
            size *= 2
        begin = page[-1][1]
        seen = {member for member, score in page if score == begin}


async def in_batches(members: AsyncGenerator[T, None], size: int) -> AsyncGenerator[list[T], None]:
    """So many of them at a time; the last batch may be shorter."""
    batch: list[T] = []
    async with aclosing(members):
        async for member in members:
            batch.append(member)
            if len(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch


Tell = Callable[[int], None]
"""Told how many were looked at so far."""
