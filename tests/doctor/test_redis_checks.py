"""What the doctor finds in real servers: a good one, a full one, a replica's user, a foreign clock, none."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from worker.clock import SystemClock
from worker.doctor.finding import Level
from worker.doctor.redis_checks import check_redis
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
async def client(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    client = connect(server.url(), timeout_ms=2000)
    yield client
    await client.config_set("maxmemory", 0)
    await client.config_set("maxmemory-policy", "noeviction")
    await client.aclose()


async def levels_of(client: Redis) -> dict[str, Level]:
    return {finding.area: finding.level for finding in await check_redis(client, SystemClock())}


async def test_a_good_server_has_no_error(client: Redis) -> None:
    levels = await levels_of(client)
    assert set(levels.values()) <= {Level.GOOD, Level.WARNING}
    assert levels["redis.scripts"] is levels["redis.clock"] is levels["redis.settings"] is Level.GOOD


async def test_a_server_without_a_bound_on_its_memory_is_a_warning(client: Redis) -> None:
    assert (await levels_of(client))["redis.memory"] is Level.WARNING
    await client.config_set("maxmemory", 2**30)
    assert (await levels_of(client))["redis.memory"] is Level.GOOD


async def test_a_full_server_is_an_error_that_names_the_remedy(client: Redis) -> None:
    await client.config_set("maxmemory", 1)
    found = {finding.area: finding for finding in await check_redis(client, SystemClock())}
    assert found["redis.memory"].level is Level.ERROR
    assert found["redis.scripts"].level is Level.ERROR
    assert "maxmemory" in found["redis.scripts"].remedy


async def test_a_server_that_evicts_is_an_error(client: Redis) -> None:
    await client.config_set("maxmemory-policy", "allkeys-lru")
    found = {finding.area: finding for finding in await check_redis(client, SystemClock())}
    assert found["redis.settings"].level is Level.ERROR
    assert found["redis.settings"].remedy == "set `maxmemory-policy noeviction`"


async def test_a_user_who_may_not_run_scripts_is_an_error(client: Redis, server: EmbeddedRedis) -> None:
    await client.acl_setuser(
        "poor", enabled=True, passwords=["+word"], keys=["*"], commands=["+ping", "+info", "+time"]
    )
    poor = connect(server.url(), timeout_ms=2000)
    try:
        await poor.execute_command("AUTH", "poor", "word")  # type: ignore[no-untyped-call]
        assert (await levels_of(poor))["redis.scripts"] is Level.ERROR
    finally:
        await poor.aclose()
        await client.acl_deluser("poor")


async def test_no_server_is_one_error_and_nothing_else() -> None:
    nobody = connect("redis://127.0.0.1:1/0", timeout_ms=200)
    findings = await check_redis(nobody, SystemClock())
    assert [(finding.area, finding.level) for finding in findings] == [("redis", Level.ERROR)]
    await nobody.aclose()
