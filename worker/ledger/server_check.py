"""What about the ledger's server could lose jobs, told when a worker starts. The worker starts all the same."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.logs import get_log
from worker.redis_scripts import servers_of

_OLDEST_MAJOR = 7

_log = get_log(__name__)


def redis_warnings(info: Mapping[str, Any]) -> list[str]:
    """Read the reply to INFO.

    Args:
        info: as redis-py gives it; a field that the server does not tell is not judged.

    Returns:
        One sentence for each thing that could lose jobs, with its remedy.
    """
    warnings = []
    version = str(info.get("redis_version", ""))
    if version and _major(version) < _OLDEST_MAJOR:
        warnings.append(
            f"Redis {version} is older than {_OLDEST_MAJOR}.0, with which nothing here was tested: renew it"
        )
    if str(info.get("aof_enabled", "1")) == "0":
        warnings.append("the append-only file is off: jobs are lost when Redis ends; set `appendonly yes`")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        warnings.append(f"maxmemory-policy is {policy}: a full Redis may drop jobs; set `maxmemory-policy noeviction`")
    if info.get("aof_last_write_status", "ok") != "ok":
        warnings.append("the last write to the append-only file failed: new jobs are refused; look at its disk")
    if info.get("aof_last_bgrewrite_status", "ok") != "ok":
        warnings.append("the last rewrite of the append-only file failed: it grows without end; look at Redis's log")
    return warnings


def _major(version: str) -> int:
    major = version.partition(".")[0]
    return int(major) if major.isdigit() else _OLDEST_MAJOR


async def log_redis_warnings(redis: Redis) -> None:
    """Ask the server and log what could lose jobs, each in one line."""
    try:
        told = [redis_warnings(await server.info()) for server in await servers_of(redis)]
    except (RedisError, OSError) as failure:
        _log.warning("the ledger's Redis: its settings could not be read", error=type(failure).__name__)
        return
    for warning in dict.fromkeys(warning for warnings in told for warning in warnings):
        _log.warning(f"the ledger's Redis: {warning}")
