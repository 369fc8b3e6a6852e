"""The client as the engine makes it."""

from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

UVLOOP_S_WORDS = "unable to perform operation on <TCPTransport closed=True>; the handler is closed"


async def refusing(redis: Redis, fault: str, times: int) -> Any:
    """A connection of the client whose next writes fail so; it is back in the pool."""
    pool: Any = redis.connection_pool
    connection = await pool.get_connection()
    write, failures = connection._writer.writelines, iter([fault] * times)

    def stumble(command: Any) -> None:
        if text := next(failures, ""):
            raise RuntimeError(text)
        write(command)

    connection._writer.writelines = stumble
    await pool.release(connection)
    return connection


async def test_a_connection_that_uvloop_calls_closed_is_a_lost_one(redis: Redis) -> None:
    connection = await refusing(redis, UVLOOP_S_WORDS, times=1)
    with pytest.raises(RedisConnectionError):
        await connection.send_packed_command(b"PING")


async def test_a_command_that_meets_it_is_tried_again_on_a_new_connection(redis: Redis) -> None:
    await refusing(redis, UVLOOP_S_WORDS, times=1)
    assert await redis.echo("answered") == "answered"


async def test_no_other_error_is_hidden(redis: Redis) -> None:
    connection = await refusing(redis, "something else", times=1)
    with pytest.raises(RuntimeError, match="something else"):
        await connection.send_packed_command(b"PING")
