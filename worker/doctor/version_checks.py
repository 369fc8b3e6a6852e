"""Releases side by side: can this one read what the ledger holds, and which run now?"""

from collections import Counter
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker import __version__
from worker.doctor.finding import Finding, error, good, unknown, warning
from worker.domain.formats import FORMATS, NewerFormatError
from worker.ledger.formats import LedgerFormats, check_held
from worker.observation.presence import PRESENCES_KEY, read_presences


async def check_versions(redis: Redis) -> list[Finding]:
    """Both.

    Args:
        redis: a client that decodes replies to text.
    """
    client: Any = redis
    try:
        held = await LedgerFormats(redis, __version__).read()
        told = await client.hgetall(PRESENCES_KEY)
        seconds, _ = await client.time()
    except (RedisError, OSError) as failure:
        return [unknown("versions", f"could not be read ({type(failure).__name__})")]
    there = [one for one in read_presences(told) if one.is_there(int(seconds) * 1000)]
    try:
        check_held(held)
    except NewerFormatError as newer:
        what, _, remedy = str(newer).rpartition("; ")
        ledger = error("versions.ledger", what, remedy)
    else:
        read = ", ".join(f"{one.name} {one.reads}" for one in FORMATS)
        ledger = good("versions.ledger", f"holds nothing newer than release {__version__} reads ({read})")
    return [ledger, _workers(Counter(one.release for one in there))]


def _workers(releases: Counter[str]) -> Finding:
    told = ", ".join(f"{count} of release {release}" for release, count in sorted(releases.items()))
    if len(releases) > 1:
        return warning("versions.workers", f"side by side: {told}", "bring the upgrade to its end: docs/upgrading.md")
    return good("versions.workers", told or "none is there")
