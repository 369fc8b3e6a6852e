"""What a job takes in a Redis that is set up as ours are: docker-compose.yml, `axn up`, the tests."""

from typing import Any

from redis.asyncio import Redis

from worker.ledger.keys import job_keys

from .support import BOUND, PHONE, claimed, ledger_of, opened


async def bytes_of(redis: Redis, key: str) -> int:
    client: Any = redis
    assert await client.object("encoding", key) == "listpack"
    used: int = await client.memory_usage(key, samples=0)
    return used


async def test_a_job_s_record_stays_packed_however_its_request_looks(redis: Redis) -> None:
    ledger = ledger_of(redis)
    parameters = {"PoolKey": "FC100000123456", "PhoneNoA": PHONE, "Expiration": "2099-01-01 00:00:00"}
    parameters["OutOrderId"] = "order-0000000001"
    job = await opened(ledger, parameters=parameters, callback_url="https://shop.example/axn")
    key = job_keys(job.job_id).job
    assert await bytes_of(redis, key) <= 600
    assert await ledger.settle(await claimed(ledger, job.job_id), BOUND)
    assert await bytes_of(redis, key) <= 600
