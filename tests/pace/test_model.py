"""The script and its model give the same answers, and these keep what was promised."""

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from importlib import resources
from typing import Any, TypeVar

import pytest
import redis as redis_sync
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests.pace.model import Call, Circuit, Reply, Rules, State, World, acquire
from worker.local.redis_server import EmbeddedRedis
from worker.pace.keys import PaceKeys

SCRIPT = resources.files("worker.pace").joinpath("scripts", "acquire.lua").read_text(encoding="utf-8")
KEYS = PaceKeys("acc", "BindAxn", "endpoint").all
SCHEDULE, _, CIRCUIT, ORDERS, WAITING = KEYS
INSTANTS = (
    "seen", "tat", "cut_at", "last_cut", "count_at", "assured_1", "assured_2", "turn_0", "turn_1", "turn_2", "pause",
    "retry_at",
)  # fmt: skip
INSTANTS_MS = ("at", "opened_at", "next_probe_at", "closed_at")
Kept = TypeVar("Kept", State, Circuit)
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Each step has Redis's clock in it: a smaller example need not fail again."""
START_US = 1_800_000_000_000_000


LIMITS = st.sampled_from([0.5, 5, 20, 200, 5_000])
ELAPSED_US = st.one_of(st.integers(0, 60_000), st.integers(0, 3_000_000), st.integers(0, 20_000_000))
CALLS: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    lane=st.integers(0, 2),
    wanted=st.sampled_from([0, 1, 1, 2, 5, 50]),
    longest_wait=st.sampled_from([0, 20_000, 1_000_000, 10_000_000]),
    ok=st.integers(0, 200),
    throttled=st.sampled_from([0, 0, 0, 1, 7]),
    is_stale=st.booleans(),
    pause_us=st.sampled_from([0] * 8 + [30_000, 100_000_000]),
    gives_back=st.booleans(),
    is_retry=st.sampled_from([False, False, True]),
    unwell=st.sampled_from([0, 0, 0, 1, 30]),
    circuit_probe=st.sampled_from([0, 0, 1, 2]),
)
STEPS = st.lists(
    st.tuples(
        ELAPSED_US,
        CALLS,
        st.sampled_from(["fine"] * 12 + ["back", "lost", "ahead", "behind", "ordered", "paused", "resumed"]),
    ),
    max_size=25,
)


WISH = {
    "lane": 0, "wanted": 1, "longest_wait": 0, "ok": 0, "throttled": 0, "is_stale": False, "pause_us": 0,
    "gives_back": False, "is_retry": False, "unwell": 0, "circuit_probe": 0,
}  # fmt: skip
IDLE_BETWEEN_CUTS = [
    (0, WISH, "fine"), (1_000_000, {**WISH, "ok": 10, "throttled": 1}, "fine"),
    (1_000_000, {**WISH, "throttled": 1}, "fine"),
]  # fmt: skip


class Fleet:
    """A worker's memory: what it passes on from the last reply."""

    def __init__(self) -> None:
        self.last = Reply(0, 0, 0, 0, 0, 0)

    def call(self, wish: dict[str, Any]) -> Call:
        wish = dict(wish)
        epoch = self.last.epoch - wish.pop("is_stale")
        back = wish.pop("gives_back") and self.last.granted
        back_us = int(self.last.interval) if back else 0
        if wish["lane"] == 0:
            wish["wanted"] = min(1, wish["wanted"])
        return Call(
            **wish, epoch=epoch, born=self.last.born, known_tat=self.last.tat,
            back_end=self.last.tat if back else 0, back_us=back_us,
        )  # fmt: skip


@pytest.fixture(scope="module")
def client(redis_server: EmbeddedRedis) -> Iterator["redis_sync.Redis"]:
    with redis_sync.Redis.from_url(redis_server.url(0), decode_responses=True) as made:
        made.flushall()
        yield made


def held_in(client: Any, key: str, kind: type[Kept]) -> Kept:
    held = client.hgetall(key)
    return kind(**{name.name: float(held.get(name.name, 0)) for name in fields(kind)})  # type: ignore[arg-type]


def world_in(client: Any) -> World:
    return World(held_in(client, SCHEDULE, State), held_in(client, CIRCUIT, Circuit))


def shift(client: Any, us: float) -> None:
    """Let so much time pass, as the schedule and the circuit see it."""
    for key, names, scale in ((SCHEDULE, INSTANTS, 1), (CIRCUIT, INSTANTS_MS, 1000)):
        for name, value in client.hgetall(key).items():
            if name in names and float(value):
                client.hset(key, name, f"{float(value) - us / scale:.17g}")


