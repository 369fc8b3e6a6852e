"""`axn doctor` beside a real Redis and the sandbox: all good, and each thing that can be wrong."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import redis
from aiohttp import web

from tests.cli.conftest import Axn, Ended, axn
from worker.clock import SystemClock
from worker.doctor.finding import Level
from worker.doctor.local_checks import check_callback_guard, check_callback_keys, check_files, check_pace, files_needed
from worker.doctor.provider_checks import check_account
from worker.domain.outcome import Outcome, Verdict
from worker.local.redis_server import EmbeddedRedis
from worker.sandbox.config import SandboxConfig, parse_access_key, parse_pool
from worker.sandbox.server import build_app
from worker.settings import Settings

__all__ = ["axn"]

KEY_ID, KEY_SECRET = "testid", "testsecret"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONFIG = SandboxConfig(pools=(parse_pool("FC1=3@上海"),), access_keys=(parse_access_key(f"{KEY_ID}:{KEY_SECRET}"),))


class AnHourAhead(SystemClock):
    """This machine's clock, wrong."""

    def unix_ms(self) -> int:
        return super().unix_ms() + 3_600_000


class SandboxThread:
    """The sandbox on a loop of its own, as commands have theirs."""

    def __init__(self, config: SandboxConfig) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner = web.AppRunner(build_app(config), access_log=None)
        self.url = self._run(self._start())

    async def _start(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def close(self) -> None:
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxThread]:
    sandbox = SandboxThread(CONFIG)
    yield sandbox
    sandbox.close()


