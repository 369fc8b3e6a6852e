"""Filing that waits, put together."""

from worker.domain.durations import duration_ms
from worker.ledger.durable import DurableOpening
from worker.ledger.ledger import Ledger
from worker.redis_scripts import connect
from worker.settings import Settings

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
