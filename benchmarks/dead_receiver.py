"""How long healthy callbacks take beside a receiver that is dead and has many waiting.

    python -m benchmarks.dead_receiver [--waiting 100000] [--seconds 6] [--per-second 40]

One process delivers, on a Redis of its own, over real HTTP on loopback: first tries right after the end of a job, and
callbacks that come back through the timetable and a queue that hands messages out in their order, as Celery's does.
Three rounds: alone; beside a receiver that accepts and never answers; beside one that refuses. The dead one's callbacks
stand in its line when a round begins, as the ends of their jobs wrote them; its circuit opens in the first half of the
round. Printed are percentiles of the time from a job's end, or from a callback's time in the timetable, until the
receiver has it, and the share of the time that Redis was busy.

With --individually each of the dead one's callbacks comes due by itself at the same moment, which no release of this
project does: the worst that a person can make of the timetable.
"""

import argparse
import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from redis.asyncio import Redis

from worker.callbacks.keyring import FixedKeyring
from worker.callbacks.receivers import receiver_of
from worker.callbacks.sender import CallbackSender
from worker.callbacks.signature import HmacKey
from worker.clock import SystemClock
from worker.delivery.assembly import DeliveryRules, build_delivery
from worker.delivery.delivery import Delivery
from worker.domain.job import Lane
from worker.domain.job_ids import new_job_id
from worker.http import HttpClient
from worker.ledger.callback_records import OwedCallback
from worker.ledger.keys import callback_key, job_keys
from worker.ledger.timetable import Timetable
from worker.local.redis_server import EmbeddedRedis
from worker.progress import Progress
from worker.redis_scripts import connect
from worker.ticker import Ticker

PER_PIPELINE = 5_000
TICK_MS = 50
"""Ten times as often as a worker, of which there are several: the tick's own time shall not hide the rest."""
TAKERS = 32
TIMEOUT_MS = 3_000
RULES = DeliveryRules(
    schedule_ms=[60_000] * 9, lease_ms=TIMEOUT_MS + 2_000, give_up_ms=86_400_000, in_flight=128, per_receiver=16
)
WAYS = ("first try", "by the timetable")


@dataclass
class Queue:
    """Stands for the broker: messages of at most 100 ids, first in, first out."""

    messages: "asyncio.Queue[Sequence[str]]" = field(default_factory=asyncio.Queue)

    async def publish(self, _lane: Lane, ids: Sequence[str], _published_at_ms: int) -> bool:
        """Always takes them."""
        for start in range(0, len(ids), 100):
            self.messages.put_nowait(ids[start : start + 100])
        return True

    async def backlogs(self) -> dict[Lane, int]:
        """Messages that wait."""
        return {Lane.CALLBACK: self.messages.qsize()}


@dataclass
class Receivers:
    """One that answers and notes when, one that never does, and a port where nobody is."""

    healthy: str
    silent: str
    refusing: str
    came_s: dict[str, float]


@asynccontextmanager
async def receivers() -> AsyncIterator[Receivers]:
    """Each under a host of its own: 127.0.0.1, 127.0.0.2, 127.0.0.3."""
    came_s: dict[str, float] = {}

    async def note(request: web.BaseRequest) -> web.Response:
        came_s.setdefault(request.headers["webhook-id"], time.perf_counter())
        return web.Response()

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            writer.close()

    runner = web.ServerRunner(web.Server(note))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    silent = await asyncio.start_server(hold, "127.0.0.2", 0)
    port, silent_port = runner.addresses[0][1], silent.sockets[0].getsockname()[1]
    try:
        yield Receivers(f"http://127.0.0.1:{port}/", f"http://127.0.0.2:{silent_port}/", "http://127.0.0.3:9/", came_s)
    finally:
        silent.close()
        await runner.cleanup()


async def owe(redis: Redis, url: str, count: int, *, token: str = "", in_line: bool = False) -> list[OwedCallback]:
    """So many callbacks that are due now, by themselves or in line; with a token they are being tried already."""
    host = receiver_of(url)
    made = [OwedCallback(f"{new_job_id(1)}-1", url, host, "{}", token) for _ in range(count)]
    now_ms = time.time_ns() // 1_000_000
    for start in range(0, count, PER_PIPELINE):
        pipeline = redis.pipeline(transaction=False)
        for callback in made[start : start + PER_PIPELINE]:
            job_id = callback.webhook_id[:-2]
            pairs = callback.pairs(job_id)
            record: dict[Any, Any] = dict(zip(pairs[::2], pairs[1::2], strict=True))
            record |= {"created_at": now_ms, "give_up_at": now_ms + 86_400_000}
            pipeline.hset(callback_key(callback.webhook_id), mapping=record)
            looks = {callback.member: now_ms + (RULES.lease_ms if token else 0)}
            if in_line:
                pipeline.zadd(callback.line_key, {callback.member: now_ms})
                looks = {callback.member: now_ms + 86_400_000, callback.line_member: now_ms}
            pipeline.zadd(job_keys(job_id).timetable, looks)
        await pipeline.execute()
    return made


