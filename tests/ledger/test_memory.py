"""What a job takes in a Redis that is set up as ours are: docker-compose.yml, `axn up`, the tests."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from worker.domain.job import JobState
from worker.domain.job_ids import job_id_for_key, partition_of
from worker.ledger.keys import binding_index_key, bindings_key, job_keys
from worker.ledger.records import AttemptKnowledge, Settlement

from .support import BOUND, BOUND_FIELDS, PHONE, claimed, ledger_of, new_job, opened

PARAMETERS = {"PoolKey": "FC100000123456", "PhoneNoA": PHONE, "Expiration": "2099-01-01 00:00:00"}


def bound(number: int) -> Settlement:
    fields = BOUND_FIELDS | {"subs_id": f"1000000{number:09d}", "phone_no_x": f"170{number:08d}"}
    return Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, fields)


async def bytes_of(redis: Redis, key: str) -> int:
    client: Any = redis
    assert await client.object("encoding", key) == "listpack"
    used: int = await client.memory_usage(key, samples=0)
    return used


async def test_a_job_s_record_stays_packed_however_its_request_looks(redis: Redis) -> None:
    ledger = ledger_of(redis)
    parameters = PARAMETERS | {"OutOrderId": "order-0000000001"}
    job = await opened(ledger, parameters=parameters, callback_url="https://shop.example/axn")
    key = job_keys(job.job_id).job
    assert await bytes_of(redis, key) <= 600
    assert await ledger.settle(await claimed(ledger, job.job_id), BOUND)
    assert await bytes_of(redis, key) <= 600


async def test_what_a_binding_takes_beside_its_job_s_record_is_bounded(redis: Redis) -> None:
    ledger = ledger_of(redis)
    ids = [id_ for number in range(12_000) if partition_of(id_ := job_id_for_key(f"n{number}")) == 3][:600]
    for at in range(0, len(ids), 100):
        jobs = [
            new_job(job_id=id_, parameters=PARAMETERS | {"OutId": f"customer-{id_}", "OutOrderId": f"order-{id_}"})
            for id_ in ids[at : at + 100]
        ]
        await ledger.open_many(jobs)
        claims = await asyncio.gather(*(claimed(ledger, job.job_id) for job in jobs))
        await asyncio.gather(*(ledger.settle(claim, bound(at + number)) for number, claim in enumerate(claims)))
    client: Any = redis
    used = [await client.memory_usage(key, samples=0) for key in (bindings_key(3), binding_index_key(3))]
    assert await client.zcard(bindings_key(3)) == len(ids)
    assert sum(used) / len(ids) <= 480
