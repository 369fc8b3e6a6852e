"""A sandbox on loopback, its clock in the test's hand, and a signing client to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from worker.sandbox.config import SandboxConfig, parse_access_key, parse_pool
from worker.sandbox.server import build_app

from .signing_client import SigningClient

POOL = "FC123456"
PHONE_A = "15000000000"
PHONE_B = "15011111111"


@dataclass
class Clock:
    """The provider's clock: called for the time, moved by hand."""

    unix_s: float = 1_767_323_045.0  # 2026-01-02 11:04:05 in Shanghai

    def __call__(self) -> float:
        return self.unix_s

    def advance(self, seconds: float) -> None:
        self.unix_s += seconds

    def shanghai(self, seconds_ahead: float) -> str:
        moment = datetime.fromtimestamp(self.unix_s + seconds_ahead, ZoneInfo("Asia/Shanghai"))
        return moment.strftime("%Y-%m-%d %H:%M:%S")


@dataclass
class Sandbox:
    """A running sandbox and the shortest ways to use it."""

    client: SigningClient
    clock: Clock

    def binding(self, **changes: str) -> dict[str, str]:
        """The parameters of a good BindAxn; an empty change leaves a parameter out."""
        good = {"PoolKey": POOL, "PhoneNoA": PHONE_A, "Expiration": self.clock.shanghai(3600)}
        return {name: value for name, value in (good | changes).items() if value}

    async def bind(self, **changes: str) -> dict[str, str]:
        """A binding that must come about: its SubsId, SecretNo and Extension."""
        reply = await self.client.call("BindAxn", **self.binding(**changes))
        assert (reply.status, reply.code) == (200, "OK")
        bound: dict[str, str] = reply.body["SecretBindDTO"]
        return bound

    async def bind_code(self, **changes: str) -> tuple[int, str]:
        reply = await self.client.call("BindAxn", **self.binding(**changes))
        return reply.status, reply.code

    async def fault(self, **fault: Any) -> None:
        assert (await self.client.admin("POST", "faults", fault))[0] == 201

    async def bindings(self, query: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.client.admin("GET", f"bindings{query}"))[1]["bindings"]
        return found


Start = Callable[..., Awaitable[Sandbox]]

CONFIG = SandboxConfig(
    pools=(parse_pool(f"{POOL}=3@上海,2@北京"), parse_pool("FC999999=1")),
    access_keys=(parse_access_key("testid:testsecret"), parse_access_key("stsid:stssecret:STSTOKEN+/=")),
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def start(clock: Clock) -> AsyncIterator[Start]:
    """Start a sandbox whose configuration differs from CONFIG in the fields named."""
    async with AsyncExitStack() as stack:

        async def start_one(**changes: Any) -> Sandbox:
            app = build_app(replace(CONFIG, **changes), now=clock)
            server = await stack.enter_async_context(TestServer(app, access_log=None))
            session = await stack.enter_async_context(ClientSession())
            return Sandbox(SigningClient(session, str(server.make_url("")).rstrip("/"), clock), clock)

        yield start_one


@pytest.fixture
async def sandbox(start: Start) -> Sandbox:
    return await start()
