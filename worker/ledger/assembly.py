"""The ledger of a process, filing that waits, the seal of the numbers and the retention, put together."""

from collections.abc import Callable

from redis.asyncio import Redis

from worker.domain.durations import duration_ms
from worker.domain.job import JobState
from worker.errors import SettingsError
from worker.ledger.bindings import BindingLedger
from worker.ledger.durable import DurableOpening
from worker.ledger.ledger import Ledger
from worker.ledger.renewals import Renewals
from worker.ledger.retention import Retention
from worker.ledger.seal import Seal
from worker.redis_scripts import connect
from worker.settings import Settings
from worker.tracing import Tracer

_WAITING_CONNECTIONS = 256
"""Each holds one `submit` that waits for a disk, up to a second with `appendfsync everysec`."""


def build_durable_opening(settings: Settings, ledger: Ledger) -> DurableOpening:
    """Call inside the loop that will use it."""
    timeout_ms = duration_ms(settings.durability_timeout)
    return DurableOpening(
        connect(
            settings.redis_url,
            timeout_ms=duration_ms(settings.redis_timeout) + timeout_ms,
            connections=_WAITING_CONNECTIONS,
        ),
        ledger,
        replicas=settings.durability_replicas,
        timeout_ms=timeout_ms,
    )


def build_ledger(
    redis: Redis,
    settings: Settings,
    *,
    order_look_ms: int,
    traces: Tracer,
    seal: Seal,
    make: Callable[..., Ledger] = Ledger,
) -> Ledger:
    """The ledger of one process."""
    return make(
        redis,
        result_ttl_ms=duration_ms(settings.result_ttl),
        first_look_ms=duration_ms(settings.first_look),
        rescues=settings.rescues,
        give_up_ms=duration_ms(settings.callback_give_up),
        order_look_ms=order_look_ms,
        renewal_spread=settings.renewal.spread,
        traces=traces,
        retention=build_retention(settings),
        seal=seal,
    )


def build_bindings(redis: Redis, settings: Settings, renewals: Renewals, seal: Seal) -> BindingLedger:
    """The bindings on record."""
    return BindingLedger(
        redis,
        keep_ms=duration_ms(settings.binding_keep),
        result_ttl_ms=build_retention(settings).ms(JobState.BOUND),
        renewals=renewals,
        seal=seal,
    )


def build_seal(settings: Settings) -> Seal:
    """What makes numbers unreadable in Redis, or leaves them as they are.

    Raises:
        SettingsError: keys are set, and the package that it takes is not installed.
    """
    encryption = settings.encryption
    seal = Seal(encryption.ring, encryption.index_key_bytes, encryption.writes_plain)
    if seal.keys:
        try:
            seal.check()
        except ImportError:
            raise SettingsError(
                "AXN_ENCRYPTION__KEYS: needs the package cryptography: pip install 'axn-bind-worker[privacy]'"
            ) from None
    return seal


def build_retention(settings: Settings) -> Retention:
    """How long finished jobs stay."""
    return Retention(duration_ms(settings.result_ttl), settings.retention.by_state_ms)
