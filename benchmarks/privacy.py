"""What sealed numbers cost: CPU and memory of a job, and what it takes to search all records and to rotate them.

    python -m benchmarks.privacy [--jobs 20000]

On a Redis of its own. A job has A, B and X, an order's id and a callback; it is filed, claimed and settled as bound, in
pipelines of 50 calls. CPU is that of the quietest 500 jobs of three rounds, off and on in turn: others only add to it.
`side index` is what was not built: a hash per partition that leads from the blind indexes of A and B to job ids.
"""

import argparse
import asyncio
import dataclasses
import json
import secrets
import sys
import time
import timeit
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from benchmarks.bindings import IN_A_WINDOW, end, job
from worker.batches.row_codec import RowCodec
from worker.domain.encryption_keys import KEY_BYTES
from worker.domain.job import Lane
from worker.ledger.callback_records import OwedCallback
from worker.ledger.erasing import Erasing, SearchReport
from worker.ledger.keys import ALL_PARTITIONS, job_keys, webhook_id_of
from worker.ledger.ledger import Ledger
from worker.ledger.records import Claim, NewJob
from worker.ledger.resealing import Resealing, SealReport
from worker.ledger.retention import Retention
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import opened_record, sealed_pairs
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

AT_ONCE = 50
ROUNDS = 3
TTL_MS = 3_600_000
INDEX = secrets.token_bytes(KEY_BYTES)
OLD, NEW = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_BYTES)
SEAL, ROTATED = Seal({"k20260101": OLD}, INDEX), Seal({"k20270101": NEW, "k20260101": OLD}, INDEX)


def ledger_on(redis: Redis, seal: Seal) -> Ledger:
    return Ledger(redis, result_ttl_ms=TTL_MS, first_look_ms=10_000, seal=seal)


def with_b(number: int, expiration: str = "2099-01-01 00:00:00") -> NewJob:
    plain = job(number, expiration)
    return dataclasses.replace(plain, parameters={**plain.parameters, "PhoneNoB": f"139{number:08d}"})


async def work(ledger: Ledger, jobs: list[NewJob]) -> None:
    """All of a job's way through the ledger."""
    await ledger.open_many(jobs)
    for at in range(0, len(jobs), AT_ONCE):
        await asyncio.gather(*(_bound(ledger, one, at + place) for place, one in enumerate(jobs[at : at + AT_ONCE])))


async def _bound(ledger: Ledger, one: NewJob, number: int) -> None:
    claim = await ledger.claim(one.job_id, Lane.BATCH, token=secrets.token_hex(8), lease_ms=TTL_MS)
    if not isinstance(claim, Claim):
        raise TypeError(f"not claimed: {claim}")
    body = json.dumps({"type": "bind.succeeded", "data": {"job_id": one.job_id, "phone_no_x": f"170{number:08d}"}})
    webhook_id = webhook_id_of(claim.job_id, claim.fence)
    owed = OwedCallback(webhook_id, "https://shop.example/axn", "shop.example", body)
    await ledger.settle(claim, dataclasses.replace(end(number), callback=owed))


async def way(redis: Redis, seal: Seal, count: int) -> tuple[float, float, float]:
    """Of one job: µs of this process, µs of Redis, bytes in Redis."""
    client: Any = redis
    await client.execute_command("FLUSHALL", "SYNC")
    await work(ledger_on(redis, seal), [with_b(number) for number in range(AT_ONCE)])  # scripts are loaded
    before, spent, busy = await _used(redis), float("inf"), float("inf")
    for at in range(0, count, IN_A_WINDOW):
        jobs = [with_b(number) for number in range(at, at + IN_A_WINDOW)]
        cpu_before, began = await _redis_cpu_s(redis), time.process_time()
        await work(ledger_on(redis, seal), jobs)
        spent = min(spent, time.process_time() - began)
        busy = min(busy, await _redis_cpu_s(redis) - cpu_before)
    return 1e6 * spent / IN_A_WINDOW, 1e6 * busy / IN_A_WINDOW, (await _used(redis) - before) / count


async def _used(redis: Redis) -> int:
    client: Any = redis
    return int((await client.info("memory"))["used_memory"])