async def take(queue: Queue, delivery: Delivery) -> None:
    """As one of a worker's threads does."""
    while True:
        await delivery.deliver(await queue.messages.get())


async def healthy_ones(
    redis: Redis, delivery: Delivery, there: Receivers, seconds: float, per_second: float
) -> dict[str, list[float]]:
    """Callbacks by both ways in turns: how many ms each took; those that never came count as endless."""
    began_s: dict[str, tuple[str, float]] = {}
    for n in range(int(seconds * per_second)):
        way = WAYS[n % 2]
        token = delivery.reserve("127.0.0.1", is_checkout=True) if n % 2 == 0 else ""
        (callback,) = await owe(redis, there.healthy, 1, token=token)
        began_s[callback.webhook_id] = (way, time.perf_counter())
        if token:
            delivery.start(callback.first_claim(callback.webhook_id[:-2]))
        await asyncio.sleep(1 / per_second)
    for _ in range(50):
        if began_s.keys() <= there.came_s.keys():
            break
        await asyncio.sleep(0.1)
    took_ms: dict[str, list[float]] = {way: [] for way in WAYS}
    for webhook_id, (way, at_s) in began_s.items():
        took_ms[way].append((there.came_s.get(webhook_id, float("inf")) - at_s) * 1000)
    return took_ms


async def busy_s(redis: Redis) -> float:
    """CPU that Redis has used."""
    told: Any = await redis.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def percentile(values: list[float], share: float) -> float:
    """Of these ms."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else float("nan")


async def phase_of(name: str, redis: Redis, delivery: Delivery, there: Receivers, asked: argparse.Namespace) -> None:
    """One line for each of the two ways."""
    before_s, at_s = await busy_s(redis), time.perf_counter()
    took_ms = await healthy_ones(redis, delivery, there, asked.seconds, asked.per_second)
    share = (await busy_s(redis) - before_s) / (time.perf_counter() - at_s)
    for way, values in took_ms.items():
        p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
        print(f"{name:<30} {way:<17} p50 {p50:7.1f} ms  p99 {p99:7.1f} ms  Redis {share:5.1%}", flush=True)  # noqa: T201


async def round_of(url: str, name: str, dead: str, there: Receivers, asked: argparse.Namespace) -> None:
    """One dead receiver, or none."""
    redis = connect(url, timeout_ms=30_000)
    await redis.flushall()
    http = HttpClient(max_connections=128, max_answer_bytes=65_536, connect_timeout_ms=1_000)
    clock = SystemClock()
    sender = CallbackSender(
        http, keyring=FixedKeyring([HmacKey(secrets.token_bytes(24))]), timeout_ms=TIMEOUT_MS, clock=clock
    )
    delivery = build_delivery(redis, sender, RULES, clock=clock, progress=Progress())
    queue: Any = Queue()
    timetable = Timetable(redis, next_look_ms=10_000, most_per_partition=500)
    ticker = Ticker(timetable, queue, progress=Progress(), tick_ms=TICK_MS, clock=clock)
    if dead:
        await owe(redis, dead, asked.waiting, in_line=not asked.individually)
    tasks = [asyncio.create_task(take(queue, delivery)) for _ in range(TAKERS)]
    tasks.append(asyncio.create_task(ticker.run()))
    await phase_of(f"{name}, at first" if dead else name, redis, delivery, there, asked)
    if dead:
        await asyncio.sleep(asked.settle)
        await phase_of(f"{name}, later", redis, delivery, there, asked)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await delivery.drain(0)
    await http.aclose()
    await redis.aclose()


async def measure(url: str, asked: argparse.Namespace) -> None:
    """All rounds."""
    async with receivers() as there:
        for name, dead in (("alone", ""), ("a silent one", there.silent), ("a refusing one", there.refusing)):
            await round_of(url, name, dead, there, asked)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--per-second", type=float, default=40)
    parser.add_argument("--individually", action="store_true", help="see above")
    parser.add_argument("--settle", type=float, default=3, help="seconds between the two")
    asked = parser.parse_args()
    with EmbeddedRedis(appendfsync="no") as server:
        asyncio.run(measure(server.url(0), asked))


if __name__ == "__main__":
    main()
