"""RabbitMQ as Celery's broker, the whole way: `make test-rabbitmq`."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tasks import JobState, Lane, submit_many
from tests.redis_topologies.rabbitmq import RabbitMQ
from tests.redis_topologies.support import Shop, shop_on
from tests.redis_topologies.whole_way import MANY, axn, go_the_whole_way
from worker.local.redis_server import EmbeddedRedis


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    with RabbitMQ() as running:
        yield running


@pytest.fixture(scope="module")
def shop(rabbitmq: RabbitMQ, redis_server: EmbeddedRedis) -> Iterator[Shop]:
    with shop_on({"AXN_REDIS_URL": redis_server.url(6), "AXN_BROKER_URL": rabbitmq.url}) as made:
        yield made


def test_everything_works_with_rabbitmq(shop: Shop) -> None:
    go_the_whole_way(shop)


def test_the_queues_are_told(shop: Shop) -> None:
    told = axn("status", "--json")
    assert set(json.loads(told)["queues"]) == {lane.value for lane in Lane}


def test_a_broker_that_goes_and_comes_back_loses_no_job(shop: Shop, rabbitmq: RabbitMQ) -> None:
    order = uuid4().hex
    rabbitmq.stop()
    # Filed in the ledger, and told to nobody: the timetable does that when the broker is back.
    filed = [row.job_id for row in submit_many(shop.request(f"{order}-{n}") for n in range(MANY))]
    rabbitmq.start()
    jobs = shop.ended(filed)
    assert {job.state for job in jobs} == {JobState.BOUND}
    assert [len(shop.bindings_of(job.out_order_id)) for job in jobs] == [1] * MANY
