import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.errors import JobNotFoundError, LedgerUnavailableError, WaitTimeoutError
from worker.ledger.endings import Endings
from worker.ledger.keys import job_keys
from worker.ledger.ledger import Ledger
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

from .support import BOUND, claimed, ledger_of, new_job, opened, until


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return ledger_of(redis)


@pytest.fixture
async def endings(redis: Redis, ledger: Ledger) -> AsyncIterator[Endings]:
    endings = Endings(redis, ledger)
    yield endings
    await endings.aclose()


async def end(ledger: Ledger, job_id: str) -> None:
    assert await ledger.settle(await claimed(ledger, job_id), BOUND)


async def subscribers(redis: Redis, *job_ids: str) -> list[int]:
    client: Any = redis
    counts = await client.pubsub_numsub(*(job_keys(job_id).ended_channel for job_id in job_ids))
    return [count for _, count in counts]


async def until_subscribed(redis: Redis, *job_ids: str) -> None:
    async def all_are() -> bool:
        return await subscribers(redis, *job_ids) == [1] * len(job_ids)

    await until(all_are)


async def test_a_job_that_has_ended_is_returned_without_a_subscription(ledger: Ledger, endings: Endings) -> None:
    job = await opened(ledger)
    await end(ledger, job.job_id)
    assert (await endings.wait(job.job_id, 5)).is_bound
    assert endings._listener is None


async def test_a_waiter_is_woken_by_the_end_and_unsubscribes(redis: Redis, ledger: Ledger, endings: Endings) -> None:
    job = await opened(ledger)
    waiter = asyncio.create_task(endings.wait(job.job_id, 10))
    await until_subscribed(redis, job.job_id)
    await end(ledger, job.job_id)
    assert (await asyncio.wait_for(waiter, 5)).phone_no_x == "17000001111"

    async def left() -> bool:
        return await subscribers(redis, job.job_id) == [0]

    await until(left)
    assert not endings._waiters


async def test_an_unfinished_job_is_a_timeout_that_leaves_nothing_behind(ledger: Ledger, endings: Endings) -> None:
    job = await opened(ledger)
    with pytest.raises(WaitTimeoutError, match=job.job_id):
        await endings.wait(job.job_id, 0.03)
    assert not endings._waiters
    assert not endings._subscribed


async def test_a_timeout_before_the_subscription_is_confirmed_leaves_nothing_behind(
    ledger: Ledger, endings: Endings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unheard(*channels: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(endings._pubsub, "subscribe", unheard)
    job = await opened(ledger)
    with pytest.raises(WaitTimeoutError):
        await endings.wait(job.job_id, 0.03)
    assert not endings._waiters
    assert not endings._subscribed


async def test_a_refused_subscription_is_named_and_does_not_spoil_the_next(
    redis: Redis, ledger: Ledger, endings: Endings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*channels: str) -> None:
        raise RedisConnectionError

    job = await opened(ledger)
    with monkeypatch.context() as broken:
        broken.setattr(endings._pubsub, "subscribe", refuse)
        with pytest.raises(LedgerUnavailableError):
            await endings.wait(job.job_id, 1)
    waiter = asyncio.create_task(endings.wait(job.job_id, 10))
    await until_subscribed(redis, job.job_id)
    await end(ledger, job.job_id)
    assert (await asyncio.wait_for(waiter, 5)).is_bound


async def test_an_unknown_job_is_told_at_once(endings: Endings) -> None:
    with pytest.raises(JobNotFoundError):
        await endings.wait(new_job("none").job_id, 5)


async def test_two_waiters_of_one_job_are_both_woken(redis: Redis, ledger: Ledger, endings: Endings) -> None:
    job = await opened(ledger)
    waiters = asyncio.gather(*(endings.wait(job.job_id, 10) for _ in range(2)))
    await until_subscribed(redis, job.job_id)
    await end(ledger, job.job_id)
    assert all(job.is_bound for job in await asyncio.wait_for(waiters, 5))


async def test_one_of_two_waiters_leaving_does_not_deafen_the_other(
    redis: Redis, ledger: Ledger, endings: Endings
) -> None:
    job = await opened(ledger)
    patient = asyncio.create_task(endings.wait(job.job_id, 10))
    with pytest.raises(WaitTimeoutError):
        await endings.wait(job.job_id, 0.03)
    await until_subscribed(redis, job.job_id)
    await end(ledger, job.job_id)
    assert (await asyncio.wait_for(patient, 5)).is_bound


async def test_many_first_waiters_at_once_share_one_connection(
    redis: Redis, redis_server: EmbeddedRedis, ledger: Ledger
) -> None:
    jobs = [await opened(ledger, str(number)) for number in range(20)]
    cold = connect(redis_server.url(0), timeout_ms=2000)
    endings = Endings(cold, ledger)
    waiters = asyncio.gather(*(endings.wait(job.job_id, 10) for job in jobs))
    await until_subscribed(redis, *(job.job_id for job in jobs))
    client: Any = redis
    assert len(await client.client_list(_type="pubsub")) == 1
    for job in jobs:
        await end(ledger, job.job_id)
    assert len(await asyncio.wait_for(waiters, 5)) == 20
    await endings.aclose()
    await cold.aclose()


async def test_a_broken_subscription_is_made_anew(redis: Redis, ledger: Ledger, endings: Endings) -> None:
    job = await opened(ledger)
    waiter = asyncio.create_task(endings.wait(job.job_id, 20))
    await until_subscribed(redis, job.job_id)
    client: Any = redis
    assert await client.client_kill_filter(_type="pubsub") == 1
    await until_subscribed(redis, job.job_id)
    await end(ledger, job.job_id)
    assert (await asyncio.wait_for(waiter, 10)).is_bound


async def test_an_end_while_the_subscription_was_broken_is_not_missed(
    redis: Redis, ledger: Ledger, endings: Endings
) -> None:
    job = await opened(ledger)
    waiter = asyncio.create_task(endings.wait(job.job_id, 20))
    await until_subscribed(redis, job.job_id)
    claim = await claimed(ledger, job.job_id)
    client: Any = redis
    async with client.pipeline(transaction=True) as pipeline:  # killed and ended in one go: nobody hears the message
        pipeline.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        pipeline.hset(job_keys(job.job_id).job, mapping={"state": "bound", "token": claim.token})
        await pipeline.execute()
    assert (await asyncio.wait_for(waiter, 10)).is_bound


async def test_closing_ends_even_a_listener_that_swallowed_its_cancellation(
    redis: Redis, ledger: Ledger, endings: Endings, monkeypatch: pytest.MonkeyPatch
) -> None:
    swallowed: list[str] = []
    hear = endings._pubsub.get_message

    async def swallow_once(timeout: float | None) -> dict[str, Any] | None:  # noqa: ASYNC109 - redis-py's signature
        try:
            message: dict[str, Any] | None = await hear(timeout=timeout)
        except asyncio.CancelledError:
            if swallowed:
                raise
            swallowed.append("once")
            return None
        return message

    monkeypatch.setattr(endings._pubsub, "get_message", swallow_once)
    job = await opened(ledger)
    with pytest.raises(WaitTimeoutError):
        await endings.wait(job.job_id, 0.05)
    await asyncio.wait_for(endings.aclose(), 5)
    assert swallowed == ["once"]
