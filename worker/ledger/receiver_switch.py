"""Whether a receiver gets callbacks at all: a person, or its own 410, disables it."""

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from worker.ledger.keys import receiver_key

_FIELDS = ("disabled_at", "disabled_by")


@dataclass(frozen=True, slots=True)
class Disabled:
    """Since when, Unix ms by Redis's clock, and by whom: a person's name, or `410` for the receiver itself."""

    at_ms: int
    by: str


class ReceiverSwitch:
    """Reads it and turns it."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis

    async def read(self, host: str) -> Disabled | None:
        """None for a receiver that is enabled."""
        at_ms, by = await self._redis.hmget(receiver_key(host), _FIELDS)
        return Disabled(int(at_ms), by or "") if at_ms else None

    async def disable(self, host: str, by: str) -> Disabled:
        """Disable it; one that is disabled already stays so since then."""
        seconds, micros = await self._redis.time()
        at_ms = int(seconds) * 1000 + int(micros) // 1000
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hsetnx(receiver_key(host), "disabled_at", at_ms)
        pipeline.hsetnx(receiver_key(host), "disabled_by", by)
        pipeline.hmget(receiver_key(host), _FIELDS)
        *_, (since_ms, who) = await pipeline.execute()
        return Disabled(int(since_ms), who)

    async def enable(self, host: str) -> None:
        """Enable it. What was given up meanwhile stays dead until it is replayed."""
        await self._redis.hdel(receiver_key(host), *_FIELDS)
