"""What is reported to Sentry, and that nothing of it is a number, a key, a token, a signed string or a body."""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from celery import Celery
from celery.utils.dispatch import Signal
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.attempt.bench import DONE, WRONG, Bench, FakeProvider
from tests.delivery.support import deliver_when_due, delivering, owing
from tests.ledger.support import put
from tests.provider.loopback import always, answer, serving
from worker import __version__, broker_channel
from worker.app import build_app
from worker.bootstrap import build_worker
from worker.domain.job import Lane
from worker.domain.job_ids import is_job_id
from worker.domain.outcome import Outcome, Verdict
from worker.error_reports import CHECK_IN_KEY, CheckIns, report_asyncio_errors, set_up_sentry
from worker.errors import SettingsError
from worker.ledger.keys import job_keys
from worker.local.redis_server import EmbeddedRedis
from worker.settings import Settings

NUMBER = "13900001234"
KEY_SECRET = "QwErTyUiOp-secret"
CALLBACK_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
REQUEST_ID = "D5E4A1B2-1234-4A5B-8C6D-123456789012"
BODY = '{"type": "bind.succeeded", "data": {"phone_no_x": "hidden-x", "state": "bound"}}'
SIGNED = "POST&%2F&AccessKeyId%3Dthe-key-id%26Action%3DBindAxn"
NASTY = (
    f"of {NUMBER} with {KEY_SECRET} security_token=sts-abc-def {CALLBACK_KEY} {SIGNED}"
    f" https://shop.example/axn/path-1?q=1 signature n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg= {BODY}"
)
PIECES = (
    KEY_SECRET,
    "the-key-id",
    "sts-abc",
    "MfKQ9r8",
    "Action",
    "path-1",
    "n4bQgYh",
    "hidden-x",
    "phone_no_x",
    "bind.succ",
)
SENTRYS_OWN = {
    "header.event_id", "header.trace.trace_id", "header.trace.public_key", "payload.event_id",
    "payload.contexts.trace.trace_id", "payload.contexts.trace.span_id", "payload.contexts.trace.parent_span_id",
    "payload.check_in_id",
}  # fmt: skip
HEX = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")


