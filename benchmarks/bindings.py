"""What it costs to know the bindings: Redis's time for each script, and memory, by how many there are.

    python -m benchmarks.bindings [--most 100000]

On a Redis of its own. `settled` is the end of a bind with all four names; `unregistered` the same with an Expiration
that cannot be read, so that nothing is registered.
"""

import argparse
import asyncio
import time
import timeit
from typing import Any

from redis.asyncio import Redis

from worker.domain.binding import BindingName, BindingStatus, NameKind
from worker.domain.job import JobState, Lane
from worker.domain.job_ids import new_job_id
from worker.ledger.bindings import BindingChange, BindingLedger
from worker.ledger.keys import ALL_PARTITIONS, binding_index_key, bindings_key, job_keys
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, Claim, NewJob, Settlement
from worker.ledger.registration import registration_of
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

IN_A_WINDOW = 500
BOUND_UNTIL = "2099-01-01 00:00:00"
NOT_TO_BE_READ = "2099-01-01 25:00:00"


def job(number: int, expiration: str) -> NewJob:
    parameters = {
        "PoolKey": "FC100000123456", "PhoneNoA": f"150{number:08d}", "Expiration": expiration,
        "OutId": f"customer-{number:010d}", "OutOrderId": f"order-{number:010d}",
    }  # fmt: skip
    return NewJob(new_job_id(time.time_ns() // 1_000_000), Lane.BATCH, parameters, "0" * 32, "0" * 16)


def end(number: int) -> Settlement:
    fields = {"subs_id": f"1000{number:012d}", "phone_no_x": f"170{number:08d}", "code": "OK", "message": "OK",
              "request_id": "986BCB6D-C9BF-42F9-91CE-3A9901233D36"}  # fmt: skip
    return Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, fields)


async def script_us(redis: Redis) -> float:
    """Redis's own µs for a script, on average since the last call of this."""
    client: Any = redis
    told = (await client.info("commandstats")).get("cmdstat_evalsha", {"usec_per_call": 0})
    await client.config_resetstat()
    return float(told["usec_per_call"])


async def settled_us(redis: Redis, ledger: Ledger, jobs: list[NewJob], first: int) -> float:
    """Redis's µs for settling one of these as bound, in the quietest window: other processes only ever add to it."""
    quietest = float("inf")
    for at in range(0, len(jobs), IN_A_WINDOW):
        window = jobs[at : at + IN_A_WINDOW]
        await ledger.open_many(window)
        claims = await asyncio.gather(
            *(ledger.claim(one.job_id, Lane.BATCH, token="t" * 16, lease_ms=60_000) for one in window)
        )
        await script_us(redis)
        held = [claim for claim in claims if isinstance(claim, Claim)]
        await asyncio.gather(*(ledger.settle(claim, end(first + at + n)) for n, claim in enumerate(held)))
        quietest = min(quietest, await script_us(redis))
    return quietest


async def index_bytes(redis: Redis) -> int:
    client: Any = redis
    keys = [key(partition) for partition in ALL_PARTITIONS for key in (bindings_key, binding_index_key)]
    return sum([await client.memory_usage(key, samples=0) or 0 for key in keys])


async def measure(redis: Redis, most: int) -> None:
    ledger = Ledger(redis, result_ttl_ms=3_600_000, first_look_ms=10_000)
    bindings = BindingLedger(redis, keep_ms=0, result_ttl_ms=0)
    many, known = [], 0
    while known < most:
        size = min(max(known * 9, 1_000), most - known)
        jobs = [job(known + number, BOUND_UNTIL) for number in range(size)]
        registered_us = await settled_us(redis, ledger, jobs, known)
        other = [job(number, NOT_TO_BE_READ) for number in range(1_000)]
        plain_us = await settled_us(redis, ledger, other, 0)
        known += size
        many += jobs
        record = await redis.memory_usage(job_keys(jobs[-1].job_id).job, samples=0)
        print(  # noqa: T201
            f"{known:>9,} bindings: settled {registered_us:5.1f} µs, unregistered {plain_us:5.1f} µs; "
            f"indexes {await index_bytes(redis) / known:4.0f} bytes each, record {record} bytes"
        )
    await look(bindings, known)
    await change_and_sweep(redis, bindings, [one.job_id for one in many[:IN_A_WINDOW]])


async def look(bindings: BindingLedger, known: int) -> None:
    names = [BindingName(NameKind.OUT_ORDER_ID, f"order-{number % known:010d}") for number in range(IN_A_WINDOW)]
    for what, work in (("found", bindings.find), ("looked up", bindings.look_up)):
        began_s = time.perf_counter()
        await work(names)
        print(f"{IN_A_WINDOW} orders {what}: {(time.perf_counter() - began_s) * 1000:.1f} ms")  # noqa: T201


async def change_and_sweep(redis: Redis, bindings: BindingLedger, ids: list[str]) -> None:
    await script_us(redis)
    update = BindingChange(by="p", parameters={"OutId": "another"})
    await asyncio.gather(*(bindings.change(one, update) for one in ids))
    print(f"change of an OutId: {await script_us(redis):.1f} µs")  # noqa: T201
    await asyncio.gather(*(bindings.change(one, BindingChange(by="u", status=BindingStatus.UNBOUND)) for one in ids))
    print(f"unbound: {await script_us(redis):.1f} µs")  # noqa: T201
    await asyncio.sleep(0.01)
    swept, is_more = 0, True
    while is_more:
        some, is_more = await bindings.sweep()
        swept += some
    print(f"swept {swept}, at most 100 by a script: {await script_us(redis):.0f} µs a script")  # noqa: T201


def python_us() -> float:
    """What a bind's end costs the worker more."""
    parameters = job(1, BOUND_UNTIL).parameters
    claim = Claim(job_id="", token="", lane=Lane.BATCH, now_ms=0, fence=1, attempt=1, is_probe=False, is_late=False,
                  is_poison=False, rescues=0, began_at=0, kind=job(1, BOUND_UNTIL).kind, is_confirmed=False,
                  look_up_since=0, had_doubt=False, parameters=parameters, seed="", on_doubt=job(1, "").on_doubt,
                  callback_url="", refusal="", retries=0, throttles=0, possible_orphans=0, accepted_at=0)  # fmt: skip
    settlement = end(1)
    return timeit.timeit(lambda: registration_of(claim, settlement), number=5_000) / 5_000 * 1e6


async def run(url: str, most: int) -> None:
    redis = connect(url, timeout_ms=60_000)
    print(f"names and digests in Python: {min(python_us() for _ in range(3)):.1f} µs")  # noqa: T201
    await measure(redis, most)
    await redis.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=100_000)
    asked = parser.parse_args()
    with EmbeddedRedis(appendfsync="no") as server:
        asyncio.run(run(server.url(), asked.most))


if __name__ == "__main__":
    main()
