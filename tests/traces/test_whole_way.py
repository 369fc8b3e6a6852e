"""One trace from a producer's door to the receiver, with every process and every wire real."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from celery import Celery

from tests.renewals.bench import POOL, sandbox
from tests.traces.collector import Collector, Sent, collecting
from worker.app import build_app
from worker.bootstrap import build_producer
from worker.domain.bind_request import BindRequest
from worker.local.redis_server import EmbeddedRedis
from worker.settings import Settings

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_WITHIN_S = 50.0
COMMANDS = {
    "batch": ["worker.cli", "worker", "--log-level", "warning", "--lanes", "batch"],
    "checkout": ["celery", "-A", "worker.app", "worker", "-P", "prefork", "-c", "1", "-l", "warning", "-Q",
                 "axn.checkout"],
}  # fmt: skip
"""Both ways to run one: the jobs of a lane are worked on, and called back, in one of these processes."""


class Receiver:
    """Remembers the headers of what it is told."""

    def __init__(self) -> None:
        self.url = ""
        self.told: list[dict[str, str]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.told.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/axn", receiver.take)
    async with TestServer(app, access_log=None) as server:
        receiver.url = str(server.make_url("/axn"))
        yield receiver


@asynccontextmanager
async def worker(environment: dict[str, str], command: list[str]) -> AsyncIterator[None]:
    """A worker process that is ready; at its end it is told to stop, and has ended well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *command, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_WITHIN_S):
            while b"axn worker ready" not in (line := await process.stdout.readline()):
                assert line, "it has ended"
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(_WITHIN_S):
            await process.communicate()
    assert process.returncode == 0


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(_WITHIN_S):
        while not condition():  # noqa: ASYNC110 - it looks at what a server was told
            await asyncio.sleep(0.02)


@pytest.mark.whole
async def test_one_trace_from_the_producer_to_the_receiver(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox() as (_, endpoint), receiving() as receiver, collecting() as collector:
        for name, value in {
            "AXN_REDIS_URL": redis_server.url(6), "AXN_BROKER_URL": redis_server.broker_url(7),
            "AXN_ACCESS_KEY_ID": "testid", "AXN_ACCESS_KEY_SECRET": "testsecret", "AXN_ENDPOINT": endpoint,
            "AXN_POOL_KEY": POOL, "AXN_CALLBACK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "AXN_CALLBACK_ALLOW_HTTP": "1", "AXN_CALLBACK_ALLOW_NETS": "127.0.0.0/8", "AXN_CALLBACK_PORTS": "",
            "AXN_TRACES__ENABLED": "1", "AXN_TRACES__TO_RECEIVERS": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        settings, environment = Settings(), dict(os.environ)
        request = {"phone_no_a": "15012345678", "expires_in": "2h", "callback_url": receiver.url}
        async with AsyncExitStack() as stack:
            workers = (worker(environment, command) for command in COMMANDS.values())
            await asyncio.gather(*(stack.enter_async_context(one) for one in workers))
            producer = build_producer(settings, build_app(settings))
            job_ids = [await producer.intake.submit(BindRequest(**request, lane=lane)) for lane in COMMANDS]
            client = Celery("shop", broker=settings.effective_broker_url, set_as_current=False)
            await asyncio.to_thread(
                client.send_task, "axn.bind", args=[request], queue="axn.checkout", task_id=str(uuid4()),
                headers={"traceparent": CALLER},
            )  # fmt: skip
            await until(lambda: len(receiver.told) == 3)
            await producer.aclose()
        assert [span.attributes["axn.job_id"] for span in collector.named("axn.submit")] == job_ids
        for submitted in collector.named("axn.submit"):
            look_at_submitted(collector, receiver, submitted)
        look_at_foreign(collector)
        assert "15012345678" not in str(collector.spans)


def look_at_submitted(collector: Collector, receiver: Receiver, submitted: Sent) -> None:
    assert submitted.service == "axn-bind-worker"
    of_it = [span for span in collector.spans if span.trace_id == submitted.trace_id]
    assert sorted(span.name for span in of_it) == [
        "BindAxn", "axn.attempt", "axn.callback", "axn.claim", "axn.permit", "axn.settle", "axn.submit",
    ]  # fmt: skip
    (callback,) = collector.named("axn.callback", submitted.trace_id)
    assert callback.parent_id == submitted.span_id
    told = {headers["traceparent"].rpartition("-")[0] for headers in receiver.told}
    assert f"00-{callback.trace_id}-{callback.span_id}" in told
    assert len(told) == 3


def look_at_foreign(collector: Collector) -> None:
    _, trace_id, span_id, _ = CALLER.split("-")
    (filed,) = collector.named("axn.file")
    assert (filed.trace_id, filed.parent_id) == (trace_id, span_id)
    assert {span.name for span in collector.spans if span.trace_id == trace_id} >= {"axn.attempt", "axn.callback"}
