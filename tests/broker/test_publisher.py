"""What goes to the broker is what `send_task` would send, in fewer trips."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from redis import Redis

from tests.traces.support import Kept
from worker.app import build_app
from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.local.redis_server import EmbeddedRedis
from worker.messages import IDS_PER_MESSAGE, TASK_CALLBACKS, TASK_JOBS, encode_ids
from worker.publisher import Announcer, Publication, Publisher
from worker.settings import Settings

AT_MS = 1_790_000_000_000
DATABASE = 4
ID = "0199" + "a" * 28


@pytest.fixture
def broker(redis_server: EmbeddedRedis) -> Iterator["Redis"]:
    with Redis(unix_socket_path=str(redis_server.socket_path), db=DATABASE) as client:
        yield client
        client.flushdb()


@pytest.fixture
def app(redis_server: EmbeddedRedis) -> Any:
    return build_app(Settings(redis_url=redis_server.url(0), broker_url=redis_server.broker_url(DATABASE)))


def sent(broker: "Redis", lane: Lane) -> list[dict[str, Any]]:
    """The lane's messages, oldest first, without what differs from message to message."""
    messages = [json.loads(entry) for entry in reversed(cast("list[bytes]", broker.lrange(lane.queue, 0, -1)))]
    for message in messages:
        headers, properties = message["headers"], message["properties"]
        assert headers.pop("id") == headers.pop("root_id") == properties.pop("correlation_id")
        assert properties.pop("delivery_tag")
    return messages


@pytest.mark.parametrize(
    ("lane", "ids"),
    [
        (Lane.CHECKOUT, [ID]),
        (Lane.BATCH, [ID] * 22),
        (Lane.RENEWAL, [ID] * 25),
        (Lane.BATCH, [ID] * IDS_PER_MESSAGE),
        (Lane.CALLBACK, [f"{ID}-1", "@shop.example", '!o\'rder \\ "客"']),
    ],
)
def test_a_message_is_what_send_task_sends(broker: "Redis", app: Any, lane: Lane, ids: list[str]) -> None:
    task = TASK_CALLBACKS if lane is Lane.CALLBACK else TASK_JOBS
    app.send_task(task, args=[encode_ids(lane, ids, AT_MS)], queue=lane.queue, ignore_result=True)
    publisher = Publisher(app)
    assert publisher.publish([Publication(lane, ids, AT_MS)])
    assert publisher.publish([Publication(lane, ids, AT_MS)] * 2)
    theirs, *ours = sent(broker, lane)
    assert ours == [theirs] * 3


def test_a_group_keeps_its_order_and_fills_its_messages(broker: "Redis", app: Any) -> None:
    group = [Publication(Lane.BATCH, [f"{number}"] * (IDS_PER_MESSAGE + 1), AT_MS) for number in range(3)]
    assert Publisher(app).publish([*group, Publication(Lane.CHECKOUT, [ID], AT_MS)])
    reprs = [message["headers"]["argsrepr"] for message in sent(broker, Lane.BATCH)]
    assert [text[text.index("ids") :][:9] for text in reprs] == [f"ids': ['{number}" for number in "001122"]
    assert len(sent(broker, Lane.CHECKOUT)) == 1


def test_a_broken_connection_is_made_anew_within_the_call(broker: "Redis", app: Any) -> None:
    publisher = Publisher(app)
    assert publisher.publish([Publication(Lane.CHECKOUT, [ID], AT_MS)])
    publisher._producer.channel.pool.disconnect()
    publisher._producer.channel.pool.connection_kwargs["path"] = "/nowhere"
    assert publisher.publish([Publication(Lane.CHECKOUT, [ID], AT_MS)])
    assert len(sent(broker, Lane.CHECKOUT)) == 2


class CountingPublisher:
    """Takes everything."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []

    def publish(self, group: Sequence[Publication]) -> bool:
        self.groups.append([id_ for publication in group for id_ in publication.ids])
        return True

    def backlogs(self) -> dict[Lane, int]:
        return {}


async def test_what_is_announced_while_the_thread_is_away_goes_together() -> None:
    publisher = CountingPublisher()
    with ThreadPoolExecutor(1) as executor:
        announcer = Announcer(publisher, executor, clock=SystemClock())
        many = ["m"] * 6_000
        calls = [announcer.publish(Lane.CHECKOUT, ids, AT_MS) for ids in (["first"], ["a"], ["b"], many, ["c"])]
        assert await asyncio.gather(*calls) == [True] * len(calls)
    assert publisher.groups == [["first"], ["a", "b"], many, ["c"]]


async def test_what_is_published_in_a_trace_carries_it_as_a_header(broker: "Redis", app: Any) -> None:
    kept = Kept()
    with ThreadPoolExecutor(1) as executor:
        announcer = Announcer(Publisher(app), executor, clock=SystemClock(), traces=kept.tracer)
        with kept.tracer.root("axn.submit"):
            here = kept.tracer.here()
            await announcer.publish(Lane.CHECKOUT, [ID], AT_MS)
        await announcer.publish(Lane.CHECKOUT, [ID], AT_MS)
    traced, untraced = sent(broker, Lane.CHECKOUT)
    assert traced["headers"].pop("traceparent") == here
    assert traced == untraced
