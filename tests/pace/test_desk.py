"""The operator's hand: what is read from Redis is what stands there, and an order is one whole."""

import math
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import now_ms
from worker.domain.job import Lane
from worker.pace.desk import PaceDesk, PaceOrderError
from worker.pace.state import AccountState, ActionState, LastMinute, traffic_of

PER_SECOND = {"BindAxn": 50.0, "QuerySubsId": 10.0}
ENDPOINT = "dyplsapi.example:8443"
PREFIX = "axn1:{pace:acc}:"
MINUTE_US = 60_000_000
NOW_US = 1_000 * MINUTE_US + 15_000_000
"""A quarter of minute 1000 is over."""


def desk_of(redis: Redis) -> PaceDesk:
    return PaceDesk(redis, account="acc", endpoint=ENDPOINT, per_second=PER_SECOND)


async def write(redis: Redis, name: str, **fields: Any) -> None:
    client: Any = redis
    await client.hset(PREFIX + name, mapping=fields)


async def bind_axn(redis: Redis) -> ActionState:
    return (await desk_of(redis).read(["BindAxn"])).actions[0]


async def orders(redis: Redis, action: str = "BindAxn") -> dict[str, str]:
    client: Any = redis
    return dict(await client.hgetall(f"{PREFIX}{action}:orders"))


async def test_what_no_key_tells_is_unknown_and_never_a_figure(redis: Redis) -> None:
    state = await desk_of(redis).read()
    assert abs(state.at - await now_ms(redis)) < 2_000
    assert [action.action for action in state.actions] == list(PER_SECOND)
    assert (state.stop, state.circuit.is_open, state.circuit.endpoint) == (None, False, ENDPOINT)
    for action in state.actions:
        ceiling = action.ceiling
        assert action.traffic is None
        assert (ceiling.per_second, ceiling.is_ordered, ceiling.at) == (PER_SECOND[action.action], False, None)
        assert [(lane.lane, lane.waiting, lane.is_paused) for lane in action.lanes] == [
            (Lane.CHECKOUT, 0, False), (Lane.RENEWAL, 0, False), (Lane.BATCH, 0, False),
        ]  # fmt: skip


COUNTS = {"sent": 40, "sent_before": 100, "throttled": 4, "throttled_before": 8, "unwell": 0, "unwell_before": 2}
GOODPUT = {"count": 90, "count_before": 60, "count_at": NOW_US - 500_000, "count_before_us": 1_000_000}


