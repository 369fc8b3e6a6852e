"""What traces cost: CPU of the process for each job, from `submit` to the delivered callback, without and with them.

    python -m benchmarks.traces [--jobs 2000] [--rounds 3]

One process on a Redis of its own; the provider and the receiver answer at once, from within, so that what is measured
is the engine. Spans go over OTLP/HTTP to a sink in another process. The cases take turns; the medians are told.
"""

import argparse
import asyncio
import dataclasses
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from celery import Celery

from worker.bootstrap import WorkerServices, build_worker
from worker.callbacks.results import TryResult
from worker.clock import SystemClock
from worker.delivery.assembly import DeliveryRules, build_delivery
from worker.domain.bind_request import BindRequest
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.local.redis_server import EmbeddedRedis
from worker.progress import Progress
from worker.settings import Settings

CASES: dict[str, dict[str, str]] = {
    "off": {"AXN_TRACES__ENABLED": "0"},
    "on, share 0": {"AXN_TRACES__ENABLED": "1", "AXN_TRACES__SHARE": "0"},
    "on, share 0.01": {"AXN_TRACES__ENABLED": "1", "AXN_TRACES__SHARE": "0.01"},
    "on, share 1": {"AXN_TRACES__ENABLED": "1", "AXN_TRACES__SHARE": "1"},
}
_IDS_AT_ONCE = 50
_SETTINGS = {
    "AXN_ACCESS_KEY_ID": "k", "AXN_ACCESS_KEY_SECRET": "s", "AXN_POOL_KEY": "FC1",
    "AXN_CALLBACK_ALLOW_HTTP": "1", "AXN_PACE__BIND_AXN_PER_SECOND": "1000000", "AXN_IN_FLIGHT": "256",
}  # fmt: skip


class Provider:
    """Binds at once."""

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:  # noqa: ARG002 - its face
        """See `Caller.call`."""
        answer = {"SecretBindDTO": {"SubsId": "1000000768798832", "SecretNo": "17000001111"}}
        return Outcome(Verdict.DONE, "OK", "OK", "D5E4A1B2-1234-4A5B-8C6D-123456789012", 200, answer=answer)


class Receiver:
    """Takes everything at once."""

    def __init__(self) -> None:
        self.told = 0

    async def send(self, *, url: str, webhook_id: str, body: str, secret: str = "") -> TryResult:  # noqa: ARG002 - its face
        """See `Sender.send`."""
        self.told += 1
        return TryResult("", status=200)


class NoBroker:
    """Publishes nothing: the ids are handed over."""

    async def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:  # noqa: ARG002 - its face
        """See `Announcer.publish`."""
        return True


async def cpu_us(settings: Settings, jobs: int) -> float:
    """Of each job."""
    services = build_worker(settings, cast(Celery, None))
    receiver, traces = Receiver(), services.producer.traces
    rules = DeliveryRules([10_000], lease_ms=30_000, give_up_ms=10**8, in_flight=10_000, per_receiver=10_000)
    delivery = build_delivery(
        services.producer.redis, receiver, rules, clock=SystemClock(), progress=Progress(), traces=traces
    )
    provider = dataclasses.replace(services.attempts.provider, provider=Provider())
    services = dataclasses.replace(
        services, attempts=dataclasses.replace(services.attempts, provider=provider, courier=delivery)
    )
    cast(Any, services.producer.intake)._announcer = NoBroker()  # noqa: SLF001 - there is no broker here
    await run(services, _IDS_AT_ONCE)
    began_s = time.process_time()
    await run(services, jobs)
    await delivery.drain(30)
    used_s = time.process_time() - began_s
    if receiver.told != jobs + _IDS_AT_ONCE:
        raise SystemExit(f"{receiver.told} callbacks of {jobs + _IDS_AT_ONCE} jobs: nothing was measured")
    await services.aclose(0)
    return used_s / jobs * 1e6


async def run(services: WorkerServices, jobs: int) -> None:
    """Submit one by one, work on so many at once."""
    for _ in range(0, jobs, _IDS_AT_ONCE):
        ids = [await services.producer.intake.submit(request(number)) for number in range(_IDS_AT_ONCE)]
        await services.attempts.work_on(Lane.CHECKOUT, ids)


def request(number: int) -> BindRequest:
    """One of a shop."""
    return BindRequest(phone_no_a=str(13_900_000_000 + number), expires_in="2h", callback_url="http://shop.example/axn")


def sink(listening: socket.socket) -> None:
    """Answers every request with 200."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(take, sock=listening)
        await server.serve_forever()

    asyncio.run(serve())


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0))
    child = multiprocessing.Process(target=sink, args=(listening,), daemon=True)
    child.start()
    os.environ.update(_SETTINGS, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{listening.getsockname()[1]}")
    used: dict[str, list[float]] = {name: [] for name in CASES}
    with EmbeddedRedis(appendfsync="no") as server:
        for _ in range(asked.rounds):
            for name, given in CASES.items():
                os.environ.update(given)
                used[name].append(asyncio.run(cpu_us(Settings(redis_url=server.url()), asked.jobs)))
    child.terminate()
    off = statistics.median(used["off"])
    for name, figures in used.items():
        median = statistics.median(figures)
        spread = f"{min(figures):.0f} to {max(figures):.0f}"
        print(f"{name:<16} {median:7.0f} µs CPU a job ({spread}), {median - off:+6.0f} µs")  # noqa: T201


if __name__ == "__main__":
    main()
