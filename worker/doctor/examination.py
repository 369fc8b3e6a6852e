"""All checks, one after the other; what cannot be asked is said, and keeps nothing else from being asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.app import build_app
from worker.bootstrap import check_worker_settings
from worker.clock import Clock
from worker.doctor.broker_checks import check_broker
from worker.doctor.finding import Finding, Level, error, good, unknown
from worker.doctor.local_checks import (
    check_callback_guard,
    check_callback_keys,
    check_environment,
    check_files,
    check_pace,
)
from worker.doctor.privacy_checks import check_numbers
from worker.doctor.provider_checks import check_account, check_provider_clock
from worker.doctor.redis_checks import check_redis
from worker.doctor.version_checks import check_versions
from worker.domain.durations import duration_ms
from worker.errors import SettingsError
from worker.ledger.assembly import build_seal
from worker.ledger.callback_secrets import CallbackSecrets
from worker.provider.assembly import build_provider, provider_http
from worker.redis_scripts import connect
from worker.settings import Settings, load_settings


async def examine(clock: Clock, *, with_provider: bool = True) -> AsyncIterator[Finding]:
    """Findings as they are made.

    Args:
        clock: of this machine.
        with_provider: also send the provider its two requests.
    """
    try:
        settings = load_settings()
    except SettingsError as wrong:
        yield error("settings", str(wrong), "docs/settings.md has all settings")
        return
    try:
        check_worker_settings(settings)
        is_startable = True
        yield good("settings", "are complete, and agree with each other")
    except SettingsError as wrong:
        is_startable = False
        yield error("settings", str(wrong), "docs/settings.md has all settings")
    for finding in (check_files(settings), check_pace(settings), check_environment(settings)):
        yield finding
    async for finding in _redis(settings, clock, is_startable=is_startable):
        yield finding
    yield check_callback_guard(settings)
    for finding in await asyncio.to_thread(check_broker, build_app(settings)):
        yield finding
    if not with_provider:
        return
    if not is_startable:
        yield unknown("provider", "was not asked: the settings say why")
        return
    async for finding in _provider(settings, clock):
        yield finding


async def _redis(settings: Settings, clock: Clock, *, is_startable: bool) -> AsyncIterator[Finding]:
    async with AsyncExitStack() as stack:
        redis = connect(settings.redis_url, timeout_ms=duration_ms(settings.redis_timeout))
        stack.push_async_callback(redis.aclose)
        found = await check_redis(redis, clock)
        for finding in found:
            yield finding
        has_redis = not any(finding.area == "redis" and finding.level is Level.ERROR for finding in found)
        for finding in await check_versions(redis) if has_redis else ():
            yield finding
        yield check_callback_keys(settings, await _owners(redis) if has_redis else None)
        if has_redis and is_startable:
            yield await check_numbers(redis, build_seal(settings))


async def _owners(redis: Redis) -> list[str] | None:
    try:
        return [stored.owner.name for stored in await CallbackSecrets(redis).read_all()]
    except (RedisError, OSError):
        return None


async def _provider(settings: Settings, clock: Clock) -> AsyncIterator[Finding]:
    http = provider_http(settings)
    try:
        found = await check_provider_clock(http, settings.endpoint, clock)
        for finding in found:
            yield finding
        if found[0].level is Level.GOOD:
            for finding in await check_account(build_provider(settings, http, clock), settings.pool_key):
                yield finding
    finally:
        await http.aclose()