def told(rules: Rules, call: Call) -> list[Any]:
    return [
        call.lane, call.wanted, call.longest_wait, rules.per_second, rules.checkout_depth, rules.depth(call.lane),
        rules.batch_depth, rules.assured_share, rules.probe_ms, call.ok, call.throttled, call.epoch, call.pause_us,
        f"{call.born:.0f}", f"{call.known_tat:.17g}", f"{call.back_end:.17g}", call.back_us, int(call.is_retry),
        rules.retries_per_second, rules.retry_share, call.unwell, call.circuit_probe, rules.circuit_least,
        rules.circuit_share, rules.circuit_first_ms, rules.circuit_longest_ms, "me:batch", 3,
    ]  # fmt: skip


def befall(client: Any, mishap: str, rules: Rules) -> Rules:
    """What happens between two calls."""
    if mishap == "lost":
        client.delete(SCHEDULE)
    elif mishap in {"ahead", "behind"}:
        client.hincrbyfloat(SCHEDULE, "tat", 3_600e6 if mishap == "ahead" else -3_600e6)
        client.hsetnx(SCHEDULE, "epoch", "0")
    elif mishap == "ordered":
        client.hset(ORDERS, "per_second", "77.5")
        return replace(rules, per_second=77.5)
    elif mishap == "paused":
        client.hset(ORDERS, mapping={"paused_batch": "1", "paused_checkout": "1"})
        return replace(rules, paused=frozenset({0, 2}))
    elif mishap == "resumed":
        client.hdel(ORDERS, "paused_batch")
        return replace(rules, paused=rules.paused - {2})
    return rules


@settings(max_examples=120, deadline=None, phases=UNSHRUNK)
@example(limit=5_000, steps=IDLE_BETWEEN_CUTS)
@given(limit=LIMITS, steps=STEPS)
def test_the_script_answers_as_its_model(client: Any, limit: float, steps: list[Any]) -> None:
    client.delete(*KEYS)
    rules, script, fleet = Rules(limit), client.register_script(SCRIPT), Fleet()
    for elapsed_us, wish, mishap in steps:
        shift(client, -elapsed_us if mishap == "back" else elapsed_us)
        rules = befall(client, mishap, rules)
        before, call = world_in(client), fleet.call(wish)
        granted, wait, reason, probes, again, interval, epoch, born, tat = script(KEYS, told(rules, call))
        after = world_in(client)
        expected, reply = acquire(before, rules, call, after.state.seen)
        in_full = f"{before}\n{call}\nat {after.state.seen:.0f}: {granted} after {wait}"
        assert (granted, wait, reason, probes) == (reply.granted, reply.wait, reply.reason, reply.probes), in_full
        assert (again, int(epoch), float(interval)) == (reply.again, reply.epoch, reply.interval), in_full
        assert after == expected, in_full
        fleet.last = replace(reply, born=float(born), tat=float(tat))


def most_in_a_second(moments: list[float]) -> int:
    ordered = sorted(moments)
    most = first = 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= 1e6 - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


FEW_STEPS = st.lists(st.tuples(st.integers(0, 60_000) | st.integers(0, 2_500_000), CALLS), max_size=60)


@settings(max_examples=200, deadline=None)
@given(limit=st.sampled_from([1, 5, 20, 200]), steps=FEW_STEPS)
def test_no_second_holds_more_calls_than_the_limit_and_no_place_is_given_twice(limit: int, steps: list[Any]) -> None:
    rules, world, fleet, now = Rules(limit), World(), Fleet(), float(START_US)
    moments: list[float] = []
    for elapsed_us, wish in steps:
        now += elapsed_us
        call = fleet.call({**wish, "gives_back": False})
        before = world.state
        world, fleet.last = acquire(world, rules, call, now)
        places = fleet.last
        assert places.wait >= 0
        assert 0 <= places.granted <= call.wanted
        if before.born:
            assert world.state.tat >= before.tat + places.granted * places.interval - 1
        moments += [now + places.wait + number * places.interval for number in range(places.granted)]
    assert most_in_a_second(moments) <= limit


@given(limit=st.sampled_from([200, 2_000, 5_000]))
def test_each_lane_finds_room_that_the_lane_below_has_left(limit: int) -> None:
    rules, now = Rules(limit), float(START_US)
    world, _ = acquire(World(), rules, Call(), now)
    now += 1_000_000
    world, batch = acquire(world, rules, Call(2, 10_000), now)
    assert batch.granted == pytest.approx(0.03 * rules.ceiling, abs=1)
    world, more = acquire(world, rules, Call(2, 10_000), now)
    assert more.granted == 0
    assert more.wait > 0
    world, renewal = acquire(world, rules, Call(1, 10_000, longest_wait=40_000), now + 6_000)
    assert renewal.granted >= 1, "sooner than batch would"
    world, more = acquire(world, rules, Call(2, 10_000, longest_wait=40_000), now + 6_000)
    assert more.granted == 0
    _, checkout = acquire(world, rules, Call(0, 1), now + 6_000)
    assert (checkout.granted, checkout.wait) == (1, 0)


