"""The obvious way: plain Celery, settings as its guides advise, and a task that calls BindAxn. No ledger.

It is the checker's negative control: under the same kills it must be seen to lose jobs or to bind twice.

    celery -A tests.chaos.plain_celery worker -P processes -c 8

CHAOS_BROKER, CHAOS_RESULTS and CHAOS_ENDPOINT name the broker, the Redis for results (both as URLs) and the provider.
"""

import os
from typing import Any

from alibabacloud_dyplsapi20170525.client import Client  # type: ignore[import-untyped]
from alibabacloud_dyplsapi20170525.models import BindAxnRequest  # type: ignore[import-untyped]
from alibabacloud_tea_openapi.models import Config  # type: ignore[import-untyped]
from celery import Celery, Task
from celery.signals import worker_ready
from redis import Redis

from tests.chaos.orders import POOL_KEY
from tests.chaos.system import KEY_ID, KEY_SECRET, READY_LINE

VISIBILITY_S = 3
QUEUE = "plain"
_EXPIRATION = "2035-01-01 00:00:00"

app = Celery("plain", broker=os.environ.get("CHAOS_BROKER", "memory://"), set_as_current=False)
app.conf.update(
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
    # So that what a killed worker held comes back while the test still looks.
    broker_transport_options={
        "visibility_timeout": VISIBILITY_S, "unacked_restore_interval": 1, "unacked_restore_throttle": 1,
    },
)  # fmt: skip


def record_key(order: str) -> str:
    """Where the task writes what it got."""
    return f"plain:{order}"


@app.task(name="plain.bind", bind=True, max_retries=None)
def bind(self: Task[Any, Any], order: str, phone_no_a: str) -> None:
    """Bind, and write down what came of it; after an error try again."""
    host = os.environ["CHAOS_ENDPOINT"].removeprefix("http://")
    config = Config(access_key_id=KEY_ID, access_key_secret=KEY_SECRET, endpoint=host, protocol="HTTP")
    request = BindAxnRequest(pool_key=POOL_KEY, phone_no_a=phone_no_a, expiration=_EXPIRATION, out_order_id=order)
    try:
        body = Client(config).bind_axn(request).body
    except Exception as failure:
        raise self.retry(exc=failure, countdown=0.1) from failure
    with Redis.from_url(os.environ["CHAOS_RESULTS"]) as results:
        bound = body.secret_bind_dto
        results.hset(
            record_key(order), mapping={"state": "bound", "phone_no_x": bound.secret_no, "subs_id": bound.subs_id}
        )


@worker_ready.connect
def _tell(**_: Any) -> None:
    print(READY_LINE, flush=True)  # noqa: T201 - the harness waits for this line
