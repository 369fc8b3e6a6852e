"""The script and its model give the same answers, and these keep what was promised."""

import math
from collections.abc import Iterator
from dataclasses import asdict, fields
from importlib import resources
from typing import Any

import pytest
import redis as redis_sync
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.pace.model import Call, Reply, Rules, State, acquire
from worker.local.redis_server import EmbeddedRedis

SCRIPT = resources.files("worker.pace").joinpath("scripts", "acquire.lua").read_text(encoding="utf-8")
KEYS = ["axn1:{pace:acc}:BindAxn:schedule", "axn1:{pace:acc}:stop"]
INSTANTS = ("seen", "tat", "cut_at", "count_at", "assured_1", "assured_2", "pause")
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Each step has Redis's clock in it: a smaller example need not fail again."""
START_US = 1_800_000_000_000_000


def rules_of(limit: float) -> Rules:
    ceiling = limit / 1.05
    return Rules(ceiling, min(1.0, ceiling / 2), 50_000, 40_000, 30_000, 0.05)


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
)
STEPS = st.lists(
    st.tuples(ELAPSED_US, CALLS, st.sampled_from(["fine"] * 12 + ["back", "lost", "ahead", "behind"])), max_size=25
)


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


def state_in(client: Any) -> State:
    held = client.hgetall(KEYS[0])
    return State(**{name.name: float(held.get(name.name, 0)) for name in fields(State)})  # type: ignore[arg-type]


def shift(client: Any, us: float) -> None:
    """Let so much time pass, as the schedule sees it."""
    for name, value in client.hgetall(KEYS[0]).items():
        if name in INSTANTS and float(value):
            client.hset(KEYS[0], name, f"{float(value) - us:.17g}")


def told(rules: Rules, call: Call) -> list[Any]:
    return [
        call.lane, call.wanted, call.longest_wait, rules.ceiling, rules.floor, rules.checkout_depth,
        rules.depth(call.lane), rules.batch_depth, rules.assured_share, 1_000, call.ok, call.throttled, call.epoch,
        call.pause_us, f"{call.born:.0f}", f"{call.known_tat:.17g}", f"{call.back_end:.17g}", call.back_us,
    ]  # fmt: skip


@settings(max_examples=120, deadline=None, phases=UNSHRUNK)
@given(limit=LIMITS, steps=STEPS)
def test_the_script_answers_as_its_model(client: Any, limit: float, steps: list[Any]) -> None:
    client.delete(*KEYS)
    rules, script, fleet = rules_of(limit), client.register_script(SCRIPT), Fleet()
    for elapsed_us, wish, mishap in steps:
        shift(client, -elapsed_us if mishap == "back" else elapsed_us)
        if mishap == "lost":
            client.delete(KEYS[0])
        if mishap in {"ahead", "behind"}:
            client.hincrbyfloat(KEYS[0], "tat", 3_600e6 if mishap == "ahead" else -3_600e6)
            client.hsetnx(KEYS[0], "epoch", "0")
        before, call = state_in(client), fleet.call(wish)
        granted, wait, stop, interval, epoch, born, tat = script(KEYS, told(rules, call))
        after = state_in(client)
        expected, reply = acquire(before, rules, call, after.seen)
        told_in_full = f"{before}\n{call}\nat {after.seen:.0f}: {granted} after {wait}"
        assert (granted, wait, stop, int(epoch)) == (reply.granted, reply.wait, 0, reply.epoch), told_in_full
        assert asdict(after) == asdict(expected), told_in_full
        assert float(interval) == reply.interval, told_in_full
        fleet.last = Reply(granted, wait, float(interval), int(epoch), float(born), float(tat))


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
    rules, state, fleet, now = rules_of(limit), State(), Fleet(), float(START_US)
    moments: list[float] = []
    for elapsed_us, wish in steps:
        now += elapsed_us
        call = fleet.call({**wish, "gives_back": False})
        before = state
        state, fleet.last = acquire(state, rules, call, now)
        places = fleet.last
        assert places.wait >= 0
        assert 0 <= places.granted <= call.wanted
        if before.born:
            assert state.tat >= before.tat + places.granted * places.interval - 1
        moments += [now + places.wait + number * places.interval for number in range(places.granted)]
    assert most_in_a_second(moments) <= limit