def test_lanes_below_get_their_assured_share_while_checkout_wants_all() -> None:
    rules, world, now = Rules(200), World(), float(START_US)
    granted = [0, 0, 0]
    for step in range(20_000):
        now += 1_000
        for lane in (0, 1, 2) if step % 2 else (2, 1, 0):
            world, reply = acquire(world, rules, Call(lane, 1, longest_wait=10_000_000), now)
            granted[lane] += reply.granted
    assert granted[1] + granted[2] == pytest.approx(0.1 * sum(granted), rel=0.1)
    assert granted[1] == pytest.approx(granted[2], rel=0.1)


def test_renewal_leaves_batch_its_assured_share_only() -> None:
    rules, world, now = Rules(200), World(), float(START_US)
    granted = [0, 0, 0]
    for _ in range(20_000):
        now += 1_000
        for lane in (1, 2):
            world, reply = acquire(world, rules, Call(lane, 50, longest_wait=10_000_000), now)
            granted[lane] += reply.granted
    assert granted[2] <= 0.07 * granted[1]
    assert sum(granted) == pytest.approx(20 * rules.ceiling, rel=0.01)


def cut_once(rules: Rules, throttled: int, accepted: int = 150) -> tuple[World, float]:
    world, reply = acquire(World(), rules, Call(), START_US)
    now = START_US + 1_000_000.0
    world, _ = acquire(world, rules, Call(2, 10, ok=accepted), now)
    for _ in range(throttled):
        now += 1_000
        world, _ = acquire(world, rules, Call(throttled=1, epoch=reply.epoch), now)
    return world, now


def test_a_hundred_throttled_answers_of_one_overload_are_one_cut() -> None:
    one, _ = cut_once(Rules(1_000), 1)
    hundred, _ = cut_once(Rules(1_000), 100)
    assert hundred.state.epoch == one.state.epoch
    assert hundred.state.cut == one.state.cut < Rules(1_000).ceiling


def test_the_time_between_two_cuts_is_the_clocks_though_nothing_was_wanted_meanwhile() -> None:
    rules, world, now, fleet = Rules(5_000), World(), float(START_US), Fleet()
    epochs = []
    for elapsed_us, wish, _ in IDLE_BETWEEN_CUTS:
        now += elapsed_us
        world, fleet.last = acquire(world, rules, fleet.call(wish), now)
        epochs.append(fleet.last.epoch)
    assert [epoch - epochs[0] for epoch in epochs] == [0, 1, 2]


def test_after_the_cut_the_rate_comes_back_by_itself() -> None:
    rules = Rules(1_000)
    world, now = cut_once(rules, 1)
    rates = []
    for _ in range(400):
        now += 50_000
        world, reply = acquire(world, rules, Call(2, 1_000), now)
        rates.append(1e6 / reply.interval)
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(rules.ceiling)


def test_a_rate_that_nobody_uses_does_not_grow_past_what_is_known() -> None:
    rules = Rules(1_000)
    world, now = cut_once(rules, 1)
    world, reply = acquire(world, rules, Call(), now + 600e6)
    assert 1e6 / reply.interval == pytest.approx(world.state.wmax, rel=0.01)


def test_the_providers_own_delay_holds_all_lanes() -> None:
    rules = Rules(1_000)
    world, _ = acquire(World(), rules, Call(pause_us=700_000), START_US)
    for lane in range(3):
        world, reply = acquire(world, rules, Call(lane, 1, longest_wait=10_000_000), START_US + 500_000)
        assert (reply.granted, reply.wait) == (0, 200_000)
    _, reply = acquire(world, rules, Call(0, 1), START_US + 700_000)
    assert reply.granted == 1


def test_places_booked_before_redis_lost_the_schedule_are_not_given_again() -> None:
    rules, now, reply = Rules(100), float(START_US), Reply(0, 0, 0, 0, 0, 0)
    world = World()
    moments = []
    for number in range(150):
        if number == 75:
            world = World()
        call = Call(0, 1, longest_wait=10_000_000, born=reply.born, known_tat=reply.tat)
        now += 1
        world, reply = acquire(world, rules, call, now)
        moments += [now + reply.wait] * reply.granted
    assert most_in_a_second(moments) <= 100
    assert math.isclose(max(moments) - now, 1_500_000, rel_tol=0.05)
