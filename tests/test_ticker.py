import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.ledger.support import claimed, ledger_of, new_job, now_ms, opened, until, waiting
from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.ledger.keys import job_keys, member_of, webhook_id_of
from worker.ledger.timetable import Due, Timetable
from worker.progress import Progress
from worker.publisher import Announcer, Publication
from worker.ticker import Chore, Ticker


class FakePublisher:
    """Remembers what was published; its lanes have the backlog they are told."""

    def __init__(self, backlog: int = 0, *, takes: bool = True) -> None:
        self.waiting_messages = backlog
        self.takes = takes
        self.asked = 0
        self.published: list[tuple[Lane, list[str]]] = []

    def publish(self, group: Sequence[Publication]) -> bool:
        assert all(publication.published_at_ms > 0 for publication in group)
        self.published += [(publication.lane, sorted(publication.ids)) for publication in group]
        return self.takes

    def backlogs(self) -> dict[Lane, int]:
        self.asked += 1
        return dict.fromkeys(Lane, self.waiting_messages)


class HurriedClock(SystemClock):
    """Sleeps a moment however long it is told to."""

    def __init__(self) -> None:
        self.asked_ms: list[float] = []

    async def sleep_ms(self, delay_ms: float) -> None:
        self.asked_ms.append(delay_ms)
        await asyncio.sleep(0.001)


class BrokenTimetable(Timetable):
    """Fails so often, then works."""

    failures: list[Exception]

    async def take_due(self, taken_up: Mapping[Lane, float] | None = None) -> Due:
        if self.failures:
            raise self.failures.pop(0)
        return await super().take_due(taken_up)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def ticker_of(
    redis: Redis,
    publisher: FakePublisher,
    executor: ThreadPoolExecutor,
    timetable: Timetable | None = None,
    progress: Progress | None = None,
) -> Ticker:
    return Ticker(
        timetable or timetable_of(redis),
        Announcer(publisher, executor, clock=SystemClock()),
        progress=progress or Progress(),
        tick_ms=500,
        clock=HurriedClock(),
    )


async def make_due(redis: Redis, job_id: str, lane: Lane = Lane.CHECKOUT, id_: str | None = None) -> None:
    client: Any = redis
    await client.zadd(job_keys(job_id).timetable, {member_of(lane, id_ or job_id): 1})


async def test_what_is_due_is_published_by_its_lane_and_once(redis: Redis, executor: ThreadPoolExecutor) -> None:
    ledger, publisher = ledger_of(redis), FakePublisher()
    checkout = [(await opened(ledger, key)).job_id for key in ("a", "b", "c")]
    batch = (await opened(ledger, "d", lane=Lane.BATCH)).job_id
    webhook_id = webhook_id_of(checkout[0], 1)
    for job_id in checkout[:2]:
        await make_due(redis, job_id)
    await make_due(redis, batch, Lane.BATCH)
    await make_due(redis, checkout[0], Lane.CALLBACK, webhook_id)
    ticker = ticker_of(redis, publisher, executor)
    assert await ticker.tick() == 4
    assert sorted(publisher.published) == [
        (Lane.BATCH, [batch]),
        (Lane.CALLBACK, [webhook_id]),
        (Lane.CHECKOUT, sorted(checkout[:2])),
    ]
    assert await ticker.tick() == 0


async def test_the_broker_is_asked_only_when_something_is_due(redis: Redis, executor: ThreadPoolExecutor) -> None:
    publisher, progress = FakePublisher(), Progress()
    job_id = (await opened(ledger_of(redis))).job_id
    ticker = ticker_of(redis, publisher, executor, progress=progress)
    progress.note(Lane.CHECKOUT, 7)
    assert (await ticker.tick(), publisher.asked) == (0, 0)
    assert await timetable_of(redis).note_progress({}) == {Lane.CHECKOUT: 7}  # told all the same
    await make_due(redis, job_id)
    assert (await ticker.tick(), publisher.asked) == (1, 1)


async def looked_at_again(redis: Redis, job_id: str) -> None:
    """Let the first look at what became of its publication come due."""
    client: Any = redis
    await client.zincrby(job_keys(job_id).timetable, -6_000, member_of(Lane.CHECKOUT, job_id))


async def test_while_a_lane_has_a_backlog_its_queued_jobs_are_left_alone(
    redis: Redis, executor: ThreadPoolExecutor
) -> None:
    ledger, publisher = ledger_of(redis), FakePublisher(backlog=7)
    accepted, later, dead = [(await opened(ledger, key)).job_id for key in ("accepted", "waiting", "dead")]
    await ledger.settle(await claimed(ledger, later), waiting(0))
    await claimed(ledger, dead)
    webhook_id = webhook_id_of(accepted, 1)
    await looked_at_again(redis, accepted)
    for job_id in (later, dead):
        await make_due(redis, job_id)
    await make_due(redis, accepted, Lane.CALLBACK, webhook_id)
    assert await ticker_of(redis, publisher, executor).tick() == 3
    assert sorted(publisher.published) == [(Lane.CALLBACK, [webhook_id]), (Lane.CHECKOUT, sorted([later, dead]))]


