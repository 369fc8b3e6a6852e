import asyncio
import logging

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.ledger.support import claimed, lapse, ledger_of, now_ms, opened, record_of, until
from worker.attempt.leases import Lease, Leases
from worker.clock import SystemClock
from worker.ledger.ledger import Ledger

LEASE_MS = 6_000


class HandClock(SystemClock):
    """Stands still until it is moved; sleeping moves it."""

    def __init__(self) -> None:
        self.at_ms = 0.0

    def monotonic_ms(self) -> float:
        return self.at_ms

    async def sleep_ms(self, delay_ms: float) -> None:
        self.at_ms += delay_ms
        await asyncio.sleep(0.001)


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return ledger_of(redis)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def leases(ledger: Ledger, clock: HandClock) -> Leases:
    return Leases(ledger, lease_ms=LEASE_MS, clock=clock)


async def held(ledger: Ledger, leases: Leases, key: str = "1") -> Lease:
    job = await opened(ledger, key)
    return leases.hold(await claimed(ledger, job.job_id, lease_ms=LEASE_MS), leases._clock.monotonic_ms())


async def test_a_fresh_lease_covers_an_attempt_without_asking(
    ledger: Ledger, leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = await held(ledger, leases)

    async def unasked(*_: object, **__: object) -> list[bool]:
        raise AssertionError("it was asked")

    monkeypatch.setattr(ledger, "renew", unasked)
    assert await leases.covers(lease, 5_000)


async def test_a_lease_that_is_too_short_is_renewed_before_anything_is_sent(
    redis: Redis, ledger: Ledger, leases: Leases, clock: HandClock
) -> None:
    lease = await held(ledger, leases)
    clock.at_ms += 3_000
    before = await now_ms(redis)
    assert await leases.covers(lease, 5_000)
    assert int((await record_of(redis, lease.claim.job_id))["lease_until"]) >= before + LEASE_MS


async def test_a_process_that_slept_while_another_took_its_job_may_not_send(
    redis: Redis, ledger: Ledger, leases: Leases, clock: HandClock
) -> None:
    lease = await held(ledger, leases)
    await lapse(redis, lease.claim.job_id)
    await claimed(ledger, lease.claim.job_id, "another")
    clock.at_ms += 2 * LEASE_MS
    assert not await leases.covers(lease, 5_000)
    assert lease.is_lost
    assert not await leases.covers(lease, 5_000)


async def test_what_needs_more_than_a_whole_lease_is_never_covered(ledger: Ledger, leases: Leases) -> None:
    assert not await leases.covers(await held(ledger, leases), LEASE_MS + 1)


async def test_leases_are_renewed_while_they_are_held_and_not_after(
    redis: Redis, ledger: Ledger, leases: Leases
) -> None:
    kept, gone = await held(ledger, leases, "kept"), await held(ledger, leases, "gone")
    first = int((await record_of(redis, kept.claim.job_id))["lease_until"])
    before = await record_of(redis, gone.claim.job_id)
    leases.let_go(gone)
    running = asyncio.create_task(leases.run())

    async def is_renewed() -> bool:
        return int((await record_of(redis, kept.claim.job_id))["lease_until"]) > first + 20

    await until(is_renewed)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not kept.is_lost
    assert len(leases) == 1
    assert await record_of(redis, gone.claim.job_id) == before


async def test_renewing_outlives_a_redis_that_is_away(
    redis: Redis,
    ledger: Ledger,
    leases: Leases,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    lease = await held(ledger, leases)
    first = int((await record_of(redis, lease.claim.job_id))["lease_until"])
    renew, failures = ledger.renew, iter([RedisConnectionError("away"), OSError("reset")])

    async def stumble(*claims: list[object], **lease_ms: int) -> list[bool]:
        if failure := next(failures, None):
            raise failure
        return await renew(*claims, **lease_ms)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "renew", stumble)
    running = asyncio.create_task(leases.run())

    async def is_renewed() -> bool:
        return int((await record_of(redis, lease.claim.job_id))["lease_until"]) > first

    await until(is_renewed)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sum("renewing again" in message for message in caplog.messages) == 2
