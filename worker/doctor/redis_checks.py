"""The ledger's Redis: is it there, quick, durable, roomy, and does it let us do what we must?"""

import statistics
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.clock import Clock
from worker.doctor.finding import Finding, error, good, unknown, warning
from worker.ledger.keys import VERSION
from worker.ledger.server_check import redis_warnings
from worker.redis_faults import redis_fault
from worker.redis_scripts import servers_of

_PINGS = 20
_SLOW_MS = 5.0
_CLOCK_OFF_MS = 2_000
_FULL_SHARE = 0.8
_KEY = f"{VERSION}:{{doctor}}"
_TTL_MS = 1_000
_TRY = "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return redis.call('GET', KEYS[1])"


async def check_redis(redis: Redis, clock: Clock) -> list[Finding]:
    """All that can be told of it.

    Args:
        redis: a client that decodes replies to text.
        clock: of this machine.
    """
    try:
        latency_ms = await _latency_ms(redis, clock)
    except (RedisError, OSError) as failure:
        return [_fault("redis", failure)]
    findings = [_latency(latency_ms)]
    findings.append(await _writable(redis))
    for server in await servers_of(redis):
        findings += [await _clock(server, clock), *await _server(server)]
    return list(dict.fromkeys(findings))  # what the nodes of a cluster have in common is told once


async def _server(redis: Redis) -> list[Finding]:
    try:
        info = await redis.info()
    except (RedisError, OSError) as failure:
        told = (
            f"INFO could not be read ({type(failure).__name__}): append-only file, eviction and memory are not judged"
        )
        return [unknown("redis.settings", told)]
    return [*_settings(info), _memory(info)]


async def _latency_ms(redis: Redis, clock: Clock) -> float:
    took_ms = []
    for _ in range(_PINGS):
        began_ms = clock.monotonic_ms()
        await redis.ping()
        took_ms.append(clock.monotonic_ms() - began_ms)
    return statistics.median(took_ms)


def _latency(median_ms: float) -> Finding:
    told = f"answers in {median_ms:.1f} ms (median of {_PINGS})"
    if median_ms <= _SLOW_MS:
        return good("redis.latency", told)
    return warning("redis.latency", told, "a job takes several answers: bring Redis nearer to the workers")


async def _writable(redis: Redis) -> Finding:
    """A script that writes, as all of ours do."""
    try:
        kept = await redis.eval(_TRY, 1, _KEY, "kept", _TTL_MS)
    except (RedisError, OSError) as failure:
        return _fault("redis.scripts", failure)
    if kept != "kept":
        return error("redis.scripts", "does not keep what is written", "see the server's log")
    return good("redis.scripts", "runs scripts, and they write")


def _fault(area: str, failure: Exception) -> Finding:
    told, _, remedy = redis_fault(failure).partition("; ")
    return error(area, told, remedy or "see the server's log")


async def _clock(redis: Redis, clock: Clock) -> Finding:
    try:
        before_ms = clock.unix_ms()
        seconds, micros = await redis.time()
        after_ms = clock.unix_ms()
    except (RedisError, OSError) as failure:
        return unknown("redis.clock", f"TIME could not be asked ({type(failure).__name__})")
    off_ms = int(seconds) * 1000 + int(micros) // 1000 - (before_ms + after_ms) // 2
    told = f"{abs(off_ms) / 1000:.1f} s {'ahead of' if off_ms >= 0 else 'behind'} this machine's"
    if abs(off_ms) <= _CLOCK_OFF_MS:
        return good("redis.clock", told)
    return warning("redis.clock", told, "set both by NTP: Redis's clock decides about leases and deadlines")


def _settings(info: Mapping[str, Any]) -> list[Finding]:
    found = [error("redis.settings", *_split(sentence)) for sentence in redis_warnings(info)]
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "of unknown version")
    told = f"{name} {version}, append-only file {'on' if str(info.get('aof_enabled')) == '1' else 'off'}, no eviction"
    return found or [good("redis.settings", told)]


def _split(sentence: str) -> tuple[str, str]:
    """What is wrong, and what to do, of a server warning."""
    told, _, remedy = sentence.rpartition(": " if ";" not in sentence else "; ")
    return told or sentence, remedy


def _memory(info: Mapping[str, Any]) -> Finding:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    used_mb = used / 2**20
    if not most:
        total = int(info.get("total_system_memory", 0))
        if total and used > _FULL_SHARE * total:
            told = f"{used_mb:,.0f} MiB used of the machine's {total / 2**20:,.0f}"
            return error("redis.memory", told, "give it more memory before the system ends it")
        told = f"{used_mb:,.0f} MiB used, no maxmemory"
        remedy = "set `maxmemory` below the machine's memory: a full Redis then refuses jobs instead of being killed"
        return warning("redis.memory", told, remedy)
    told = f"{used_mb:,.0f} of {most / 2**20:,.0f} MiB used"
    if used <= _FULL_SHARE * most:
        return good("redis.memory", told)
    return error("redis.memory", told, "raise maxmemory, or shorten AXN_RESULT_TTL: when it is full jobs are refused")