async def test_once_its_queue_is_empty_an_unheard_job_is_published_again(
    redis: Redis, executor: ThreadPoolExecutor
) -> None:
    publisher = FakePublisher(backlog=0)
    job_id = (await opened(ledger_of(redis))).job_id
    await looked_at_again(redis, job_id)
    assert await ticker_of(redis, publisher, executor).tick() == 1


async def test_in_a_busy_lane_a_job_is_published_again_once_a_later_message_was_taken_up(
    redis: Redis, executor: ThreadPoolExecutor
) -> None:
    publisher, progress = FakePublisher(backlog=7), Progress()
    job_id = (await opened(ledger_of(redis))).job_id
    await looked_at_again(redis, job_id)
    progress.note(Lane.CHECKOUT, await now_ms(redis))
    assert await ticker_of(redis, publisher, executor, progress=progress).tick() == 1
    assert await timetable_of(redis).note_progress({}) == {Lane.CHECKOUT: progress._taken_up[Lane.CHECKOUT]}


def timetable_of(redis: Redis) -> Timetable:
    return Timetable(redis, next_look_ms=5_000, most_per_partition=50)


async def test_a_job_without_a_record_is_published_so_that_its_claim_clears_the_entry(
    redis: Redis, executor: ThreadPoolExecutor
) -> None:
    publisher = FakePublisher(backlog=1)
    job_id = new_job("gone").job_id
    await make_due(redis, job_id)
    assert await ticker_of(redis, publisher, executor).tick() == 1


async def test_what_the_broker_did_not_take_is_not_counted_and_stays_in_the_timetable(
    redis: Redis, executor: ThreadPoolExecutor
) -> None:
    publisher = FakePublisher(takes=False)
    job = await opened(ledger_of(redis))
    await make_due(redis, job.job_id)
    timetable = timetable_of(redis)
    assert await ticker_of(redis, publisher, executor, timetable).tick() == 0
    assert await timetable.size() == 1


async def test_a_tick_ends_although_the_broker_hangs_and_its_jobs_stay_in_the_timetable(
    redis: Redis, executor: ThreadPoolExecutor
) -> None:
    publisher, broker_is_back = FakePublisher(), threading.Event()
    executor.submit(broker_is_back.wait, 10)  # what a publish that hangs does to its thread
    job = await opened(ledger_of(redis))
    await make_due(redis, job.job_id)
    ticker = ticker_of(redis, publisher, executor)
    ticker._announcer = Announcer(publisher, executor, clock=SystemClock(), longest_ms=50)
    try:
        assert await asyncio.wait_for(ticker.tick(), 5) == 0
        assert await Timetable(redis, next_look_ms=5_000, most_per_partition=50).size() == 1
    finally:
        broker_is_back.set()


@pytest.mark.parametrize("failure", [RedisConnectionError(), OSError(), ValueError("an entry nobody understands")])
async def test_ticking_survives_its_failures(redis: Redis, executor: ThreadPoolExecutor, failure: Exception) -> None:
    publisher = FakePublisher()
    timetable = BrokenTimetable(redis, next_look_ms=5_000, most_per_partition=50)
    timetable.failures = [failure, failure]
    job = await opened(ledger_of(redis))
    await make_due(redis, job.job_id)
    running = asyncio.create_task(ticker_of(redis, publisher, executor, timetable).run())

    async def published() -> bool:
        return bool(publisher.published) or running.done()

    await until(published)
    assert publisher.published == [(Lane.CHECKOUT, [job.job_id])]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_ticks_are_spread_around_their_interval(redis: Redis, executor: ThreadPoolExecutor) -> None:
    clock = HurriedClock()
    ticker = ticker_of(redis, FakePublisher(), executor)
    ticker._clock = clock
    running = asyncio.create_task(ticker.run())

    async def ticked() -> bool:
        return len(clock.asked_ms) >= 20

    await until(ticked)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert all(250 <= delay_ms < 750 for delay_ms in clock.asked_ms)
    assert len(set(clock.asked_ms)) > 10


async def test_chores_are_done_now_and_then_at_once_while_more_waits_and_hold_nothing_up(
    redis: Redis, executor: ThreadPoolExecutor
) -> None:
    more, done, broken = [True, True, False], 0, 0

    async def sweep() -> bool:
        nonlocal done
        done += 1
        return more.pop(0)

    async def breaks() -> bool:
        nonlocal broken
        broken += 1
        raise ValueError("of its own")

    ticker, clock = ticker_of(redis, FakePublisher(), executor), HurriedClock()
    ticker._clock = clock
    ticker._chores = [Chore("breaks", breaks, 3_600_000), Chore("sweep", sweep, 3_600_000)]
    running = asyncio.create_task(ticker.run())

    async def ticked() -> bool:
        return len(clock.asked_ms) >= 10 or running.done()

    await until(ticked)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (done, broken) == (3, 1)
