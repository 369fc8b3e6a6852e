import base64
import logging
import re
from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis
from standardwebhooks.webhooks import Webhook

from tests.ledger.support import callback_record_of, ledger_of, look_at
from tests.provider.loopback import Loopback, Responder, always, answer, serving
from worker.domain.job import Lane
from worker.ledger.keys import callback_key, job_keys

from .support import (
    KEY,
    SCHEDULE_MS,
    delay_of,
    deliver,
    deliver_when_due,
    delivering,
    owing,
    owing_callback,
    settled,
)

OK, BROKEN = always(answer()), always(answer(status=500))


def verified(receiver: Loopback) -> list[Any]:
    secret = "whsec_" + base64.b64encode(KEY).decode()
    return [Webhook(secret).verify(request.body, request.headers) for request in receiver.requests]


async def test_a_callback_is_delivered_once_and_forgotten(redis: Redis) -> None:
    async with serving(OK) as receiver, delivering(redis) as delivery:
        job_id, webhook_id = await owing(redis, receiver.url)
        await deliver(delivery, webhook_id)
        await deliver(delivery, webhook_id)
    assert verified(receiver) == [{"type": "bind.succeeded"}]
    assert receiver.requests[0].headers["webhook-id"] == webhook_id
    assert receiver.requests[0].headers["content-type"] == "application/json"
    assert await callback_record_of(redis, webhook_id) == {}
    assert await look_at(redis, job_id, Lane.CALLBACK, webhook_id) is None
    assert (await ledger_of(redis).read(job_id)).callback_state == "delivered"


async def test_the_first_try_right_after_the_settlement_uses_its_reserved_hand(redis: Redis) -> None:
    async with serving(OK) as receiver, delivering(redis, in_flight=1) as delivery:
        token = delivery.reserve("127.0.0.1", is_checkout=True)
        assert token
        assert delivery.reserve("127.0.0.1", is_checkout=True) == ""
        job_id, owed = await owing_callback(redis, receiver.url, token)
        delivery.start(owed.first_claim(job_id))
        await settled(delivery)
        assert delivery.reserve("127.0.0.1", is_checkout=True)
    assert len(receiver.requests) == 1
    assert (await ledger_of(redis).read(job_id)).callback_state == "delivered"


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
async def test_a_refused_callback_waits_longer_each_time_and_varies_by_a_fifth(redis: Redis, share: float) -> None:
    async with serving(BROKEN) as receiver, delivering(redis, share=share) as delivery:
        job_id, webhook_id = await owing(redis, receiver.url)
        for delay_ms in SCHEDULE_MS:
            await deliver_when_due(redis, delivery, webhook_id)
            exact = delay_ms * (0.8 + 0.4 * share)
            assert exact - 1_000 < await delay_of(redis, job_id, webhook_id) <= exact + 1
    assert (await callback_record_of(redis, webhook_id))["last_error"] == "http.500"


async def test_after_the_schedule_a_callback_is_given_up_and_indexed(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(BROKEN) as receiver, delivering(redis) as delivery:
        job_id, webhook_id = await owing(redis, receiver.url)
        for _ in range(5):
            await deliver_when_due(redis, delivery, webhook_id)
    assert len(receiver.requests) == len(SCHEDULE_MS) + 1
    client: Any = redis
    assert await client.zrange(job_keys(job_id).dead_callbacks, 0, -1) == [f"callback:{webhook_id}"]
    job = await ledger_of(redis).read(job_id)
    assert (job.callback_state, job.callback_attempts) == ("dead", 3)
    assert re.search(f"callback given up .*webhook_id={webhook_id} .*tries=3 .*code=http.500", caplog.text)


async def test_every_try_has_the_same_id_and_body_and_a_fresh_time(redis: Redis) -> None:
    async with serving(BROKEN) as receiver, delivering(redis) as delivery:
        _, webhook_id = await owing(redis, receiver.url)
        for _ in range(3):
            await deliver_when_due(redis, delivery, webhook_id)
    assert len(verified(receiver)) == 3
    assert {request.body for request in receiver.requests} == {b'{"type":"bind.succeeded"}'}
    assert {request.headers["webhook-id"] for request in receiver.requests} == {webhook_id}
    times = [int(request.headers["webhook-timestamp"]) for request in receiver.requests]
    assert [later - earlier for earlier, later in pairwise(times)] == [60, 60]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_failure_and_not_followed(redis: Redis, status: int) -> None:
    async with serving(OK) as elsewhere:
        redirect: Responder = always(answer(status=status, headers=f"Location: {elsewhere.url}\r\n"))
        async with serving(redirect) as receiver, delivering(redis) as delivery:
            _, webhook_id = await owing(redis, receiver.url)
            await deliver(delivery, webhook_id)
        assert (len(receiver.requests), elsewhere.connections) == (1, 0)
    assert (await callback_record_of(redis, webhook_id))["last_error"] == f"http.{status}"


async def test_without_a_secret_nothing_is_sent(redis: Redis) -> None:
    async with serving(OK) as receiver, delivering(redis, keys=()) as delivery:
        _, webhook_id = await owing(redis, receiver.url)
        await deliver(delivery, webhook_id)
    assert receiver.connections == 0
    assert (await callback_record_of(redis, webhook_id))["last_error"] == "no_secret"


async def test_a_receiver_in_a_private_network_is_never_called(redis: Redis) -> None:
    async with serving(OK) as receiver, delivering(redis, nets=()) as delivery:
        _, webhook_id = await owing(redis, receiver.url)
        await deliver(delivery, webhook_id)
    assert receiver.connections == 0
    assert (await callback_record_of(redis, webhook_id))["last_error"] == "denied"


async def test_one_callbacks_trouble_is_its_own(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(OK) as receiver, delivering(redis) as delivery:
        _, webhook_id = await owing(redis, receiver.url)
        client: Any = redis
        broken = f"{webhook_id[:-1]}9"
        await client.set(callback_key(broken), "no hash")
        with caplog.at_level(logging.ERROR):
            await deliver(delivery, broken, webhook_id)
    assert len(receiver.requests) == 1
    assert f"callback cannot be read webhook_id={broken} error=ResponseError" in caplog.text
