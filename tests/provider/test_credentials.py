"""Keys that change: how long they are kept, who asks for them, what happens when nobody gives any."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from tests.provider.loopback import always, answer, serving
from tests.provider.test_client import BIND, BOUND, NONCE, StandingClock, provider
from worker import bootstrap
from worker.clock import SystemClock
from worker.domain.outcome import Verdict
from worker.errors import SettingsError
from worker.provider.assembly import credentials_of
from worker.provider.credentials import ChainCredentials, CredentialsUnavailableError, StaticCredentials
from worker.settings import Settings


@dataclass
class Key:
    """A key as the official package gives it."""

    number: int
    expiration: float | None = None
    secret: str = "s3cret"

    def get_access_key_id(self) -> str:
        return f"key-{self.number}"

    def get_access_key_secret(self) -> str:
        return self.secret

    def get_security_token(self) -> str | None:
        return f"token-{self.number}" if self.expiration else None

    def get_expiration(self) -> float | None:
        return self.expiration


class Chain:
    """Numbered keys, or failures."""

    def __init__(self, lifetime_s: float | None = None) -> None:
        self.clock = StandingClock()
        self.lifetime_s = lifetime_s
        self.asked = 0
        self.failure: Exception | None = None
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> Key:
        self.threads.add(threading.get_ident())
        self.gate.wait(5)
        self.asked += 1
        if self.failure:
            raise self.failure
        return Key(self.asked, self.lifetime_s and self.clock.now_ms / 1000 + self.lifetime_s)

    def source(self) -> ChainCredentials:
        return ChainCredentials(self, self.clock)


async def numbers(source: ChainCredentials, count: int = 1) -> list[str]:
    return [(await source.current()).access_key_id for _ in range(count)]


async def test_a_key_is_asked_for_in_a_thread_and_kept_for_a_minute() -> None:
    chain = Chain()
    source = chain.source()
    assert await numbers(source, 3) == ["key-1"] * 3
    assert threading.get_ident() not in chain.threads
    chain.clock.now_ms += 59_999
    assert await numbers(source) == ["key-1"]
    chain.clock.now_ms += 1
    assert await numbers(source) == ["key-2"]


async def test_a_key_with_an_expiry_is_kept_until_shortly_before_it() -> None:
    chain = Chain(lifetime_s=3_600)
    source = chain.source()
    given = await source.current()
    assert (given.access_key_id, given.security_token) == ("key-1", "token-1")
    chain.clock.now_ms += 3_299_999
    assert await numbers(source) == ["key-1"]
    chain.clock.now_ms += 1
    assert await numbers(source) == ["key-2"]


async def test_while_the_earlier_key_holds_a_failing_chain_is_bridged(caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain(lifetime_s=3_600)
    source = chain.source()
    await source.current()
    chain.clock.now_ms += 3_400_000
    chain.failure = RuntimeError("token-1 in a text")
    with caplog.at_level(logging.WARNING):
        assert await numbers(source, 2) == ["key-1"] * 2
    assert (chain.asked, len(caplog.records)) == (2, 1)
    assert "token-1" not in caplog.text
    chain.clock.now_ms += 5_000
    chain.failure = None
    assert await numbers(source) == ["key-3"]


async def test_after_its_end_a_key_is_not_given_any_more() -> None:
    chain = Chain(lifetime_s=3_600)
    source = chain.source()
    await source.current()
    chain.clock.now_ms += 3_600_000
    chain.failure = RuntimeError("s3cret")
    with pytest.raises(CredentialsUnavailableError) as caught:
        await source.current()
    assert str(caught.value) == "RuntimeError"
    assert caught.value.__suppress_context__


async def test_an_empty_key_is_none() -> None:
    source = ChainCredentials(lambda: Key(1, secret=""), StandingClock())
    with pytest.raises(CredentialsUnavailableError, match=r"^ValueError$"):
        await source.current()


async def test_many_callers_ask_once_and_one_s_cancellation_is_not_the_others() -> None:
    chain = Chain()
    source = chain.source()
    chain.gate.clear()
    callers = [asyncio.create_task(source.current()) for _ in range(5)]
    await asyncio.sleep(0.01)
    callers[0].cancel()
    await asyncio.sleep(0.01)
    chain.gate.set()
    ends = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(ends[0], asyncio.CancelledError)
    assert [getattr(end, "access_key_id", None) for end in ends[1:]] == ["key-1"] * 4
    assert chain.asked == 1


@pytest.mark.parametrize("code", ["InvalidSecurityToken.Expired", "InvalidAccessKeyId.NotFound"])
async def test_a_refused_key_is_asked_for_anew_at_the_next_call(code: str) -> None:
    chain = Chain(lifetime_s=3_600)

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(answer(b'{"Code":"%s"}' % code.encode(), status=400) if number == 1 else answer(BOUND))
        await writer.drain()

    async with serving(respond) as server, provider(server.origin, credentials=chain.source()) as client:
        verdicts = [(await client.call("BindAxn", BIND, nonce=NONCE)).verdict for _ in range(3)]
    assert verdicts == [Verdict.ACCOUNT, Verdict.DONE, Verdict.DONE]
    tokens = [request.headers["x-acs-security-token"] for request in server.requests]
    assert tokens == ["token-1", "token-2", "token-2"]
    assert [
        f"Credential=key-{number}," in request.headers["authorization"]
        for number, request in zip((1, 2, 2), server.requests, strict=True)
    ] == [True] * 3


async def test_without_a_key_nothing_is_sent_and_the_account_is_blamed() -> None:
    chain = Chain()
    chain.failure = RuntimeError("s3cret")
    async with serving(always(answer(BOUND))) as server, provider(server.origin, credentials=chain.source()) as client:
        outcome = await client.call("BindAxn", BIND, nonce=NONCE)
    assert (outcome.verdict, outcome.code) == (Verdict.ACCOUNT, "credentials.unavailable")
    assert outcome.message == "no key from the credentials chain: RuntimeError"
    assert server.requests == []


async def test_a_chain_that_hangs_holds_a_call_no_longer_than_its_timeout() -> None:
    chain = Chain()
    chain.gate.clear()
    options: dict[str, Any] = {"credentials": chain.source(), "clock": SystemClock(), "total_timeout_ms": 50}
    async with serving(always(answer(BOUND))) as server, provider(server.origin, **options) as client:
        outcome = await client.call("BindAxn", BIND, nonce=NONCE)
        chain.gate.set()
    assert (outcome.verdict, outcome.code) == (Verdict.ACCOUNT, "credentials.unavailable")
    assert "in time" in outcome.message
    assert server.requests == []


# --- from the settings ---


def test_without_the_package_a_worker_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials.provider", None)
    with pytest.raises(SettingsError, match=r"pip install 'axn-bind-worker\[credentials\]'"):
        bootstrap.check_worker_settings(Settings(credentials="chain"))


def test_static_keys_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_credentials.provider", None)
    monkeypatch.setenv("AXN_ACCESS_KEY_ID", "testid")
    monkeypatch.setenv("AXN_ACCESS_KEY_SECRET", "testsecret")
    assert isinstance(credentials_of(Settings(), StandingClock()), StaticCredentials)


ASK_THE_CHAIN = """
import asyncio
from worker.provider.assembly import credentials_of
from worker.clock import SystemClock
from worker.settings import Settings
given = asyncio.run(credentials_of(Settings(credentials="chain"), SystemClock()).current())
print(given.access_key_id, given.access_key_secret, given.security_token)
"""


def test_the_official_chain_reads_the_environment_of_the_sdks() -> None:
    """In a process of its own: the official package reads its variables once, when it is imported."""
    pytest.importorskip("alibabacloud_credentials")
    environment = {
        "PATH": os.environ["PATH"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "env-id",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "env-secret",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "env-token",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    }
    asked = subprocess.run(
        [sys.executable, "-c", ASK_THE_CHAIN], env=environment, capture_output=True, text=True, check=False
    )
    assert asked.stdout.split() == ["env-id", "env-secret", "env-token"], asked.stderr


@pytest.mark.parametrize("missing", ["AXN_ACCESS_KEY_ID", "AXN_ACCESS_KEY_SECRET"])
def test_static_keys_must_be_whole(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in ("AXN_ACCESS_KEY_ID", "AXN_ACCESS_KEY_SECRET"):
        monkeypatch.setenv(name, "" if name == missing else "given")
    with pytest.raises(SettingsError, match=r"must be set, or AXN_CREDENTIALS=chain"):
        bootstrap.check_worker_settings(Settings())
