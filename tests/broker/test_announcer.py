"""A broker that hangs costs whoever submits a bounded time once, and those after him none."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.broker.black_hole import BlackHole
from tests.ledger.support import until
from worker.app import build_app
from worker.bootstrap import build_producer
from worker.clock import SystemClock
from worker.domain.bind_request import BindRequest
from worker.domain.job import JobState, Lane
from worker.local.redis_server import EmbeddedRedis
from worker.publisher import LONGEST_PUBLISH_MS, Announcer, Publication
from worker.settings import Settings

LONGEST_MS = 100


class StuckPublisher:
    """Hangs until told to go on."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.begun: list[str] = []

    def publish(self, group: Sequence[Publication]) -> bool:
        self.begun += [id_ for publication in group for id_ in publication.ids]
        return self.may_go_on.wait(10)

    def backlogs(self) -> dict[Lane, int]:
        return {Lane.CHECKOUT: int(self.may_go_on.wait(10))}


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def stuck(executor: ThreadPoolExecutor) -> Iterator[StuckPublisher]:
    """Let go before its thread is waited for."""
    publisher = StuckPublisher()
    yield publisher
    publisher.may_go_on.set()


async def test_who_meets_a_hanging_broker_first_waits_a_bounded_time_and_the_others_not_at_all(
    stuck: StuckPublisher, executor: ThreadPoolExecutor
) -> None:
    announcer = Announcer(stuck, executor, clock=SystemClock(), longest_ms=LONGEST_MS)
    assert (
        await asyncio.gather(*(announcer.publish(Lane.BATCH, [str(number)], 1) for number in range(50))) == [False] * 50
    )
    began_s = time.monotonic()
    assert not await announcer.publish(Lane.CHECKOUT, ["later"], 1)
    assert await announcer.backlogs() == {}
    assert time.monotonic() - began_s < LONGEST_MS / 2000
    assert stuck.begun == ["0"]
    assert executor._work_queue.qsize() <= 50


async def test_nothing_that_was_given_up_is_published_later_and_what_comes_then_is(
    stuck: StuckPublisher, executor: ThreadPoolExecutor
) -> None:
    announcer = Announcer(stuck, executor, clock=SystemClock(), longest_ms=LONGEST_MS)
    await asyncio.gather(*(announcer.publish(Lane.BATCH, [id_], 1) for id_ in ("hangs", "given up")))
    stuck.may_go_on.set()

    async def published() -> bool:
        return await announcer.publish(Lane.CHECKOUT, ["next"], 1)

    await until(published)
    assert "given up" not in stuck.begun
    assert await announcer.backlogs() == {Lane.CHECKOUT: 1}


async def test_a_request_is_accepted_soon_while_the_broker_never_answers(redis_server: EmbeddedRedis) -> None:
    with BlackHole(redis_server.socket_path) as way:
        settings = Settings(
            redis_url=redis_server.url(0), broker_url=f"redis://127.0.0.1:{way.port}/1", pool_key="FC1"
        )  # fmt: skip
        services = build_producer(settings, build_app(settings))
        request = BindRequest(phone_no_a="13900001234", expires_in="2h")
        await services.intake.submit(request)
        way.is_silent = True
        began_s = time.monotonic()
        job_id = await services.intake.submit(request)
        first_s = time.monotonic() - began_s
        many = await services.intake.submit_many([request] * 20)
        assert (await services.ledger.read(job_id)).state is JobState.ACCEPTED
        assert len(many) == 20
        assert LONGEST_PUBLISH_MS / 1000 - 0.1 < first_s < LONGEST_PUBLISH_MS / 1000 + 1
        assert time.monotonic() - began_s < LONGEST_PUBLISH_MS / 1000 + 1.5
        way.is_silent = False

        async def published() -> bool:
            return await services.announcer.publish(Lane.CHECKOUT, [job_id], 1)

        await until(published, within_s=15)
        await services.aclose()
