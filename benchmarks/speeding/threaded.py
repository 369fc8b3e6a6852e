"""A modern build: dramatiq, its threads and the official SDK.

Results and retries by its own middleware; an actor to bind and one to call back, which goes first. More threads than
its default of 8, since they mostly wait for the provider.
"""

import os
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.speeding.obvious import bind_at_provider, http
from benchmarks.speeding.servers import ORDER

_RESULT_TTL_MS = 86_400_000

_URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
broker = RedisBroker(url=_URL)  # type: ignore[no-untyped-call] # its own types end there
broker.add_middleware(
    Results(backend=RedisBackend(url=_URL), result_ttl=_RESULT_TTL_MS)  # type: ignore[no-untyped-call] # as above
)


@dramatiq.actor(broker=broker, queue_name="binds", store_results=True, max_retries=5, priority=10)
def bind(order: str, phone_no_a: str, callback_url: str) -> dict[str, str]:
    """Bind, then have the outcome told."""
    bound = bind_at_provider(order, phone_no_a)
    call_back.send(callback_url, bound)
    return bound


@dramatiq.actor(broker=broker, queue_name="callbacks", max_retries=5, priority=0)
def call_back(url: str, event: dict[str, str]) -> None:
    """Tell the outcome."""
    http().post(url, json=event).raise_for_status()


def submit(numbers: Sequence[int], callback_url: str) -> None:
    """A producer's part: a message for each."""
    for number in numbers:
        bind.send(ORDER.format(number), f"139{number % 10**8:08d}", callback_url)
