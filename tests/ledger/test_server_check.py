"""A worker tells of a Redis that could lose jobs, and of nothing else."""

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.ledger.server_check import log_redis_warnings, redis_warnings
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

from .support import until


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
async def client(server: EmbeddedRedis) -> AsyncIterator[Redis]:
    """Of a server whose settings are its own again afterwards."""
    client = connect(server.url(), timeout_ms=2000)
    yield client
    await client.config_set("maxmemory-policy", "noeviction")
    await client.aclose()


async def warnings_of(client: Redis) -> list[str]:
    return redis_warnings(await client.info())


async def test_the_server_that_comes_with_the_worker_gives_no_cause(client: Redis) -> None:
    assert await warnings_of(client) == []


async def test_a_server_without_an_append_only_file_is_told_of(client: Redis) -> None:
    await client.config_set("appendonly", "no")
    try:
        (warning,) = await warnings_of(client)
    finally:
        await client.config_set("appendonly", "yes")
    assert "append-only file is off" in warning
    assert "set `appendonly yes`" in warning


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_a_server_that_may_evict_is_told_of(client: Redis, policy: str) -> None:
    await client.config_set("maxmemory-policy", policy)
    (warning,) = await warnings_of(client)
    assert f"maxmemory-policy is {policy}" in warning


async def test_a_rewrite_that_failed_is_told_of() -> None:
    with EmbeddedRedis() as server:
        client = connect(server.url(), timeout_ms=2000)
        folder = server.folder / "appendonlydir"
        await client.set("x", 1)
        # A file of the next rewrite's name that cannot be replaced: a folder with something in it.
        number = 1 + max(int(path.name.split(".")[2]) for path in folder.glob("*.base.*"))
        for suffix in ("rdb", "aof"):
            (folder / f"appendonly.aof.{number}.base.{suffix}" / "in the way").mkdir(parents=True)
        await client.bgrewriteaof()

        async def failed() -> bool:
            return "rewrite of the append-only file failed" in " ".join(await warnings_of(client))

        try:
            await until(failed)
        finally:
            await client.aclose()


@pytest.mark.parametrize(
    ("told", "warning"),
    [
        ({"redis_version": "6.2.14"}, "Redis 6.2.14 is older than 7.0"),
        ({"aof_last_write_status": "err"}, "the last write to the append-only file failed"),
        ({"aof_enabled": 0}, "the append-only file is off"),
    ],
)
def test_each_cause_is_one_sentence(told: dict[str, Any], warning: str) -> None:
    (found,) = redis_warnings(told)
    assert warning in found


@pytest.mark.parametrize("told", [{}, {"redis_version": "7.0.15"}, {"redis_version": "10.0.0"}, {"redis_version": "x"}])
def test_what_a_server_does_not_tell_is_not_judged(told: dict[str, Any]) -> None:
    assert redis_warnings(told) == []


async def test_each_warning_is_one_line_of_the_log(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    await client.config_set("maxmemory-policy", "allkeys-lru")
    with caplog.at_level(logging.INFO):
        await log_redis_warnings(client)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the ledger's Redis: maxmemory-policy is allkeys-lru")


async def test_a_server_that_cannot_be_asked_is_told_of_and_stops_nothing(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    away = connect(f"unix://{tmp_path}/redis.sock", timeout_ms=200)
    with pytest.raises(RedisError):
        await away.ping()
    with caplog.at_level(logging.INFO):
        await log_redis_warnings(away)
    assert [record.getMessage() for record in caplog.records] == [
        "the ledger's Redis: its settings could not be read error=ConnectionError"
    ]
    await away.aclose()