class KeptTransport(Transport):
    """Keeps envelopes instead of sending them."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(Envelope.deserialize(envelope.serialize()))

    def payloads(self) -> list[dict[str, Any]]:
        items = [item for envelope in self.envelopes for item in envelope.items]
        return [json.loads(item.get_bytes()) for item in items]

    def leaks(self) -> list[str]:
        found = []
        for envelope in self.envelopes:
            found += leaks_in(envelope.headers, "header")
            for item in envelope.items:
                found += leaks_in(item.headers, "item")
        for payload in self.payloads():
            found += leaks_in(payload, "payload")
        return found


def leaks_in(value: Any, path: str) -> list[str]:
    """Where a text, a key or a number of this JSON shows what must not leave."""
    if isinstance(value, dict):
        found = [f"{path}: key {key}" for key in value if re.search(r"\d{7}", key) or any(p in key for p in PIECES)]
        return found + [leak for key, part in value.items() for leak in leaks_in(part, f"{path}.{key}")]
    if isinstance(value, list):
        return [leak for part in value for leak in leaks_in(part, f"{path}.*")]
    text = str(value)
    if (path in SENTRYS_OWN and HEX.fullmatch(text)) or is_id_tag(path, text):
        return []
    return [f"{path}: {text}"] if re.search(r"\d{7}", text) or any(piece in text for piece in PIECES) else []


def is_id_tag(path: str, text: str) -> bool:
    if path == "payload.tags.request_id":
        return bool(UUID.fullmatch(text))
    return path in ("payload.tags.job_id", "payload.tags.batch_id") and is_job_id(text)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeptTransport]:
    for name, value in {
        "AXN_SENTRY_DSN": "https://0123456789abcdef0123456789abcdef@sentry.invalid/1",
        "AXN_ENVIRONMENT": "tests",
        "AXN_ACCESS_KEY_ID": "the-key-id",
        "AXN_ACCESS_KEY_SECRET": KEY_SECRET,
        "AXN_CALLBACK_SECRET": CALLBACK_KEY,
    }.items():
        monkeypatch.setenv(name, value)
    kept = KeptTransport()
    set_up_sentry(Settings(), __version__, transport=kept)
    try:
        yield kept
    finally:
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(None)


@contextlib.asynccontextmanager
async def watched_loop() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    report_asyncio_errors()
    try:
        yield
    finally:
        loop.set_task_factory(None)


async def attempt_breaks_off(bench: Bench) -> None:
    bench.provider = FakeProvider(RuntimeError(NASTY))
    job = await bench.opened()
    await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])


async def account_is_refused(bench: Bench) -> None:
    bench.provider = FakeProvider(Outcome(Verdict.ACCOUNT, "Forbidden", NASTY, REQUEST_ID))
    job = await bench.opened()
    await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])


async def request_id_is_none(bench: Bench) -> None:
    bench.provider = FakeProvider(Outcome(Verdict.ACCOUNT, "Forbidden", "", NASTY))
    job = await bench.opened()
    await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])


async def record_is_broken(bench: Bench) -> None:
    job = await bench.opened()
    await put(bench.redis, job_keys(job.job_id).job, request=NASTY)
    await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])


async def message_cannot_be_read(bench: Bench) -> None:
    channel: Any = object.__new__(broker_channel.Channel)
    channel.conn_or_acquire = refusing_client
    broker_channel._SturdyChannel.set_aside(channel, "axn.checkout", NASTY, f"unknown task {NASTY}")


@contextlib.contextmanager
def refusing_client() -> Iterator[Any]:
    raise RedisConnectionError(NASTY)
    yield


async def callback_is_given_up(bench: Bench) -> None:
    async with serving(always(answer(NASTY.encode(), status=500))) as receiver, delivering(bench.redis) as delivery:
        _, webhook_id = await owing(bench.redis, f"{receiver.url}/path-1?q={NUMBER}")
        for _ in range(4):
            await deliver_when_due(bench.redis, delivery, webhook_id)


async def job_fails_as_expected(bench: Bench) -> None:
    bench.provider = FakeProvider(WRONG)
    job = await bench.opened()
    await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])
    assert str((await bench.read(job)).state) == "failed"


async def settings_are_wrong(bench: Bench) -> None:
    def start(**_: Any) -> None:
        raise SettingsError(NASTY)

    starting = Signal(name="worker_init", providing_args=[])  # Celery's own has the worker's receivers, too
    starting.connect(start, weak=False)
    starting.send(sender=None)


async def redis_is_away(bench: Bench) -> None:
    bench.provider = FakeProvider(RedisConnectionError(NASTY), DONE)
    job = await bench.opened()
    await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])
    await task_raises(RedisConnectionError(NASTY))


async def celery_task_breaks(bench: Bench) -> None:
    app = Celery("of-a-test", broker="memory://", set_as_current=False)

    @app.task(name="a.task")
    def a_task(*_: Any, **__: Any) -> None:
        raise RuntimeError(NASTY)

    a_task.apply(args=(NUMBER, NASTY), kwargs={"secret": KEY_SECRET, "body": BODY}, task_id=f"task-{NUMBER}")


async def asyncio_task_breaks(bench: Bench) -> None:
    await task_raises(RuntimeError(NASTY), ValueError(NASTY))


async def task_raises(error: Exception, first: Exception | None = None) -> None:
    async def break_off() -> None:
        raise error from first

    await asyncio.gather(asyncio.create_task(break_off()), return_exceptions=True)


async def library_logs_an_error(bench: Bench) -> None:
    logging.getLogger("some.library").error("cannot send %s", NASTY, extra={"body": BODY, "count": int(NUMBER)})


async def collector_is_away(bench: Bench) -> None:
    logging.getLogger(OTLPSpanExporter.__module__).error("cannot send %s", NASTY)


ErrorPath = tuple[Callable[[Bench], Awaitable[None]], str, dict[str, str], list[str]]
PATHS: list[ErrorPath] = [
    (attempt_breaks_off, "RuntimeError", {"lane": "checkout"}, []),
    (
        account_is_refused, "account stopped, all its jobs wait",
        {"code": "Forbidden", "action": "BindAxn", "request_id": REQUEST_ID},
        ["account stopped, all its jobs wait", "Forbidden"],
    ),
    (request_id_is_none, "account stopped, all its jobs wait", {"code": "Forbidden"}, []),
    (record_is_broken, "job's record is broken", {"lane": "checkout"}, ["job's record is broken", ""]),
    (message_cannot_be_read, "message cannot be read: set aside", {}, []),
    (callback_is_given_up, "", {}, []),
    (job_fails_as_expected, "", {}, []),
    (settings_are_wrong, "SettingsError", {}, []),
    (redis_is_away, "", {}, []),
    (celery_task_breaks, "RuntimeError", {}, []),
    (asyncio_task_breaks, "RuntimeError", {}, []),
    (collector_is_away, "", {}, []),
    (library_logs_an_error, "cannot send ", {}, []),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[0].__name__)
async def test_an_error_is_told_once_and_nothing_leaks(
    sent: KeptTransport,
    redis: Redis,
    path: ErrorPath,
) -> None:
    drive, told, tags, fingerprint = path
    async with watched_loop():
        await drive(Bench(redis))
        events = sent.payloads()
        sentry_sdk.capture_message("the end")  # with the breadcrumbs of all that came before
    assert sent.leaks() == []
    assert len(events) == (1 if told else 0), events
    for event in events:
        assert (event["release"], event["environment"]) == (__version__, "tests")
        assert told in json.dumps(event.get("logentry") or event["exception"]["values"][-1])
        assert tags.items() <= event.get("tags", {}).items()
        if fingerprint:
            assert event["fingerprint"] == fingerprint
        frames = [
            stack["frames"] for one in event.get("exception", {}).get("values", []) if (stack := one.get("stacktrace"))
        ]
        assert all("vars" not in frame and "context_line" not in frame for stack in frames for frame in stack)
        assert not frames or any(frame["filename"].endswith(".py") for frame in frames[-1])


async def test_a_broken_attempt_s_report_names_its_job(sent: KeptTransport, redis: Redis) -> None:
    bench = Bench(redis)
    async with watched_loop():
        bench.provider = FakeProvider(RuntimeError("bug"))
        job = await bench.opened()
        await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])
    (event,) = sent.payloads()
    assert event["tags"]["job_id"] == job.job_id


async def test_without_sentry_s_eyes_on_tasks_the_log_line_itself_is_the_report(
    sent: KeptTransport, redis: Redis
) -> None:
    bench = Bench(redis)
    bench.provider = FakeProvider(RuntimeError(NASTY))
    job = await bench.opened()
    await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])
    (event,) = sent.payloads()
    assert event["fingerprint"] == ["attempt broke off; the timetable brings its job back", "RuntimeError"]
    assert {"job_id": job.job_id, "lane": "checkout", "error": "RuntimeError"}.items() <= event["tags"].items()
    assert sent.leaks() == []


async def test_transactions_and_logs_are_scrubbed_too(sent: KeptTransport) -> None:
    options = sentry_sdk.get_client().options
    transaction = {"type": "transaction", "spans": [{"description": NASTY, "span_id": "0123456789abcdef"}]}
    log = {"body": NASTY, "trace_id": "0" * 32, "attributes": {"a": NASTY, "token": "t-1-t"}}
    scrubbed = [options["before_send_transaction"](transaction, {}), options["before_send_log"](log, {})]
    assert leaks_in([scrubbed[0]["spans"][0]["description"], scrubbed[1]["body"], scrubbed[1]["attributes"]], "") == []
    assert (scrubbed[0]["spans"][0]["span_id"], scrubbed[1]["trace_id"]) == ("0123456789abcdef", "0" * 32)
    assert "t-1-t" not in str(scrubbed)


def test_the_checker_sees_what_leaks() -> None:
    for piece in (*PIECES, NUMBER):
        assert leaks_in({"a": [f"x{piece}y"]}, "payload")
        assert leaks_in({piece: 1}, "payload")
    assert leaks_in({"event_id": NUMBER}, "payload")
    assert leaks_in({"tags": {"job_id": NUMBER, "request_id": NUMBER}}, "payload")
    assert leaks_in({"thread_id": 139_000_012_345_678}, "payload")


async def test_of_all_workers_one_checks_in_once_a_minute(sent: KeptTransport, redis: Redis) -> None:
    for _ in range(3):
        assert await CheckIns(redis).tell() is False
    (check_in,) = sent.payloads()
    assert (check_in["monitor_slug"], check_in["status"]) == ("axn-timetable", "ok")
    assert check_in["monitor_config"]["schedule"] == {"type": "interval", "value": 1, "unit": "minute"}
    assert 50_000 < await redis.pttl(CHECK_IN_KEY) <= 60_000
    assert sent.leaks() == []
    await redis.delete(CHECK_IN_KEY)
    await CheckIns(redis).tell()
    assert len(sent.payloads()) == 2


def test_without_a_dsn_nothing_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AXN_SENTRY_DSN", raising=False)
    set_up_sentry(Settings(), __version__)
    assert not sentry_sdk.get_client().is_active()


async def test_a_worker_that_reports_checks_in_from_its_ticker(
    sent: KeptTransport, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", redis_server.url(0))
    for dsn, is_told in (("", False), ("https://a@sentry.invalid/1", True)):
        monkeypatch.setenv("AXN_SENTRY_DSN", dsn)
        settings = Settings()
        services = build_worker(settings, build_app(settings))
        chores = {chore.name for chore in services.ticker._chores}
        await services.aclose(0)
        assert ("check-in at Sentry" in chores) is is_told
