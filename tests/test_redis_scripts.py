"""The client as the engine makes it."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, ResponseError

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


ECHO = "if ARGV[1] == 'bad' then return redis.error_reply('ERR bad') end return ARGV[1]"


async def calls(redis: Redis, texts: list[str]) -> list[Any]:
    script = redis.register_script(ECHO)
    return await asyncio.gather(*(script(["k"], [text]) for text in texts), return_exceptions=True)


async def test_calls_that_go_out_together_have_each_its_own_answer_or_error(redis: Redis) -> None:
    texts = [str(number) for number in range(150)]
    texts[7] = texts[90] = "bad"
    # None of them is known to the server: each call of a group finds that out and is made again.
    await redis.script_flush()
    answers = await calls(redis, texts)
    assert [str(answer) for answer in answers if isinstance(answer, ResponseError)] == ["bad", "bad"]
    assert [answer for answer in answers if not isinstance(answer, ResponseError)] == [t for t in texts if t != "bad"]


async def test_calls_that_go_out_together_are_many_to_a_write(redis: Redis) -> None:
    await calls(redis, ["1"])
    before = await redis.info("stats")
    await calls(redis, ["2"] * 64)
    after = await redis.info("stats")
    reads = after["total_reads_processed"] - before["total_reads_processed"]
    assert reads < 20, "64 calls, and the look itself"


async def test_a_call_that_is_cancelled_leaves_the_others_their_answers(redis: Redis) -> None:
    script = redis.register_script(ECHO)
    await script(["k"], ["0"])
    tasks = [asyncio.create_task(script(["k"], [str(number)])) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:  # the first of them is the one that the others wait behind
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[1::2] == [str(number) for number in range(1, 20, 2)]
    # redis-py can swallow the cancellation of what it is just sending: that is the first one.
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[2::2])
    assert await script(["k"], ["after"]) == "after"


async def test_a_group_whose_connection_breaks_is_sent_again(redis: Redis) -> None:
    await calls(redis, ["warm"] * 10)
    for _ in range(20):
        asked = asyncio.create_task(calls(redis, [str(number) for number in range(40)]))
        await asyncio.sleep(0.001)
        await redis.client_kill_filter(_type="normal", skipme=True)
        assert await asked == [str(number) for number in range(40)]


async def test_what_no_command_can_carry_is_refused_before_it_is_sent(redis: Redis) -> None:
    with pytest.raises(DataError):
        await redis.set("key", object())  # type: ignore[arg-type] # the fault under test
    assert await redis.set("key", "\u7535\u8bdd") is True
    assert await redis.get("key") == "\u7535\u8bdd"
