"""Worker processes tell that they are there; who has not for a while is not, and is forgotten later."""

import json
from typing import Any

from redis.asyncio import Redis

from tests.ledger.support import now_ms
from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.observation.assembly import build_observation
from worker.observation.health import Pulse
from worker.observation.meters import Meters
from worker.observation.presence import PRESENCES_KEY, Presence, Presences, read_presences
from worker.observation.snapshot import take_snapshot
from worker.pace.desk import PaceDesk
from worker.registry.alarm import NO_RISK


async def no_backlogs() -> dict[Lane, int]:
    return {}


def pace_of(redis: Redis) -> PaceDesk:
    return PaceDesk(redis, account="a", endpoint="e", per_second={"BindAxn": 50})


def presence(process: str) -> Presence:
    return Presence(process, "1.0", ["checkout"], in_flight=3, lag_ms=2, faults=["it is stopping"], started_at=5)


async def there(redis: Redis) -> list[str]:
    return [worker.process for worker in (await take_snapshot(redis, pace_of(redis), no_backlogs)).workers]


async def test_what_a_process_tells_is_read_back_with_the_time(redis: Redis) -> None:
    told_at = await Presences(redis).tell(presence("a"))
    told: Any = await redis.hgetall(PRESENCES_KEY)
    (found,) = read_presences(told)
    assert found == Presence("a", "1.0", ["checkout"], 3, 2, ["it is stopping"], started_at=5, seen_at=told_at)


async def test_a_process_that_ends_or_falls_silent_is_not_there(redis: Redis) -> None:
    book = Presences(redis)
    for process in ("a", "b", "c"):
        await book.tell(presence(process))
    await book.end("b")
    await move_back(redis, "c", 36_000)
    assert await there(redis) == ["a"]


async def test_one_that_was_silent_for_an_hour_is_forgotten_when_another_tells(redis: Redis) -> None:
    book = Presences(redis)
    await book.tell(presence("old"))
    await move_back(redis, "old", 3_600_001)
    await book.tell(presence("new"))
    assert await redis.hkeys(PRESENCES_KEY) == ["new"]


async def test_what_another_release_tells_is_passed_over(redis: Redis) -> None:
    await redis.hset(PRESENCES_KEY, mapping={"x": f"{await now_ms(redis)} " + json.dumps({"future": 1}), "y": "junk"})
    await Presences(redis).tell(presence("a"))
    assert await there(redis) == ["a"]


async def test_an_observed_process_is_there_until_it_is_ended(redis: Redis) -> None:
    pulse = Pulse(SystemClock(), Meters(), in_flight=lambda: 7)
    pulse.consumer_turned([Lane.BATCH.queue])
    observation = build_observation(redis, pace_of(redis), no_backlogs, pulse, address=("", 0), risk=lambda: NO_RISK)
    await observation.look()
    await observation.look()
    (worker,) = (await take_snapshot(redis, pace_of(redis), no_backlogs)).workers
    assert (worker.lanes, worker.in_flight, worker.faults) == (["batch"], 7, [])
    assert 0 < worker.started_at <= worker.seen_at
    await observation._end()
    assert await there(redis) == []


async def move_back(redis: Redis, process: str, by_ms: int) -> None:
    told = await redis.hget(PRESENCES_KEY, process)
    assert told is not None
    seen_at, _, fields = str(told).partition(" ")
    await redis.hset(PRESENCES_KEY, process, f"{int(seen_at) - by_ms} {fields}")