async def _redis_cpu_s(redis: Redis) -> float:
    client: Any = redis
    told = await client.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def codec_us() -> tuple[float, float]:
    """Of one job's texts by themselves, in µs: to seal them all, and to open them for an attempt and a callback."""
    one = with_b(1)
    body = ["body", json.dumps({"type": "bind.succeeded", "data": {"phone_no_x": "17000000001"}})]
    sealed = sealed_pairs(SEAL, one.job_id, one.pairs())
    record = dict(zip(sealed[::2], sealed[1::2], strict=True))

    def seal_all() -> None:
        sealed_pairs(SEAL, one.job_id, one.pairs())
        sealed_pairs(SEAL, one.job_id, ["phone_no_x", "17000000001"])
        sealed_pairs(SEAL, one.job_id, body)

    def plain() -> None:
        one.pairs()

    def open_all() -> None:
        opened_record(SEAL, one.job_id, record)

    return _us(seal_all) - _us(plain), _us(open_all)


def _us(call: Callable[[], None]) -> float:
    return 1e6 * min(timeit.repeat(call, timer=time.process_time, number=100, repeat=300)) / 100


async def per_record(redis: Redis, walk: Callable[[], Awaitable[int]]) -> tuple[float, float]:
    """Of one record: µs of this process, and µs of Redis."""
    cpu_before, began = await _redis_cpu_s(redis), time.process_time()
    records = await walk()
    spent = time.process_time() - began
    return 1e6 * spent / records, 1e6 * (await _redis_cpu_s(redis) - cpu_before) / records


async def side_index(redis: Redis, count: int) -> tuple[float, float]:
    """Of one job: µs of Redis and bytes of an index beside the records, once it is large."""
    client: Any = redis
    await client.execute_command("FLUSHALL", "SYNC")
    keys = [f"axn1:{{p{partition:02d}}}:people" for partition in ALL_PARTITIONS]
    before, cpu_before = await _used(redis), await _redis_cpu_s(redis)
    for at in range(0, count, AT_ONCE):
        pipeline = client.pipeline(transaction=False)
        for number in range(at, at + AT_ONCE):
            one = with_b(number)
            names = (SEAL.blind(one.parameters[name]) for name in ("PhoneNoA", "PhoneNoB"))
            key = keys[int(job_keys(one.job_id).job[7:9])]
            pipeline.hset(key, mapping=dict.fromkeys(names, one.job_id))
        await pipeline.execute()
    return 1e6 * (await _redis_cpu_s(redis) - cpu_before) / count, (await _used(redis) - before) / count


async def measure(count: int) -> None:
    with EmbeddedRedis() as server:
        redis = connect(server.url(0), timeout_ms=10_000)
        seal_us, open_us = codec_us()
        _say(f"codec, per job: seal {seal_us:.1f} µs, open {open_us:.1f} µs")
        rounds: dict[str, list[tuple[float, float, float]]] = {"off": [], "on": []}
        for _ in range(ROUNDS):
            for name, seal in (("off", NO_SEAL), ("on", SEAL)):
                rounds[name].append(await way(redis, seal, count))
        for name, found in rounds.items():
            ours, redis_us, size = (min(column) for column in zip(*found, strict=True))
            told = f"{ours:6.0f} µs here, {redis_us:5.0f} µs of Redis, {size:6.0f} bytes"
            _say(f"way through the ledger, {name:>3}: {told}")
        await walks(redis)
        redis_us, size = await side_index(redis, count)
        _say(f"side index, not built: {redis_us:.0f} µs of Redis and {size:.0f} bytes more for each job")
        await redis.aclose()


async def walks(redis: Redis) -> None:
    """Over the records that the last round has left."""

    async def search() -> int:
        report = SearchReport()
        await Erasing(redis, SEAL, Retention(TTL_MS)).search("13900000007", report, lambda _looked_at: None)
        if not report.found:
            raise ValueError("nobody was found")
        return report.looked_at

    async def rotate() -> int:
        report = SealReport()
        await Resealing(redis, ROTATED, RowCodec.row_of).rotate(report, lambda _looked_at: None)
        if not report.is_all_under("k20270101"):
            raise ValueError("not all is rotated")
        return report.resealed

    for name, walk in (("forget, each record searched", search), ("rotate, each record sealed anew", rotate)):
        ours, redis_us = await per_record(redis, walk)
        _say(f"{name}: {ours:.0f} µs here, {redis_us:.0f} µs of Redis")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, help="in the ledger; default 20,000")
    asyncio.run(measure(parser.parse_args().jobs))


if __name__ == "__main__":
    main()
