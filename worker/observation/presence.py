"""Which worker processes there are: each tells every ten seconds, through Redis, what it is and how it fares."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from worker.ledger.keys import VERSION
from worker.redis_scripts import load_script

PRESENCES_KEY = f"{VERSION}:{{presences}}"
"""Hash: process -> Unix ms by Redis's clock, a space, JSON."""
_FORGOTTEN_MS = 3_600_000
_ABSENT_MS = 35_000
"""Longer than three tellings."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A worker process as it told of itself.

    Attributes:
        process: host, process id and a random part.
        release: of this package.
        lanes: that it consumes.
        in_flight: jobs whose lease it holds.
        lag_ms: how late its loop was, at most, over ten seconds.
        faults: why it is not ready; empty where it is.
        started_at, seen_at: Unix ms by Redis's clock; seen_at is of the last telling.
    """

    process: str
    release: str
    lanes: Sequence[str]
    in_flight: int
    lag_ms: int
    faults: Sequence[str]
    started_at: int = 0
    seen_at: int = 0

    def is_there(self, now_ms: int) -> bool:
        """Whether it has told of itself lately."""
        return now_ms - self.seen_at <= _ABSENT_MS


class Presences:
    """Tells and reads.

    Args:
        redis: a client that decodes replies to text.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._tell = load_script(redis, "worker.observation", "tell_presence")

    async def tell(self, presence: Presence) -> int:
        """This process is there. Returns Redis's clock, Unix ms."""
        told = dataclasses.asdict(presence)
        for name in ("process", "seen_at"):
            del told[name]
        text = json.dumps(told, separators=(",", ":"))
        return int(await self._tell([PRESENCES_KEY], [presence.process, text, _FORGOTTEN_MS]))

    async def end(self, process: str) -> None:
        """This process ends."""
        await self._tell([PRESENCES_KEY], [process, "", _FORGOTTEN_MS])


def read_presences(told: dict[str, str]) -> list[Presence]:
    """Of the hash's content: all that can be read, by process. Fields that this release does not know are left out."""
    found = []
    known = {one.name for one in dataclasses.fields(Presence)} - {"process", "seen_at"}
    for process, text in sorted(told.items()):
        seen_at, _, fields = text.partition(" ")
        try:
            read = {name: value for name, value in json.loads(fields).items() if name in known}
            found.append(Presence(process=process, seen_at=int(seen_at), **read))
        except (ValueError, TypeError, AttributeError):  # of a release that tells otherwise
            continue
    return found
