"""The three clocks move together, and only when nothing is under way."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.year.moved_redis import moved_redis
from tests.year.moving_time import MovedClock, MovingLoop, MovingTime, busy_connections
from worker.redis_scripts import connect

START_S = 1_835_000_000.0
DAY_S = 86_400.0


def run(time_: MovingTime, clients: list[Any], work: Coroutine[Any, Any, None]) -> None:
    loop = MovingLoop(time_, lambda: busy_connections(clients) > 0, lambda timer_s: time_.move(timer_s or 0.001))
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


async def redis_s(client: Any) -> float:
    seconds, micros = await client.eval("return redis.call('TIME')", 0)
    return int(seconds) + int(micros) / 1e6


def test_redis_and_the_engine_keep_one_time_through_days_that_take_no_time(tmp_path: Path) -> None:
    time_ = MovingTime(tmp_path / "offset", START_S)
    clock, clients = MovedClock(time_), []
    began_s = time.monotonic()
    with moved_redis(tmp_path, tmp_path / "offset") as server:

        async def work() -> None:
            client = connect(server.url(), timeout_ms=2_000)
            clients.append(client)
            await client.set("a day's key", "", px=int(DAY_S * 1000))
            for _ in range(40):
                await clock.sleep_ms(DAY_S * 1000 / 20)
                assert abs(await redis_s(client) - clock.unix_ms() / 1000) < 0.05
            assert not await client.exists("a day's key")
            time_.step(-300.0)
            before_ms = clock.monotonic_ms()
            assert abs(await redis_s(client) - (START_S + 2 * DAY_S - 300)) < 5
            assert clock.monotonic_ms() >= before_ms
            await client.aclose()

        run(time_, clients, work())
    time_.close()
    assert time.monotonic() - began_s < 60


def test_a_call_that_is_under_way_is_waited_for_and_no_timer_overtakes_it(tmp_path: Path) -> None:
    time_ = MovingTime(tmp_path / "offset", START_S)
    clients: list[Any] = []
    order: list[str] = []
    with moved_redis(tmp_path, tmp_path / "offset") as server:

        async def asks() -> None:
            await clients[0].execute_command("BLPOP", "nothing", "0.05")
            order.append("answer")

        async def sleeps() -> None:
            await asyncio.sleep(DAY_S)
            order.append("timer")

        async def work() -> None:
            clients.append(connect(server.url(), timeout_ms=2_000))
            await asyncio.gather(sleeps(), asks())
            await clients[0].aclose()

        run(time_, clients, work())
    time_.close()
    assert order == ["answer", "timer"]
