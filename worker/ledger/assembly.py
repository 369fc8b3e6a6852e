"""The ledger of a process, and filing that waits, put together."""

from collections.abc import Callable

from redis.asyncio import Redis

from worker.domain.durations import duration_ms
from worker.ledger.bindings import BindingLedger
from worker.ledger.durable import DurableOpening
from worker.ledger.ledger import Ledger
from worker.ledger.renewals import Renewals
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
    redis: Redis, settings: Settings, *, order_look_ms: int, traces: Tracer, make: Callable[..., Ledger] = Ledger
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
    )


def build_bindings(redis: Redis, settings: Settings, renewals: Renewals) -> BindingLedger:
    """The bindings on record."""
    return BindingLedger(
        redis,
        keep_ms=duration_ms(settings.binding_keep),
        result_ttl_ms=duration_ms(settings.result_ttl),
        renewals=renewals,
    )
