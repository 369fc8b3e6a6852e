"""The paces of a worker process, as the settings say."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from redis.asyncio import Redis

from worker.clock import Clock
from worker.domain.durations import duration_ms
from worker.domain.job import Lane
from worker.pace.concurrency import InFlight
from worker.pace.keys import PaceKeys, account_of
from worker.pace.pace import Pace
from worker.pace.rules import CircuitRules, PaceRules, ProbeRules, RetryBudget
from worker.settings import Settings


def build_paces(redis: Redis, settings: Settings, clock: Clock) -> Mapping[str, Pace]:
    """One for each action that may be sent; they share the slots for calls in flight."""
    in_flight = InFlight(settings.in_flight, clock)
    account, endpoint = account_of(settings.access_key_id), urlsplit(settings.endpoint).netloc
    return {
        action: Pace(
            redis,
            keys=PaceKeys(account, action, endpoint),
            rules=_rules(settings, per_second),
            in_flight=in_flight,
            share_without_redis=settings.pace.share_without_redis,
            clock=clock,
        )
        for action, per_second in settings.pace.per_second.items()
    }


def _rules(settings: Settings, per_second: float) -> PaceRules:
    pace, circuit, retry = settings.pace, settings.circuit, settings.retry
    return PaceRules(
        per_second=per_second,
        depth_us={
            Lane.CHECKOUT: 1000 * duration_ms(pace.checkout_depth),
            Lane.RENEWAL: 1000 * duration_ms(pace.renewal_depth),
            Lane.BATCH: 1000 * duration_ms(pace.batch_depth),
        },
        assured_share=pace.assured_share,
        probes=ProbeRules(
            first_interval_ms=duration_ms(pace.probe_first),
            longest_interval_ms=duration_ms(pace.probe_longest),
            probe_ms=settings.lease_ms,
        ),
        retries=RetryBudget(retry.budget_per_second, retry.budget_share),
        circuit=CircuitRules(
            circuit.least, circuit.share, duration_ms(circuit.probe_first), duration_ms(circuit.probe_longest)
        ),
    )
