"""The parts of one process's renewals, put together."""

from collections.abc import Callable

from redis.asyncio import Redis

from worker.attempt.attempt import Attempts
from worker.attempt.paced_provider import LaneCaller
from worker.domain.durations import duration_ms
from worker.domain.job import Lane
from worker.ledger.expiry_checks import ExpiryChecks
from worker.ledger.renewals import Renewals
from worker.ledger.seal import Seal
from worker.pace.keys import account_of
from worker.provider.api import ProviderApi
from worker.publisher import Announcer
from worker.renewals.expiry_guard import ExpiryGuard
from worker.renewals.gone import GoneDesk
from worker.renewals.renewing import Renewer
from worker.renewals.rules import RenewalRules
from worker.renewals.session import RenewalSessions
from worker.settings import Settings


def build_renewals(
    redis: Redis, settings: Settings, *, order_look_ms: int, seal: Seal, make: Callable[..., Renewals] = Renewals
) -> Renewals:
    """What the ledger knows of kept bindings."""
    return make(
        redis,
        spread=settings.renewal.spread,
        give_up_ms=duration_ms(settings.callback_give_up),
        order_look_ms=order_look_ms,
        seal=seal,
    )


def build_expiry_checks(redis: Redis, settings: Settings) -> ExpiryChecks:
    """What is known of the settings' account."""
    return ExpiryChecks(redis, account_of(settings.access_key_id))


def build_sessions(settings: Settings, renewals: Renewals, attempts: Attempts, announcer: Announcer) -> RenewalSessions:
    """The sessions of the worker process that makes these attempts."""
    clock, provider = attempts.clock, attempts.provider
    rules = RenewalRules(
        lease_ms=duration_ms(settings.renewal.lease),
        width=settings.renewal.in_flight,
        hold_ms=attempts.rules.attempt_timeout_ms + attempts.rules.retry.probe_after_ms,
        spread=settings.renewal.spread,
        read_lag_ms=attempts.rules.retry.read_lag_ms,
        retry=attempts.rules.retry,
        full_phone_no_a=attempts.rules.full_phone_no_a,
    )
    api = ProviderApi(LaneCaller(provider, Lane.RENEWAL))
    guard = ExpiryGuard(build_expiry_checks(renewals.redis, settings), api, clock, read_lag_ms=rules.read_lag_ms)
    gone = GoneDesk(renewals, attempts.ledger, api, announcer, rules, clock)
    renewer = Renewer(renewals, attempts.bindings, attempts.ledger, provider, guard, gone, rules, clock)
    return RenewalSessions(renewals, renewer, rules, clock=clock, progress=attempts.progress)
