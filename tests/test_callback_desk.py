"""What people may do with callbacks, each move against a real ledger."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from tests.ledger.callbacks_on_record import (
    DAY_MS,
    HOST,
    commands_of_dead,
    commands_of_job,
    commands_of_waiting,
    webhook_id,
)
from tests.ledger.support import now_ms
from tests.ledger.test_callback_listing import run
from worker.callback_desk import CallbackDesk, CallbackFilter, ReplayReport, ReplayRules
from worker.domain.job_ids import job_id_for_key
from worker.errors import CallbackNotFoundError, ReceiverDisabledError
from worker.ledger.audit import Audit
from worker.ledger.callback_views import CallbackState
from worker.ledger.keys import receiver_key
from worker.ledger.receiver_switch import Disabled
from worker.ledger.replays import Replay, ReplayOutcome
from worker.local.redis_server import EmbeddedRedis

RULES = ReplayRules("ann", per_second=10_000)
OTHER = {"url": "https://Other.example:8443/x", "host": None}
ALL = timedelta(days=36_500)


@pytest.fixture
def desk(redis: Redis) -> CallbackDesk:
    return CallbackDesk(redis)


class Told:
    """What a replay told along its way."""

    def __init__(self) -> None:
        self.steps: list[list[Replay]] = []

    def __call__(self, replays: Sequence[Replay]) -> None:
        self.steps.append(list(replays))

    @property
    def ids(self) -> list[str]:
        return [one.webhook_id for step in self.steps for one in step]


async def ids(desk: CallbackDesk, limit: int = 1_000, **wanted: Any) -> list[str]:
    return [one.webhook_id for one in await desk.find(CallbackFilter(**wanted), limit)]


async def of_host(desk: CallbackDesk, **options: Any) -> tuple[ReplayReport, Told]:
    told = Told()
    report = await desk.replay_receiver(HOST, options.pop("rules", RULES), told, **({"since": ALL} | options))
    return report, told


async def test_dead_ones_are_listed_before_waiting_ones_as_far_as_they_are_wanted(
    redis: Redis, desk: CallbackDesk
) -> None:
    now = await now_ms(redis)
    await run(redis, commands_of_dead(["1", "2"], at_ms=now) + commands_of_dead(["3"], at_ms=now, **OTHER))
    await run(redis, commands_of_waiting(["4"], look_ms=now) + commands_of_waiting(["5"], look_ms=now, **OTHER))
    dead, waiting = CallbackState.DEAD, CallbackState.WAITING
    assert sorted(await ids(desk)) == sorted(webhook_id(key) for key in "12345")
    assert await ids(desk, host=HOST) == [webhook_id(key) for key in "214"]
    assert await ids(desk, host="other.example") == [webhook_id(key) for key in "35"]
    assert await ids(desk, state=dead, host=HOST) == [webhook_id(key) for key in "21"]
    assert await ids(desk, state=waiting, host=HOST) == [webhook_id("4")]
    assert await ids(desk, limit=1, host=HOST) == [webhook_id("2")]
    assert [one.host for one in await desk.find(CallbackFilter(waiting, "other.example"), 9)] == ["other.example"]


async def test_ids_are_replayed_once_each_and_refused_ones_are_told(redis: Redis, desk: CallbackDesk) -> None:
    await run(redis, commands_of_dead(["1", "2"], at_ms=1) + commands_of_job("2", "dead"))
    await run(redis, commands_of_waiting(["3"], look_ms=9) + commands_of_job("4", "delivered"))
    told = Told()
    given = [webhook_id("1"), job_id_for_key("2"), webhook_id("1"), webhook_id("3"), webhook_id("4"), "none"]
    report = await desk.replay(given, RULES, told)
    assert told.ids == [webhook_id("1"), webhook_id("2"), webhook_id("3"), webhook_id("4"), "none"]
    assert report.outcomes == {ReplayOutcome.REPLAYED: 2, ReplayOutcome.WAITING: 1, ReplayOutcome.MISSING: 2}
    assert (report.done, report.refused) == (2, 3)
    assert sorted(line.subject for line in await Audit(redis).newest(9)) == sorted([webhook_id("1"), webhook_id("2")])


async def test_of_a_receiver_only_what_was_given_up_in_that_time_is_replayed_oldest_first(
    redis: Redis, desk: CallbackDesk
) -> None:
    now = await now_ms(redis)
    await run(redis, commands_of_dead(["0"], at_ms=now - 9 * DAY_MS) + commands_of_dead(["4"], at_ms=now - DAY_MS))
    await run(redis, commands_of_dead([f"1{n}" for n in range(300)], at_ms=now - 5 * DAY_MS))
    await run(redis, commands_of_dead(["5"], at_ms=now - 5 * DAY_MS, **OTHER))
    wanted = [webhook_id(f"1{n}") for n in range(300)]
    until = datetime.fromtimestamp((now - 2 * DAY_MS) / 1000, UTC)
    report, told = await of_host(desk, since=timedelta(days=6), until=until)
    assert (report.done, told.ids) == (300, wanted)
    assert len(told.steps) == 2
    assert [one.first_try_at for step in told.steps for one in step] == sorted(
        one.first_try_at for step in told.steps for one in step
    )
    assert await ids(desk, state=CallbackState.DEAD) == [webhook_id("4"), webhook_id("5"), webhook_id("0")]
    (line,) = await Audit(redis).newest(1_000)
    assert (line.by, line.what, line.subject, line.job_id) == ("ann", "callbacks replayed", HOST, "")


async def test_a_dry_run_tells_the_same_and_changes_nothing(redis: Redis, desk: CallbackDesk) -> None:
    await run(redis, commands_of_dead(["1", "2"], at_ms=1))
    dry = ReplayRules("ann", is_dry_run=True)
    await run(redis, [("HSET", receiver_key(HOST), "disabled_at", 5, "disabled_by", "410")])
    for report, told in (await of_host(desk, rules=dry), await by_ids(desk, dry)):
        assert report.outcomes == {ReplayOutcome.WOULD_REPLAY: 2}
        assert told.ids == [webhook_id("1"), webhook_id("2")]
    assert await ids(desk, state=CallbackState.DEAD) == [webhook_id("2"), webhook_id("1")]
    assert await Audit(redis).newest(9) == []


async def by_ids(desk: CallbackDesk, rules: ReplayRules) -> tuple[ReplayReport, Told]:
    told = Told()
    return await desk.replay([webhook_id("1"), webhook_id("2")], rules, told), told


async def test_a_replay_broken_off_is_taken_up_by_the_next(redis: Redis, desk: CallbackDesk) -> None:
    keys = [str(number) for number in range(700)]
    await run(redis, commands_of_dead(keys, at_ms=1))
    task: asyncio.Task[Any] | None = None
    first = Told()

    def break_off(replays: Sequence[Replay]) -> None:
        first(replays)
        assert task is not None
        task.cancel()

    task = asyncio.create_task(desk.replay_receiver(HOST, RULES, break_off, since=ALL))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 < len(first.ids) < len(keys)
    _, second = await of_host(desk)
    assert sorted(first.ids + second.ids) == sorted(webhook_id(key) for key in keys)
    moments = [one.first_try_at for told in (first, second) for step in told.steps for one in step]
    assert moments == sorted(moments)


async def test_nothing_is_replayed_to_a_disabled_receiver(redis: Redis, desk: CallbackDesk) -> None:
    await run(redis, commands_of_dead(["1", "2"], at_ms=1) + commands_of_dead(["3"], at_ms=1, **OTHER))
    await desk.disable(HOST, "bob")
    with pytest.raises(ReceiverDisabledError, match=f"{HOST} is disabled .by bob.*axn callbacks enable {HOST}"):
        await of_host(desk)
    report = await desk.replay([webhook_id("1"), webhook_id("3")], RULES, Told())
    assert report.outcomes == {ReplayOutcome.DISABLED: 1, ReplayOutcome.REPLAYED: 1}
    assert await ids(desk, state=CallbackState.DEAD) == [webhook_id("2"), webhook_id("1")]


async def test_a_receiver_disabled_in_the_midst_of_its_replay_gets_no_more(
    redis: Redis, redis_server: EmbeddedRedis, desk: CallbackDesk
) -> None:
    await run(redis, commands_of_dead([str(number) for number in range(300)], at_ms=1))
    told = Told()

    def disable(replays: Sequence[Replay]) -> None:
        told(replays)
        with BlockingRedis.from_url(redis_server.url(0)) as client:
            client.hset(receiver_key(HOST), "disabled_at", 5)

    with pytest.raises(ReceiverDisabledError):
        await desk.replay_receiver(HOST, RULES, disable, since=ALL)
    assert (len(told.ids), len(await ids(desk, state=CallbackState.DEAD))) == (200, 100)


async def test_a_receiver_is_disabled_once_and_enabling_it_counts_what_waits(redis: Redis, desk: CallbackDesk) -> None:
    await run(redis, commands_of_dead(["1", "2"], at_ms=1) + commands_of_dead(["3"], at_ms=1, **OTHER))
    before = await now_ms(redis)
    disabled = await desk.disable(HOST, "bob")
    assert before <= disabled.at_ms <= await now_ms(redis)
    assert await desk.disable(HOST, "eve") == disabled
    enabled = await desk.enable(HOST, "ann")
    assert (enabled.was, enabled.dead) == (disabled, 2)
    client: Any = redis
    assert await client.exists(receiver_key(HOST)) == 0
    again = await desk.enable(HOST, "ann")
    assert (again.was, again.dead) == (None, 2)
    told = [(line.what, line.by, line.was, line.now) for line in await Audit(redis).newest(9)]
    assert sorted(told) == [
        ("receiver disabled", "bob", "enabled", "disabled"),
        ("receiver disabled", "eve", "enabled", "disabled"),
        ("receiver enabled", "ann", "disabled", "enabled"),
    ]


async def test_what_the_circuit_keeps_of_a_receiver_outlives_its_switch(redis: Redis, desk: CallbackDesk) -> None:
    await run(redis, [("HSET", receiver_key(HOST), "disabled_at", 5, "disabled_by", "410", "openings", 3)])
    assert (await desk.enable(HOST, "ann")).was == Disabled(5, "410")
    client: Any = redis
    assert await client.hgetall(receiver_key(HOST)) == {"openings": "3"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"since": datetime(2026, 1, 1)}, "with its zone"),  # noqa: DTZ001
        ({"since": timedelta(hours=1), "until": timedelta(hours=2)}, "since: must not be after until"),
        ({"since": datetime(2999, 1, 1, tzinfo=UTC)}, "since: must not be after until"),
    ],
)
async def test_a_time_that_is_none_is_refused(desk: CallbackDesk, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        await of_host(desk, **wrong)


@pytest.mark.parametrize("per_second", [0, -1, float("inf"), float("nan")])
def test_a_pace_that_is_none_is_refused(per_second: float) -> None:
    with pytest.raises(ValueError, match="per_second"):
        ReplayRules("ann", per_second=per_second)


@pytest.mark.parametrize("id_", ["x", f"{job_id_for_key('1')}-{{p00}}", job_id_for_key("none")])
async def test_what_is_no_id_of_a_callback_is_not_found(desk: CallbackDesk, id_: str) -> None:
    with pytest.raises(CallbackNotFoundError):
        await desk.read(id_)
