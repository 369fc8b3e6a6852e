"""A modern build: taskiq on Redis streams, with an async httpx client.

Results in Redis and retries by its own middleware; a stream for binds and one for callbacks. Requests are signed with
the official package's function for it.
"""

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Sequence
from functools import cache

import httpx
from alibabacloud_openapi_util.client import Client as Signing  # type: ignore[import-untyped]
from taskiq import SmartRetryMiddleware
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.speeding.obvious import EXPIRATION, KEY_ID, KEY_SECRET, POOL_KEY
from benchmarks.speeding.servers import ORDER

_CALLBACKS = "callbacks"
_CONNECTIONS = 200
_RESULT_TTL_S = 86_400

# Its lines would show signed URLs.
logging.getLogger("httpx").setLevel(logging.WARNING)

_URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
broker = (
    RedisStreamBroker(_URL, queue_name="binds", consumer_id="0", additional_streams={_CALLBACKS: ">"})
    .with_result_backend(RedisAsyncResultBackend(_URL, result_ex_time=_RESULT_TTL_S))
    .with_middlewares(SmartRetryMiddleware(default_retry_count=5, use_delay_exponent=True))
)


@cache
def http() -> httpx.AsyncClient:
    """This process's HTTP client."""
    return httpx.AsyncClient(limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS))


def _signed(order: str, phone_no_a: str) -> dict[str, str]:
    parameters = {
        "Action": "BindAxn", "Version": "2017-05-25", "Format": "JSON", "AccessKeyId": KEY_ID,
        "SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "SignatureNonce": uuid.uuid4().hex,
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "PoolKey": POOL_KEY, "PhoneNoA": phone_no_a, "Expiration": EXPIRATION, "OutOrderId": order,
    }  # fmt: skip
    return parameters | {"Signature": Signing.get_rpcsignature(parameters, "POST", KEY_SECRET)}


@broker.task(task_name="modern.bind", retry_on_error=True)
async def bind(order: str, phone_no_a: str, callback_url: str) -> dict[str, str]:
    """Bind, then have the outcome told."""
    answer = await http().post(os.environ["BENCH_PROVIDER"], params=_signed(order, phone_no_a))
    body = answer.raise_for_status().json()
    made = body["SecretBindDTO"]
    bound = {"order": order, "code": body["Code"], "phone_no_x": made["SecretNo"], "subs_id": made["SubsId"]}
    await call_back.kicker().with_labels(queue_name=_CALLBACKS).kiq(callback_url, bound)
    return bound


@broker.task(task_name="modern.call_back", retry_on_error=True)
async def call_back(url: str, event: dict[str, str]) -> None:
    """Tell the outcome."""
    (await http().post(url, json=event)).raise_for_status()


@cache
def _producer() -> asyncio.Runner:
    runner = asyncio.Runner()
    runner.run(broker.startup())
    return runner


def submit(numbers: Sequence[int], callback_url: str) -> None:
    """A producer's part: a message for each."""

    async def kick() -> None:
        for number in numbers:
            await bind.kiq(ORDER.format(number), f"139{number % 10**8:08d}", callback_url)

    _producer().run(kick())
