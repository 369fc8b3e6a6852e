"""B: Redis dies, hangs, refuses, forgets; the way to it breaks."""

import asyncio

from redis.exceptions import RedisError

from tests.chaos.bench import Bench, Cell
from tests.chaos.system import SystemOptions

_STORM_S = 3.0
_BROKER_KEYS = ("unacked", "unacked_index")


async def redis_killed(bench: Bench) -> None:
    """SIGKILL and start again on the same append-only file, forced to disk always or every second."""
    system = bench.system

    async def kill() -> None:
        async with bench.network_trouble():
            system.redis.restart_delay_s = bench.pick(0.0, 1.5)
            await bench.kill(system.redis)
            await until_answers(bench)

    for appendfsync in ("always", "everysec"):
        for number in (1, 2):
            await system.ledger.config_set("appendfsync", appendfsync)
            await bench.run(f"SIGKILL, appendfsync {appendfsync}, {number}", kill)


async def redis_slow(bench: Bench) -> None:
    """SIGSTOP for 1 to 8 s, 200 ms of latency, and a network in which nothing arrives."""
    system = bench.system

    async def freeze(seconds: float) -> None:
        async with bench.paused(system.redis):
            await asyncio.sleep(seconds)

    async def crawl() -> None:
        async with bench.network_trouble():
            system.redis_way.slow_down(0.1)
            await asyncio.sleep(_STORM_S)
            system.redis_way.slow_down(0)

    async def swallow() -> None:
        async with bench.network_trouble():
            system.redis_way.black_hole(is_on=True)
            await asyncio.sleep(4.0)
            system.redis_way.black_hole(is_on=False)

    for seconds in (1.0, 3.0, 8.0):
        await bench.run(f"SIGSTOP for {seconds:g} s", lambda: freeze(seconds))  # noqa: B023 - awaited here
    await bench.run("200 ms of latency", crawl)
    await bench.run("black hole for 4 s", swallow)


async def connections_reset(bench: Bench) -> None:
    """RST of all connections again and again; replies lost after Redis has done what was asked."""
    way = bench.system.redis_way

    async def storm() -> None:
        until = asyncio.get_running_loop().time() + _STORM_S
        while asyncio.get_running_loop().time() < until:
            way.reset_all()
            await bench.sleep(0.05, 0.5)

    async def cut_replies() -> None:
        until = asyncio.get_running_loop().time() + _STORM_S
        while asyncio.get_running_loop().time() < until:
            way.replies_to_cut = bench.rng.randint(1, 4)
            await bench.sleep(0.02, 0.2)
        way.replies_to_cut = 0

    await bench.run("RST storm", storm)
    await bench.run("replies cut off", cut_replies)
    await bench.run("RST storm again", storm)
    await bench.run("replies cut off again", cut_replies)


async def redis_refuses(bench: Bench) -> None:
    """No memory left, READONLY, scripts forgotten, LOADING."""
    system = bench.system

    async def no_memory() -> None:
        await system.ledger.config_set("maxmemory", "1mb")
        await asyncio.sleep(_STORM_S)
        await system.ledger.config_set("maxmemory", "0")

    async def read_only() -> None:
        # A master that nobody can reach: the data stays, writes are refused.
        await system.ledger.replicaof("127.0.0.1", "1")
        await asyncio.sleep(_STORM_S)
        await system.ledger.replicaof("NO", "ONE")

    async def forget_scripts() -> None:
        until = asyncio.get_running_loop().time() + _STORM_S
        while asyncio.get_running_loop().time() < until:
            await system.ledger.script_flush()
            await bench.sleep(0.0, 0.03)

    async def loading() -> None:
        async with bench.network_trouble():
            await bench.kill(system.redis)
            await until_answers(bench)

    await bench.run("no memory left", no_memory)
    await bench.run("READONLY", read_only)
    await bench.run("SCRIPT FLUSH storm", forget_scripts)
    await bench.run("slow LOADING after SIGKILL", loading)


async def broker_forgets(bench: Bench) -> None:
    """The broker's database is flushed; its bindings and its record of what is not acknowledged are deleted."""
    broker = bench.system.broker

    async def flush() -> None:
        for _ in range(4):
            await broker.flushdb()
            await bench.sleep(0.1, 0.5)

    async def delete_bookkeeping() -> None:
        for _ in range(6):
            bindings = [key async for key in broker.scan_iter("_kombu.binding.*")]
            await broker.delete(*bindings, *_BROKER_KEYS)
            await bench.sleep(0.1, 0.4)

    await bench.run("FLUSHDB of the broker", flush)
    await bench.run("bindings and unacked deleted", delete_bookkeeping)


async def until_answers(bench: Bench) -> None:
    """Wait until Redis has read its file again, at most 10 s."""

    async def ping() -> bool:
        try:
            return bool(await bench.system.ledger.ping())
        except (RedisError, OSError):
            return False

    for _ in range(200):
        if await ping():
            return
        await asyncio.sleep(0.05)


CELLS = (
    Cell("B1", "Redis killed, started again", redis_killed, runs=4),
    Cell("B2", "Redis frozen, slow, unreachable", redis_slow, runs=5),
    Cell("B3", "connections reset, replies lost", connections_reset, runs=4),
    Cell(
        "B5", "no memory, READONLY, NOSCRIPT, LOADING", redis_refuses, runs=4,
        # Microseconds per key at a start: Redis stays in LOADING for some seconds.
        options=SystemOptions(redis=("--key-load-delay", "300")),
    ),
    Cell("B6", "the broker's data lost", broker_forgets, runs=2),
)  # fmt: skip
