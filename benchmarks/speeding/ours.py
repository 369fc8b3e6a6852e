"""Ours: the project as it is installed, with all it does to be safe, and the settings of production.

Only the pace's rate is set, so high that it bounds nothing, and what lets callbacks go to this machine.
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

from benchmarks.speeding.obvious import KEY_ID, KEY_SECRET, POOL_KEY
from benchmarks.speeding.servers import ORDER
from worker import producers
from worker.domain.bind_request import BindRequest
from worker.domain.job import Lane

_EXPIRATION = datetime(2035, 1, 1, tzinfo=UTC)
ENV = {
    "AXN_ACCESS_KEY_ID": KEY_ID,
    "AXN_ACCESS_KEY_SECRET": KEY_SECRET,
    "AXN_POOL_KEY": POOL_KEY,
    "AXN_PACE__BIND_AXN_PER_SECOND": "100000",
    "AXN_CALLBACK_SECRET": "whsec_" + base64.b64encode(bytes(range(24))).decode(),
    "AXN_CALLBACK_ALLOW_HTTP": "1",
    "AXN_CALLBACK_ALLOW_NETS": "127.0.0.0/8",
    "AXN_CALLBACK_PORTS": "",
}


def request(number: int, lane: Lane, callback_url: str) -> BindRequest:
    """One order."""
    return BindRequest(
        phone_no_a=f"139{number % 10**8:08d}",
        expiration=_EXPIRATION,
        out_order_id=ORDER.format(number),
        callback_url=callback_url,
        lane=lane,
    )


def submit_singles(numbers: Sequence[int], callback_url: str) -> list[str]:
    """A producer's part on checkout: a call, and so a message, for each. Returns the jobs' ids."""
    return [producers.submit(request(number, Lane.CHECKOUT, callback_url)) for number in numbers]


def submit_batch(numbers: Sequence[int], callback_url: str) -> list[str]:
    """A producer's part of a batch: one call, and so one message, for all of them. Returns the jobs' ids."""
    requests = [request(number, Lane.BATCH, callback_url) for number in numbers]
    return [submitted.job_id for submitted in producers.submit_many(requests)]


@cache
def worker_command(lanes: str) -> list[str]:
    """Of one worker process."""
    return ["-m", "worker.cli", "worker", "--lanes", lanes]
