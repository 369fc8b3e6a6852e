"""A whole system on the Redis under test, and what its producer asks of it."""

import asyncio
import contextlib
import json
import os
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks import BindRequest, Job, read, wait
from tests.local.processes import wait_until
from worker import producers
from worker.cli.demo import TUNING
from worker.local.system import LocalSystem, SystemPlan

WAIT_S = 30.0


@dataclass
class Shop:
    """A producer in this process, with workers in their own."""

    system: LocalSystem

    def request(self, order: str, **more: Any) -> BindRequest:
        given: dict[str, Any] = {
            "phone_no_a": "13900001234",
            "expires_in": "2h",
            "out_order_id": order,
            "callback_url": self.system.receiver_url + "/axn",
        }
        return BindRequest(**(given | more))

    def ended(self, job_ids: Sequence[str]) -> list[Job]:
        return [wait(job_id, WAIT_S) for job_id in job_ids]

    def bindings_of(self, order: str) -> list[dict[str, Any]]:
        found = _get(f"{self.system.sandbox_url}/_sandbox/bindings?out_order_id={order}")["bindings"]
        return list(found)

    def await_callbacks(self, job_ids: Sequence[str]) -> None:
        """One verified callback for each, and the ledger knows of it."""
        wait_until(lambda: all(read(job_id).callback_state == "delivered" for job_id in job_ids), WAIT_S)
        told = [event["data"]["job_id"] for event in _get(self.system.receiver_url + "/_receiver/events")]
        assert {job_id: told.count(job_id) for job_id in job_ids} == dict.fromkeys(job_ids, 1)


@contextlib.contextmanager
def shop_on(redis_env: Mapping[str, str]) -> Iterator[Shop]:
    """Sandbox, receiver and two workers; the AXN_ variables point at them and at this Redis."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    tuning = {**TUNING, "AXN_PACE__BIND_AXN_PER_SECOND": "200", **redis_env}
    system = LocalSystem(SystemPlan(with_redis=False, latency_ms=5, tuning=tuning), on_event=lambda _part, _text: None)

    def run(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    before = dict(os.environ)
    try:
        run(system.__aenter__())
        os.environ.update(system.env)
        producers.close()  # whoever used them before in this process had another system
        yield Shop(system)
    finally:
        producers.close()
        os.environ.clear()
        os.environ.update(before)
        run(system.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)
