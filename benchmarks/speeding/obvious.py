"""The obvious build: Celery as its guides advise it, a task to bind with the official SDK and a task to call back.

Prefork, late acknowledgement, retries with backoff, results in Redis; two queues, so that callbacks need not wait
behind all binds. One SDK client and one httpx client per process.
"""

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import httpx
from alibabacloud_dyplsapi20170525.client import Client  # type: ignore[import-untyped]
from alibabacloud_dyplsapi20170525.models import BindAxnRequest  # type: ignore[import-untyped]
from alibabacloud_tea_openapi.models import Config  # type: ignore[import-untyped]
from celery import Celery

from benchmarks.speeding.servers import ORDER

EXPIRATION = "2035-01-01 00:00:00"
POOL_KEY, KEY_ID, KEY_SECRET = "FC123456", "testid", "testsecret"

app = Celery(
    "obvious",
    broker=os.environ.get("BENCH_BROKER", "memory://"),
    backend=os.environ.get("BENCH_RESULTS", "cache+memory://"),
    set_as_current=False,
)
app.conf.update(
    task_acks_late=True,
    task_routes={"obvious.bind": "binds", "obvious.call_back": "callbacks"},
    broker_connection_retry_on_startup=True,
)


@cache
def provider() -> Any:
    """This process's SDK client."""
    host = os.environ["BENCH_PROVIDER"].removeprefix("http://")
    return Client(Config(access_key_id=KEY_ID, access_key_secret=KEY_SECRET, endpoint=host, protocol="HTTP"))


@cache
def http() -> httpx.Client:
    """This process's HTTP client."""
    return httpx.Client()


def bind_at_provider(order: str, phone_no_a: str) -> dict[str, str]:
    """One call of the SDK: what it bound, as the callback tells it."""
    request = BindAxnRequest(pool_key=POOL_KEY, phone_no_a=phone_no_a, expiration=EXPIRATION, out_order_id=order)
    body = provider().bind_axn(request).body
    bound = body.secret_bind_dto
    return {"order": order, "code": body.code, "phone_no_x": bound.secret_no, "subs_id": bound.subs_id}


@app.task(name="obvious.bind", autoretry_for=(Exception,), retry_backoff=True, max_retries=5)
def bind(order: str, phone_no_a: str, callback_url: str) -> dict[str, str]:
    """Bind, then have the outcome told."""
    bound = bind_at_provider(order, phone_no_a)
    call_back.delay(callback_url, bound)
    return bound


@app.task(name="obvious.call_back", autoretry_for=(httpx.HTTPError,), retry_backoff=True, max_retries=5)
def call_back(url: str, event: dict[str, str]) -> None:
    """Tell the outcome."""
    http().post(url, json=event).raise_for_status()


def submit(numbers: Sequence[int], callback_url: str) -> None:
    """A producer's part: a task for each."""
    for number in numbers:
        bind.delay(ORDER.format(number), f"139{number % 10**8:08d}", callback_url)
