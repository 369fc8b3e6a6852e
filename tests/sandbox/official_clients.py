"""The provider's two published Python clients, unmodified, behind one small face."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from aiohttp import web

from worker.sandbox.config import SandboxConfig
from worker.sandbox.server import build_app

from .conftest import Clock

PACKAGE = "alibabacloud_dyplsapi20170525"
LEGACY = "aliyunsdkdyplsapi.request.v20170525"


@dataclass(frozen=True)
class Refused(Exception):  # noqa: N818 - an outcome to compare, not an error of ours
    """What a client raised: the status and Code it read out of the answer."""

    status: int
    code: str
    message: str


class OfficialClient(Protocol):
    """One published client: an action in, the decoded body out."""

    WRONG_SECRET: str

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Send one action.

        Raises:
            Refused: The client raised because the gateway refused.
        """
        ...


class AlibabaCloudClient:
    """The current client, which signs with ACS3-HMAC-SHA256."""

    WRONG_SECRET = "SignatureDoesNotMatch"

    def __init__(self, url: str, secret: str) -> None:
        api = import_module("alibabacloud_tea_openapi.models")
        self._models = import_module(f"{PACKAGE}.models")
        client = import_module(f"{PACKAGE}.client")
        settings = api.Config(
            access_key_id="testid", access_key_secret=secret, endpoint=urlsplit(url).netloc, protocol="HTTP"
        )
        self._client = client.Client(settings)

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        request = getattr(self._models, f"{action}Request")().from_map(parameters)
        method = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in action).lstrip("_")
        try:
            response = getattr(self._client, method)(request)
        except Exception as error:
            raise _read_refusal(error) from error
        body: dict[str, Any] = response.body.to_map()
        return body


class LegacyClient:
    """The older client, which signs with HMAC-SHA1 and speaks plain HTTP unless told otherwise."""

    # It compares the string to sign in the message with its own, and names the cause when they agree.
    WRONG_SECRET = "InvalidAccessKeySecret"

    def __init__(self, url: str, secret: str) -> None:
        core = import_module("aliyunsdkcore.client")
        address = urlsplit(url)
        self._host = address.hostname
        self._client = core.AcsClient("testid", secret, "cn-hangzhou", port=address.port, timeout=5)

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        request = getattr(import_module(f"{LEGACY}.{action}Request"), f"{action}Request")()
        request.set_accept_format("json")
        request.set_endpoint(self._host)
        for name, value in parameters.items():
            getattr(request, f"set_{name}")(value)
        try:
            body: dict[str, Any] = json.loads(self._client.do_action_with_exception(request))
        except Exception as error:
            raise _read_legacy_refusal(error) from error
        return body


def _read_refusal(error: Exception) -> Refused:
    found: Any = error
    return Refused(found.status_code, found.code, found.message)


def _read_legacy_refusal(error: Exception) -> Refused:
    found: Any = error
    return Refused(found.get_http_status(), found.get_error_code(), found.get_error_msg())


@contextmanager
def served(config: SandboxConfig, clock: Clock) -> Iterator[str]:
    """A sandbox on loopback in a thread of its own, as these clients block; its base URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = web.AppRunner(build_app(config, now=clock), access_log=None)
    try:
        yield asyncio.run_coroutine_threadsafe(_start(runner), loop).result(5)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


async def _start(runner: web.AppRunner) -> str:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


def in_shanghai(**ahead: float) -> str:
    return (datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(**ahead)).strftime("%Y-%m-%d %H:%M:%S")
