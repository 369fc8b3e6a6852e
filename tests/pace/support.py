"""A pace of its own for each test."""

import asyncio

from redis.asyncio import Redis

from tests.ledger.support import now_ms
from worker.clock import Clock, SystemClock
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.pace.concurrency import InFlight
from worker.pace.keys import PaceKeys
from worker.pace.pace import Pace
from worker.pace.rules import CircuitRules, PaceRules, RetryBudget

DEPTH_US = {Lane.CHECKOUT: 50_000, Lane.RENEWAL: 40_000, Lane.BATCH: 30_000}
KEYS = PaceKeys("acc", "BindAxn", "endpoint")
SCHEDULE, STOP, CIRCUIT, ORDERS, WAITING = KEYS.all
SLOWLY_PROBED = CircuitRules(first_interval_ms=60_000, longest_interval_ms=240_000)
TEN_RETRIES = RetryBudget()
DONE = Outcome(Verdict.DONE, "OK", http_status=200)
TIMED_OUT = Outcome(Verdict.AMBIGUOUS, "transport.timeout")


def pace_of(
    redis: Redis,
    *,
    action: str = "BindAxn",
    per_second: float = 1_000,
    retries: RetryBudget = TEN_RETRIES,
    circuit: CircuitRules = SLOWLY_PROBED,
    in_flight: InFlight | None = None,
    share_without_redis: float = 0.0,
    clock: Clock | None = None,
) -> Pace:
    """One process's pace."""
    return Pace(
        redis,
        keys=PaceKeys("acc", action, "endpoint"),
        rules=PaceRules(per_second, DEPTH_US, retries=retries, circuit=circuit),
        in_flight=in_flight or InFlight(1_000, SystemClock()),
        share_without_redis=share_without_redis,
        clock=clock or SystemClock(),
        random_share=lambda: 0.0,
    )


class HeldClock(SystemClock):
    """Lets nobody wake up."""

    async def sleep_ms(self, delay_ms: float) -> None:
        await asyncio.Event().wait()


async def let_a_second_pass(redis: Redis) -> None:
    """Past the start without a burst: the schedule is free."""
    pace, client = pace_of(redis), redis
    pace.unused(await pace.permit(Lane.CHECKOUT, patience_ms=100))
    await client.hset(SCHEDULE, "tat", str((await now_ms(redis)) * 1000))
