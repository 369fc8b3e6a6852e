"""Celery's broker: is it there, and what lies in it?"""

from collections.abc import Callable, Mapping

from celery import Celery

from worker.broker_channel import POISON_KEY
from worker.doctor.finding import Finding, error, good, warning
from worker.domain.job import Lane
from worker.publisher import Publisher

_CONNECT_TIMEOUT_S = 3


def check_broker(app: Celery, backlogs: Callable[[], Mapping[Lane, int]] | None = None) -> list[Finding]:
    """Blocking: call it in a thread.

    Args:
        app: whose broker.
        backlogs: instead of the broker's own queues.
    """
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_CONNECT_TIMEOUT_S)
            poison = _poison_messages(connection.default_channel)
        waiting = (backlogs or Publisher(app).backlogs)()
    except Exception as failure:  # noqa: BLE001 - each transport of kombu has errors of its own
        told = f"does not answer ({type(failure).__name__})"
        return [error("broker", told, "start it, or correct AXN_BROKER_URL")]
    lanes = ", ".join(f"{lane.value} {count:,}" for lane, count in waiting.items())
    findings = [good("broker", f"answers; messages waiting: {lanes or 'none'}")]
    if poison:
        told = f"{poison:,} messages that no worker can read were set aside"
        findings.append(
            warning("broker.poison", told, f"look at the list {POISON_KEY}, mend who sends them, delete it")
        )
    return findings


def _poison_messages(channel: object) -> int:
    client = getattr(channel, "client", None)  # only Redis's channels have one
    return int(client.llen(POISON_KEY)) if client is not None else 0
