"""What kept bindings cost: memory each, the time of all looks while nothing is due, and renewals per second.

    python -m benchmarks.renewals [--most 1000000] [--renewed 2000]

On a Redis of its own. Some bindings are made and renewed by the engine itself, against the sandbox in this process,
without a network between them; the others are copies of their records under other names. A look's time is that of the
caller, Redis's answer included.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop
from celery import Celery
from redis.asyncio import Redis

from worker.bootstrap import WorkerServices, build_worker
from worker.domain.bind_request import BindRequest
from worker.domain.binding import names_of
from worker.domain.job import Lane
from worker.domain.job_ids import new_job_id, partition_of
from worker.http import HttpAnswer
from worker.ledger.keys import ALL_PARTITIONS, job_keys
from worker.ledger.registration import digest_of
from worker.ledger.renewal_keys import renewal_id, renewals_due_key, renewals_key
from worker.ledger.renewal_views import RenewalViews
from worker.ledger.timetable import Timetable
from worker.local.redis_server import EmbeddedRedis
from worker.sandbox.config import SandboxConfig, parse_access_key, parse_pool
from worker.sandbox.gateway import Gateway
from worker.sandbox.requests import WireRequest
from worker.settings import Settings

POOL_KEY, KEY_ID, SECRET = "FC100000123456", "bench", "bench-secret"
LENGTH = "30d"
PER_PIPELINE = 1_000
ROUNDS = 20
DAY_MS = 86_400_000


class Provider:
    """The sandbox, called directly; knows how long that took."""

    def __init__(self, numbers: int) -> None:
        config = SandboxConfig(
            pools=(parse_pool(f"{POOL_KEY}={numbers}"),), access_keys=(parse_access_key(f"{KEY_ID}:{SECRET}"),)
        )
        self._gateway = Gateway(config, time.time)
        self.busy_s = 0.0

    async def post(self, url: str, *, headers: Mapping[str, str], content: bytes = b"", **_: object) -> HttpAnswer:
        """Takes the place of `HttpClient.post`; answers at once."""
        began_s = time.process_time()
        parts = urlsplit(url)
        names = tuple((name.lower(), value) for name, value in headers.items())
        reply = self._gateway.reply(WireRequest("POST", f"{parts.path}?{parts.query}", names, content))
        self.busy_s += time.process_time() - began_s
        await asyncio.sleep(0)
        return HttpAnswer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body)


def engine(redis_url: str, provider: Provider) -> WorkerServices:
    """One worker process's services; what it publishes it works on itself."""
    given: dict[str, Any] = {
        "redis_url": redis_url, "pool_key": POOL_KEY, "AXN_ACCESS_KEY_ID": KEY_ID, "AXN_ACCESS_KEY_SECRET": SECRET,
        "endpoint": "https://dyplsapi.example", "redis_timeout": "60s",
        "pace": {"bind_axn_per_second": 5_000, "update_per_second": 10_000, "query_per_second": 1_000},
    }  # fmt: skip
    services = build_worker(Settings(**given), cast(Celery, None))
    at_work: set[asyncio.Task[Any]] = set()

    async def publish(lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        task = asyncio.create_task(services.attempts.work_on(lane, list(ids), published_at_ms=published_at_ms))
        at_work.add(task)
        task.add_done_callback(at_work.discard)
        return True

    vars(services.clients[0])["post"] = provider.post
    vars(services.producer.announcer)["publish"] = publish
    return services


async def bind(services: WorkerServices, count: int) -> list[str]:
    """So many kept bindings, made by the engine."""
    ids: list[str] = []
    for start in range(0, count, 500):
        requests = [
            BindRequest(
                phone_no_a=f"150{number:08d}", expires_in=LENGTH, out_order_id=f"order-{number:010d}",
                out_id=f"customer-{number:010d}", renew={"while": "open"}, lane="batch",
            )
            for number in range(start, min(start + 500, count))
        ]  # fmt: skip
        ids += [one.job_id for one in await services.producer.intake.submit_many(requests)]
        for job_id in ids[start:]:
            await services.producer.endings.wait(job_id, 60)
    return ids


async def copy(redis: Redis, model_id: str, first: int, count: int, *, is_kept: bool) -> None:
    """So many copies of a binding's record, with their places in the indexes; due over the next month."""
    client: Any = redis
    model: dict[str, str] = await client.hgetall(job_keys(model_id).job)
    if not is_kept:
        model = {name: value for name, value in model.items() if not name.startswith("renew")}
    parameters = {"OutId": "", "OutOrderId": ""}
    now_ms = time.time_ns() // 1_000_000
    for start in range(first, first + count, PER_PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for number in range(start, min(start + PER_PIPELINE, first + count)):
            job_id, keys = (made := new_job_id(now_ms)), job_keys(made)
            order, customer = f"order-{number:010d}", f"customer-{number:010d}"
            request = model["request"].replace("order-0000000000", order).replace("customer-0000000000", customer)
            own = {"job_id": job_id, "subs_id": f"1000{number:012d}", "phone_no_x": f"170{number:08d}"}
            pipeline.hset(keys.job, mapping=model | own | {"request": request})
            pipeline.zadd(keys.bindings, {job_id: now_ms + 30 * DAY_MS})
            names = names_of(own["subs_id"], own["phone_no_x"], parameters | {"OutId": customer, "OutOrderId": order})
            pipeline.hset(keys.binding_index, mapping={digest_of(name): job_id for name in names})
            if is_kept:
                due = now_ms + DAY_MS + number * 7_919 % (26 * DAY_MS)
                pipeline.zadd(renewals_key(partition_of(job_id)), {job_id: due})
        await pipeline.execute()


async def memory(redis: Redis) -> int:
    client: Any = redis
    return int((await client.info("memory"))["used_memory"])


async def median_ms(look: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        await look()
        times.append((time.perf_counter() - began_s) * 1000)
    return statistics.median(times)


async def looks(services: WorkerServices, kept: int) -> None:
    """While nothing is due."""
    redis, views = services.producer.redis, RenewalViews(services.producer.renewals)
    timetable = Timetable(redis, next_look_ms=10_000, most_per_partition=500)
    say(
        f"{kept:>9,} kept: tick {await median_ms(timetable.take_due):.2f} ms, "
        f"alarm {await median_ms(services.alarm.look):.2f} ms, `renewals show` {await median_ms(views.counts):.1f} ms, "
        f"forecast of a week {await median_ms(lambda: views.forecast(168)):.1f} ms"
    )


async def redis_s(redis: Redis) -> float:
    client: Any = redis
    told = await client.info("cpu")
    return float(told["used_cpu_user_main_thread"]) + float(told["used_cpu_sys_main_thread"])


async def renewed(services: WorkerServices, provider: Provider, ids: list[str]) -> None:
    """All of these are due, and are renewed by one process; the account's first is read back, so it is not counted."""
    await make_due(services, ids[:1])
    await renew(services)
    ids = ids[1:]
    await make_due(services, ids)
    client: Any = services.producer.redis
    provider.busy_s, began_s, began_cpu_s = 0.0, time.perf_counter(), time.process_time()
    began_redis_s = await redis_s(client)
    await renew(services)
    took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s - provider.busy_s
    in_redis_s = await redis_s(client) - began_redis_s
    numbers = [await client.hget(job_keys(binding_id).job, "renewals") for binding_id in ids]
    due = sum([await client.zcard(renewals_due_key(partition)) for partition in ALL_PARTITIONS])
    say(
        f"{numbers.count('1'):,} of {len(ids):,} renewed, {due} left: "
        f"{len(ids) / took_s:,.0f} per second by one process; each {cpu_s / len(ids) * 1000:.2f} ms of its CPU, "
        f"{in_redis_s / len(ids) * 1e6:,.0f} µs of Redis's "
        f"(the sandbox's {provider.busy_s / len(ids) * 1000:.2f} ms are not counted)"
    )


async def renew(services: WorkerServices) -> None:
    """Until nothing is due."""
    services.renewals.begin([renewal_id(partition) for partition in ALL_PARTITIONS])
    await services.renewals.idle()


async def make_due(services: WorkerServices, ids: list[str]) -> None:
    """Their time has come."""
    client: Any = services.producer.redis
    for start in range(0, len(ids), PER_PIPELINE):
        pipeline = client.pipeline(transaction=False)
        for binding_id in ids[start : start + PER_PIPELINE]:
            pipeline.zadd(renewals_key(partition_of(binding_id)), {binding_id: 1})
        await pipeline.execute()


async def run(redis_url: str, most: int, to_renew: int) -> None:
    provider = Provider(to_renew + 10)
    services = engine(redis_url, provider)
    redis = services.producer.redis
    ids = await bind(services, to_renew)
    before = await memory(redis)
    await copy(redis, ids[0], 10**9, 10_000, is_kept=False)
    plain = (await memory(redis) - before) / 10_000
    known = to_renew
    for size in [size for size in (10_000, 100_000) if size < most] + [most]:
        before, begun = await memory(redis), known
        await copy(redis, ids[0], known, size - known, is_kept=True)
        known = size
        each = (await memory(redis) - before) / (size - begun)
        say(f"{size:>9,} kept: {each:,.0f} bytes each, of them {each - plain:,.0f} for being kept")
        await looks(services, size)
    await renewed(services, provider, ids)
    await services.aclose(0)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1_000_000, help="kept bindings")
    parser.add_argument("--renewed", type=int, default=2_000, help="how many of them the engine makes and renews")
    asked = parser.parse_args()
    with EmbeddedRedis(appendfsync="no") as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(server.url(), asked.most, asked.renewed))


if __name__ == "__main__":
    main()