@given(limit=st.sampled_from([200, 2_000, 5_000]))
def test_each_lane_finds_room_that_the_lane_below_has_left(limit: int) -> None:
    rules, now = rules_of(limit), float(START_US)
    state, _ = acquire(State(), rules, Call(), now)
    now += 1_000_000
    state, batch = acquire(state, rules, Call(2, 10_000), now)
    assert batch.granted == pytest.approx(0.03 * rules.ceiling, abs=1)
    state, more = acquire(state, rules, Call(2, 10_000), now)
    assert more.granted == 0
    assert more.wait > 0
    state, renewal = acquire(state, rules, Call(1, 10_000, longest_wait=40_000), now + 6_000)
    assert renewal.granted >= 1, "sooner than batch would"
    state, more = acquire(state, rules, Call(2, 10_000, longest_wait=40_000), now + 6_000)
    assert more.granted == 0
    _, checkout = acquire(state, rules, Call(0, 1), now + 6_000)
    assert (checkout.granted, checkout.wait) == (1, 0)


def test_lanes_below_get_their_assured_share_while_checkout_wants_all() -> None:
    rules, state, now = rules_of(200), State(), float(START_US)
    granted = [0, 0, 0]
    for step in range(20_000):
        now += 1_000
        for lane in (0, 1, 2) if step % 2 else (2, 1, 0):
            state, reply = acquire(state, rules, Call(lane, 1, longest_wait=10_000_000), now)
            granted[lane] += reply.granted
    assert granted[1] + granted[2] == pytest.approx(0.1 * sum(granted), rel=0.1)
    assert granted[1] == pytest.approx(granted[2], rel=0.1)


def test_renewal_leaves_batch_its_assured_share_only() -> None:
    rules, state, now = rules_of(200), State(), float(START_US)
    granted = [0, 0, 0]
    for _ in range(20_000):
        now += 1_000
        for lane in (1, 2):
            state, reply = acquire(state, rules, Call(lane, 50, longest_wait=10_000_000), now)
            granted[lane] += reply.granted
    assert granted[2] <= 0.07 * granted[1]
    assert sum(granted) == pytest.approx(20 * rules.ceiling, rel=0.01)


def cut_once(rules: Rules, throttled: int, accepted: int = 150) -> tuple[State, float]:
    state, reply = acquire(State(), rules, Call(), START_US)
    now = START_US + 1_000_000.0
    state, _ = acquire(state, rules, Call(2, 10, ok=accepted), now)
    for _ in range(throttled):
        now += 1_000
        state, _ = acquire(state, rules, Call(throttled=1, epoch=reply.epoch), now)
    return state, now


def test_a_hundred_throttled_answers_of_one_overload_are_one_cut() -> None:
    one, _ = cut_once(rules_of(1_000), 1)
    hundred, _ = cut_once(rules_of(1_000), 100)
    assert hundred.epoch == one.epoch
    assert hundred.cut == one.cut < rules_of(1_000).ceiling


def test_after_the_cut_the_rate_comes_back_by_itself() -> None:
    rules = rules_of(1_000)
    state, now = cut_once(rules, 1)
    rates = []
    for _ in range(400):
        now += 50_000
        state, reply = acquire(state, rules, Call(2, 1_000), now)
        rates.append(1e6 / reply.interval)
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(rules.ceiling)


def test_a_rate_that_nobody_uses_does_not_grow_past_what_is_known() -> None:
    rules = rules_of(1_000)
    state, now = cut_once(rules, 1)
    state, reply = acquire(state, rules, Call(), now + 600e6)
    assert 1e6 / reply.interval == pytest.approx(state.wmax, rel=0.01)


def test_the_providers_own_delay_holds_all_lanes() -> None:
    rules = rules_of(1_000)
    state, _ = acquire(State(), rules, Call(pause_us=700_000), START_US)
    for lane in range(3):
        state, reply = acquire(state, rules, Call(lane, 1, longest_wait=10_000_000), START_US + 500_000)
        assert (reply.granted, reply.wait) == (0, 200_000)
    _, reply = acquire(state, rules, Call(0, 1), START_US + 700_000)
    assert reply.granted == 1


def test_places_booked_before_redis_lost_the_schedule_are_not_given_again() -> None:
    rules, now, reply = rules_of(100), float(START_US), Reply(0, 0, 0, 0, 0, 0)
    state = State()
    moments = []
    for number in range(150):
        if number == 75:
            state = State()
        call = Call(0, 1, longest_wait=10_000_000, born=reply.born, known_tat=reply.tat)
        now += 1
        state, reply = acquire(state, rules, call, now)
        moments += [now + reply.wait] * reply.granted
    assert most_in_a_second(moments) <= 100
    assert math.isclose(max(moments) - now, 1_500_000, rel_tol=0.05)