@pytest.mark.parametrize(
    ("schedule", "field", "value"),
    [
        ({"rate": "47.5"}, "rate", 47.5),
        ({"seen": "1"}, "rate", None),
        ({"rate": "nan"}, "rate", None),
        ({"rate": "x"}, "rate", None),
        ({"seen": NOW_US}, "asked_at", NOW_US // 1000),
        (GOODPUT, "in_use", 100.0),
        (GOODPUT | {"count_at": NOW_US + 1}, "in_use", None),
        (GOODPUT | {"count_at": NOW_US - 149_000_000}, "in_use", 1.0),
        ({"count": 90}, "in_use", None),
        ({"count_at": NOW_US - 1_000_000}, "in_use", 0.0),
        ({"count_at": NOW_US - 1_000_000, "count": "x"}, "in_use", None),
        ({"minute": 1000, "sent": 40}, "last_minute", LastMinute(40, 0, 0)),
        (COUNTS | {"minute": 1000}, "last_minute", LastMinute(40 + 75, 4 + 6, round(1.5))),
        (COUNTS | {"minute": 999}, "last_minute", LastMinute(30, 3, 0)),
        (COUNTS | {"minute": 998}, "last_minute", LastMinute(0, 0, 0)),
        (COUNTS | {"minute": 1001}, "last_minute", LastMinute(None, None, None)),
        ({"rate": "1"}, "last_minute", LastMinute(None, None, None)),
        ({"last_cut": "0", "cut": "0"}, "last_cut", None),
        ({"pause": NOW_US + 2_000_000}, "silent_until", NOW_US // 1000 + 2_000),
        ({"pause": NOW_US}, "silent_until", None),
    ],
)
def test_each_figure_comes_from_the_schedule_or_is_unknown(schedule: dict[str, Any], field: str, value: object) -> None:
    traffic = traffic_of({name: str(given) for name, given in schedule.items()}, NOW_US)
    assert getattr(traffic, field) == value


async def test_all_that_stands_in_redis_is_read(redis: Redis) -> None:
    now = await now_ms(redis)
    await write(redis, "BindAxn:schedule", seen=now * 1000, rate="31.5", last_cut=(now - 4_000) * 1000, cut="30.25")
    await write(redis, "BindAxn:orders", per_second="80", per_second_at="7", per_second_by="ann",
                paused_batch="1", paused_batch_at="8", paused_batch_by="bob")  # fmt: skip
    await write(redis, "stop", code="Forbidden", fails="2", since="5", next_probe_at="6")
    await write(redis, f"circuit:{ENDPOINT}", opened_at="3", next_probe_at="4", fails="1")
    state = await desk_of(redis).read(["BindAxn"])
    (action,) = state.actions
    assert action.traffic is not None
    assert action.traffic.last_cut is not None
    assert (action.traffic.rate, action.traffic.last_cut.at, action.traffic.last_cut.per_second) == (
        31.5, now - 4_000, 30.25,
    )  # fmt: skip
    ceiling = action.ceiling
    assert (ceiling.per_second, ceiling.setting, ceiling.is_ordered, ceiling.at, ceiling.by) == (80, 50, True, 7, "ann")
    assert [(lane.is_paused, lane.at, lane.by) for lane in action.lanes] == [
        (False, None, ""), (False, None, ""), (True, 8, "bob"),
    ]  # fmt: skip
    assert state.stop is not None
    assert (state.stop.code, state.stop.since, state.stop.next_probe_at) == ("Forbidden", 5, 6)
    assert (state.circuit.is_open, state.circuit.opened_at, state.circuit.next_probe_at) == (True, 3, 4)


@pytest.mark.parametrize("closed", [{}, {"next_probe_at": "0"}])
async def test_a_closed_circuit_that_still_counts_is_closed(redis: Redis, closed: dict[str, str]) -> None:
    await write(redis, f"circuit:{ENDPOINT}", ok="5", bad="1", opened_at="3", **closed)
    circuit = (await desk_of(redis).read()).circuit
    assert (circuit.is_open, circuit.opened_at, circuit.next_probe_at) == (False, None, None)


async def test_waiting_is_the_sum_over_processes_that_told_of_it_lately(redis: Redis) -> None:
    now = await now_ms(redis)
    told = {
        "a:1:batch": f"30:{now}",
        "a:2:batch": f"12:{now - 3_000}",
        "b:1:batch": f"400:{now - 7_000}",
        "a:1:checkout": f"1:{now}",
        "broken": "x",
        "a:3:batch": "9",
    }
    await write(redis, "BindAxn:waiting", **told)
    assert [lane.waiting for lane in (await bind_axn(redis)).lanes] == [1, 0, 42]


async def test_a_ceiling_is_set_with_when_and_by_whom_and_put_back(redis: Redis) -> None:
    desk = desk_of(redis)
    before = await now_ms(redis)
    await desk.set_per_second("BindAxn", 800, by="ann@ops")
    stands = await orders(redis)
    assert (stands["per_second"], stands["per_second_by"]) == ("800", "ann@ops")
    assert before <= int(stands["per_second_at"]) <= await now_ms(redis)
    assert (await bind_axn(redis)).ceiling.per_second == 800
    assert await redis.pttl(PREFIX + "BindAxn:orders") == -1
    await desk.set_per_second("BindAxn", None, by="bob@ops")
    ceiling = (await bind_axn(redis)).ceiling
    assert (ceiling.per_second, ceiling.is_ordered, ceiling.by) == (50, False, "bob@ops")
    assert "per_second" not in await orders(redis)
    assert await orders(redis, "QuerySubsId") == {}


@pytest.mark.parametrize("per_second", [0.01, 1_234_567 / 1_000, 99_999.5])
async def test_a_rate_is_kept_to_the_digit(redis: Redis, per_second: float) -> None:
    await desk_of(redis).set_per_second("BindAxn", per_second, by="ann")
    assert (await bind_axn(redis)).ceiling.per_second == per_second


def paused(state: AccountState) -> list[str]:
    return [f"{action.action}:{lane.lane}" for action in state.actions for lane in action.lanes if lane.is_paused]


@pytest.mark.parametrize(
    ("lanes", "actions", "hit"),
    [
        ([Lane.BATCH], ["BindAxn"], ["BindAxn:batch"]),
        ([Lane.BATCH], [], ["BindAxn:batch", "QuerySubsId:batch"]),
        ([], ["QuerySubsId"], [f"QuerySubsId:{lane}" for lane in ("checkout", "renewal", "batch")]),
    ],
)
async def test_lanes_of_one_or_all_actions_are_paused_and_resumed(
    redis: Redis, lanes: list[Lane], actions: list[str], hit: list[str]
) -> None:
    desk = desk_of(redis)
    await desk.pause(lanes, actions, by="ann")
    assert paused(await desk.read()) == hit
    await desk.resume(lanes, actions, by="bob")
    state = await desk.read()
    assert paused(state) == []
    lane_names = {
        f"{action.action}:{lane.lane}" for action in state.actions for lane in action.lanes if lane.by == "bob"
    }
    assert lane_names == set(hit)


async def test_an_order_that_stands_already_keeps_its_when_and_whom(redis: Redis) -> None:
    desk = desk_of(redis)
    await desk.pause([Lane.BATCH], ["BindAxn"], by="ann")
    await desk.set_per_second("BindAxn", 800, by="ann")
    stood = await orders(redis)
    await desk.pause([Lane.BATCH], by="bob")
    await desk.set_per_second("BindAxn", 800.0, by="bob")
    await desk.resume([Lane.RENEWAL], by="bob")
    assert await orders(redis) == stood
    assert (await orders(redis, "QuerySubsId"))["paused_batch_by"] == "bob"


@pytest.mark.parametrize("per_second", [0, -1, 0.009, 100_001, math.nan, math.inf])
async def test_a_rate_out_of_bounds_changes_nothing(redis: Redis, per_second: float) -> None:
    with pytest.raises(PaceOrderError, match=r"^PER_SECOND: must be a number from 0\.01 to 100,000"):
        await desk_of(redis).set_per_second("BindAxn", per_second, by="ann")
    assert await redis.dbsize() == 0


async def test_what_is_unknown_is_refused_and_changes_nothing(redis: Redis) -> None:
    desk = desk_of(redis)
    for act in (desk.read(["X"]), desk.set_per_second("X", 1, by="ann"), desk.pause([], ["BindAxn", "X"], by="ann")):
        with pytest.raises(PaceOrderError, match=r"^action: must be one of BindAxn, QuerySubsId$"):
            await act
    with pytest.raises(PaceOrderError, match=r"^--lane: must be one of checkout, renewal, batch$"):
        await desk.pause([Lane.CALLBACK], by="ann")
    for by in ("", "a\x1b[2J", "a\nb", "a" * 101):
        with pytest.raises(PaceOrderError, match=r"^--by: must be"):
            await desk.resume(by=by)
    assert await redis.dbsize() == 0
