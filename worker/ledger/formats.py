"""Which versions the ledger holds: noted by every worker that starts, so that one too old for the ledger can refuse."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.domain.formats import FORMATS, Format, NewerFormatError
from worker.ledger.keys import VERSION
from worker.logs import get_log
from worker.redis_scripts import load_script

_log = get_log(__name__)
FORMATS_KEY = f"{VERSION}:{{formats}}"
"""Hash: name of a format -> highest version that a worker writes; `NAME:by` -> release of the first such worker."""


@dataclass(frozen=True, slots=True)
class HeldFormat:
    """What the ledger may hold of one format.

    Attributes:
        version: the highest.
        by: the release that was the first to write it.
    """

    name: str
    version: int
    by: str


def held_formats(record: Mapping[str, str]) -> list[HeldFormat]:
    """Read the hash; formats that this release does not know are among them."""
    versions = {name: int(text) for name, text in record.items() if ":" not in name and text.isdecimal()}
    return [HeldFormat(name, version, record.get(f"{name}:by", "")) for name, version in sorted(versions.items())]


def check_held(held: list[HeldFormat], formats: tuple[Format, ...] = FORMATS) -> None:
    """Whether this release can work on all of it.

    A format that this release does not know is none of its business: whoever writes it makes it known by the version of
    a thing that this release does know, too.

    Raises:
        NewerFormatError: names what is too new, and what to do.
    """
    reads = {one.name: one.reads for one in formats}
    newer = [one for one in held if one.version > reads.get(one.name, one.version)]
    if newer:
        told = ", ".join(f"{one.name} {one.version} (this release reads {reads[one.name]})" for one in newer)
        releases = ", ".join(sorted({one.by for one in newer if one.by})) or "a newer one"
        raise NewerFormatError(
            f"the ledger holds what this release cannot read: {told}; run release {releases} or newer, "
            "docs/upgrading.md says how to go back"
        )


class LedgerFormats:
    """Reads and notes them. Methods raise RedisError, or OSError, where Redis cannot be asked.

    Args:
        redis: a client that decodes replies to text.
        release: of this package.
    """

    def __init__(self, redis: Redis, release: str) -> None:
        self._redis = redis
        self._release = release
        self._note = load_script(redis, "worker.ledger", "note_formats")

    async def read(self) -> list[HeldFormat]:
        """What is noted."""
        record: dict[str, str] = await self._redis.hgetall(FORMATS_KEY)  # type: ignore[assignment, unused-ignore]
        return held_formats(record)

    async def join(self, formats: tuple[Format, ...] = FORMATS) -> None:
        """Say what this release writes, if it can read what the ledger holds; else nothing is noted.

        Raises:
            NewerFormatError: it cannot.
        """
        check_held(await self.read(), formats)
        written = [part for one in formats for part in (one.name, one.writes)]
        await self._note([FORMATS_KEY], [self._release, *written])

    async def join_if_there(self, *, within_ms: int) -> None:
        """As `join`; where Redis is away, `look` comes to it later."""
        try:
            async with asyncio.timeout(within_ms / 1000):
                await self.join()
        except (RedisError, OSError) as away:  # a timeout is an OSError
            _log.warning("versions in the ledger could not be looked at", error=type(away).__name__)

    async def look(self) -> bool:
        """The same for a worker that runs: it leaves alone what it cannot read, and says so.

        Returns:
            False: there is no more to be done now.
        """
        try:
            await self.join()
        except NewerFormatError as newer:
            _log.error("this worker is too old for the ledger; it works on what it can read", message=str(newer))
        return False