@pytest.fixture
def healthy(axn: Axn, redis_server: EmbeddedRedis, sandbox: SandboxThread, monkeypatch: pytest.MonkeyPatch) -> Axn:
    """An environment in which there is nothing wrong."""
    environment = {
        "REDIS_URL": redis_server.url(0), "BROKER_URL": redis_server.broker_url(1), "POOL_KEY": "FC1",
        "ENDPOINT": sandbox.url, "ACCESS_KEY_ID": KEY_ID, "ACCESS_KEY_SECRET": KEY_SECRET, "CALLBACK_SECRET": SECRET,
        "SENTRY_DSN": "https://key@errors.example/1",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(f"AXN_{name}", value)
    with redis.Redis.from_url(redis_server.url(0)) as ledger:
        ledger.flushdb()  # of what other tests say of workers and their releases
    return axn


def findings(ended: Ended) -> dict[str, dict[str, str]]:
    return {found["area"]: found for found in map(json.loads, ended.out.splitlines())}


def test_where_nothing_is_wrong_every_part_is_looked_at(healthy: Axn) -> None:
    ended = healthy("doctor", "--json")
    found = findings(ended)
    assert ended.status == 0
    assert {one["level"] for one in found.values()} <= {"good", "warning"}
    assert set(found) >= {
        "settings", "machine.files", "pace", "errors",
        "redis.latency", "redis.scripts", "redis.clock", "redis.settings", "redis.memory",
        "versions.ledger", "versions.workers", "callbacks.keys", "callbacks.guard", "broker",
        "provider", "provider.clock", "provider.account", "provider.pool",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "area", "remedy"),
    [
        ("ACCESS_KEY_SECRET=wrong", "provider.account", "AXN_ACCESS_KEY_SECRET"),
        ("ACCESS_KEY_ID=nobody", "provider.account", "AXN_ACCESS_KEY_ID"),
        ("POOL_KEY=FC0", "provider.pool", "AXN_POOL_KEY"),
        ("ENDPOINT=http://127.0.0.1:1", "provider", "AXN_ENDPOINT"),
        ("REDIS_URL=redis://127.0.0.1:1/0", "redis", "AXN_REDIS_URL"),
        ("BROKER_URL=redis://127.0.0.1:1/1", "broker", "AXN_BROKER_URL"),
        ("ACCESS_KEY_SECRET=", "settings", "docs/settings.md"),
        ("LEASE=1s", "settings", "docs/settings.md"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(
    healthy: Axn, monkeypatch: pytest.MonkeyPatch, setting: str, area: str, remedy: str
) -> None:
    monkeypatch.setenv("AXN_REDIS_TIMEOUT", "300ms")
    name, _, value = setting.partition("=")
    monkeypatch.setenv(f"AXN_{name}", value)
    ended = healthy("doctor", "--json")
    found = findings(ended)[area]
    assert (ended.status, found["level"]) == (1, "error")
    assert remedy in found["remedy"]
    assert not {KEY_SECRET, SECRET, "wrong"} & set(re.split(r"\W+", ended.out + ended.err))


def test_people_get_a_line_for_each_finding_and_the_sums(healthy: Axn) -> None:
    ended = healthy("doctor", "--offline")
    assert (ended.status, "provider" in ended.out) == (0, False)
    assert re.search(r"^ok +broker ", ended.out, re.MULTILINE)
    assert re.search(r"\n0 errors, \d warnings\n$", ended.out)


def test_strict_takes_warnings_for_errors(healthy: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_SENTRY_DSN", "")
    assert [healthy("doctor", "--offline").status, healthy("doctor", "--offline", "--strict").status] == [0, 1]


def test_messages_that_were_set_aside_are_told(healthy: Axn, redis_server: EmbeddedRedis) -> None:
    with redis.Redis.from_url(redis_server.url(1)) as broker:
        broker.lpush("axn1:poison_messages", "{}")
        try:
            assert findings(healthy("doctor", "--offline", "--json"))["broker.poison"]["level"] == "warning"
        finally:
            broker.delete("axn1:poison_messages")


def test_too_few_open_files_are_an_error() -> None:
    settings = Settings(in_flight=1000)
    needed = files_needed(settings)
    levels = [check_files(settings, limit).level for limit in (needed - 1, needed, -1)]
    assert levels == [Level.ERROR, Level.GOOD, Level.GOOD]


def test_keys_for_some_hosts_alone_are_a_warning() -> None:
    settings = Settings(callback_secret="")
    with_key = Settings(callback_secret=SECRET)
    levels = [check_callback_keys(settings, stored).level for stored in ([], ["shop.example"], None)]
    assert levels == [Level.WARNING] * 3
    assert check_callback_keys(with_key, None).level is Level.GOOD


def test_an_open_guard_and_a_pace_above_the_documented_one_are_warnings() -> None:
    settings = Settings(callback_allow_http=True)
    fast = settings.model_copy(update={"pace": settings.pace.model_copy(update={"query_per_second": 1_001})})
    assert check_callback_guard(settings).level is Level.WARNING
    assert [check_pace(settings).level, check_pace(fast).level] == [Level.GOOD, Level.WARNING]


def test_a_provider_whose_clock_is_far_off_is_an_error(healthy: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.cli.doctor.SystemClock", AnHourAhead)
    found = findings(healthy("doctor", "--json"))
    assert found["provider.clock"]["level"] == "error"
    assert found["redis.clock"]["level"] == "warning"


class Answers:
    """A provider that has one answer."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        return self._outcome


@pytest.mark.parametrize(
    ("verdict", "code", "level", "remedy"),
    [
        (Verdict.DONE, "OK", Level.GOOD, ""),
        (Verdict.WRONG_REQUEST, "isv.NO_NOT_EXIST", Level.GOOD, ""),
        (Verdict.THROTTLED, "Throttling.User", Level.WARNING, "axn pace"),
        (Verdict.AMBIGUOUS, "InternalError", Level.ERROR, "support"),
        (Verdict.ACCOUNT, "InvalidTimeStamp.Expired", Level.ERROR, "NTP"),
        (Verdict.ACCOUNT, "InvalidSecurityToken.Expired", Level.ERROR, "AXN_SECURITY_TOKEN"),
        (Verdict.ACCOUNT, "isp.RAM_PERMISSION_DENY", Level.ERROR, "dypls:BindAxn"),
        (Verdict.ACCOUNT, "isv.OUT_OF_SERVICE", Level.ERROR, "console"),
    ],
)
async def test_what_the_account_answers_decides_the_remedy(
    verdict: Verdict, code: str, level: Level, remedy: str
) -> None:
    account, _ = await check_account(Answers(Outcome(verdict, code)), "FC1")
    assert (account.level, remedy in account.remedy) == (level, True)
