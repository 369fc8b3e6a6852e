"""Somebody is told in time when bindings will end before they can be renewed, and not all the time."""

import asyncio
import logging
import time
from typing import Any, cast

import pytest
from celery import Celery
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.registry.bench import ACCOUNT, Bench
from tests.registry.test_outlook import state
from tests.year.engine import settings
from worker.bootstrap import build_worker
from worker.domain.job_ids import partition_of
from worker.errors import AxnError
from worker.ledger.adopted import adopted_id
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.keys import bindings_key
from worker.ledger.renewal_keys import renewals_due_key, renewals_failing_key
from worker.local.redis_server import EmbeddedRedis
from worker.pace.state import AccountState
from worker.registry.alarm import LOOK_EVERY_MS, RenewalAlarm, Risk, RiskView


def alarm(bench: Bench, pace: AccountState) -> RenewalAlarm:
    async def read(_actions: list[str]) -> AccountState:
        return pace

    view = RiskView(bench.renewals, read, 0.05)
    return RenewalAlarm(view, bench.redis, account=ACCOUNT, clock=bench.clock)


async def make_due(bench: Bench, count: int, ends_in_s: float) -> None:
    client: Any = bench.redis
    ends_ms = (time.time() + ends_in_s) * 1000
    for partition in range(16):
        members = {f"b{partition}-{number}": ends_ms for number in range(count // 16)}
        if members:
            await client.zadd(renewals_due_key(partition), members)


async def test_too_many_for_the_pace_are_an_error_in_the_log_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await make_due(bench, 16_000, 300)
    watch, other = alarm(bench, state()), alarm(bench, state())
    with caplog.at_level(logging.ERROR):
        risk = await watch.look()
        await other.look()
        await watch.look()
    assert risk is not None
    assert risk.unrenewed == pytest.approx(1_000, abs=200)
    assert risk.first_loss == pytest.approx((time.time() + 300) * 1000, abs=5_000)
    assert watch.seen.is_any
    (record,) = caplog.records
    assert f"{risk.unrenewed} bindings will end before they can be renewed at 50 calls per second" in record.message
    assert "axn renewals show" in record.message


@pytest.mark.parametrize(("count", "ends_in_s"), [(0, 300), (1_600, 300), (16_000, 3_600)])
async def test_what_can_be_renewed_in_time_is_no_alarm(
    bench: Bench, caplog: pytest.LogCaptureFixture, count: int, ends_in_s: float
) -> None:
    await make_due(bench, count, ends_in_s)
    watch = alarm(bench, state())
    watch.seen = Risk(1, 1, 1, 1.0, "")
    with caplog.at_level(logging.ERROR):
        risk = await watch.look()
    assert risk is None or not risk.is_any
    assert not watch.seen.is_any
    assert watch.seen.first_loss == 0
    assert (risk is None) == (count == 0)
    assert not caplog.records


async def test_a_paused_lane_with_bindings_about_to_end_is_an_alarm(bench: Bench) -> None:
    await make_due(bench, 16, 300)
    risk = await alarm(bench, state(paused="renewal")).look()
    assert risk is not None
    assert (risk.unrenewed, risk.why) == (16, "paused")


@pytest.mark.parametrize(("hours", "is_alarm"), [(0.5, True), (5.0, False)])
async def test_a_renewal_that_fails_is_an_alarm_when_its_binding_ends_soon(
    bench: Bench, hours: float, is_alarm: bool
) -> None:
    made = await bench.bound(hours=hours)
    await bench.adopted_binding(made, renew_while="open")
    client: Any = bench.redis
    binding_id = adopted_id(ACCOUNT, made.subs_id)
    await client.hset(renewals_failing_key(partition_of(binding_id)), binding_id, "isv.OUT_OF_SERVICE")
    kept = await bench.kept(made)
    risk = await alarm(bench, state()).look()
    assert risk is not None
    assert isinstance(kept, KeptBinding)
    assert (risk.failing, risk.first_end) == ((1, kept.expires_at) if is_alarm else (0, 0))
    assert await client.zscore(bindings_key(partition_of(binding_id)), binding_id) == kept.expires_at


async def test_every_worker_process_watches(redis_server: EmbeddedRedis) -> None:
    services = build_worker(settings(redis_server.url(0)), cast(Celery, None))
    services.start()
    running = {task.get_coro().__qualname__ for task in services.background}  # type: ignore[union-attr]
    await services.aclose(0)
    assert "RenewalAlarm.run" in running


async def test_a_redis_that_is_away_is_waited_for(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    await make_due(bench, 16, 300)
    failures: list[Exception] = [RedisConnectionError("away"), OSError("away"), AxnError("no such action")]

    async def read(_actions: list[str]) -> AccountState:
        if failures:
            raise failures.pop(0)
        raise asyncio.CancelledError

    watch = RenewalAlarm(
        RiskView(bench.renewals, read, 0.05), bench.redis, account=ACCOUNT, clock=bench.clock, random_share=lambda: 0.5
    )
    with pytest.raises(asyncio.CancelledError):
        await watch.run()
    told = [record.message for record in caplog.records]
    assert [message.startswith("renewal alarm") for message in told] == [True] * 3
    assert bench.clock.slept_ms == [LOOK_EVERY_MS] * 4
