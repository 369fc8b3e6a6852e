"""Slots for provider calls: never more than the cap, none lost, checkout first, in the order of asking."""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.pace.concurrency import InFlight

LANES = st.sampled_from([Lane.CHECKOUT, Lane.RENEWAL, Lane.BATCH])
LATENCIES_MS = st.sampled_from([5, 50, 500])


class MovedClock(SystemClock):
    """Stands still until it is moved; who sleeps wakes then."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic_ms(self) -> float:
        return self.now_ms

    async def sleep_ms(self, delay_ms: float) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now_ms + delay_ms, sleeper))
        await sleeper

    def move(self, ms: float) -> None:
        self.now_ms += ms
        for until_ms, sleeper in self._sleepers:
            if until_ms <= self.now_ms and not sleeper.done():
                sleeper.set_result(None)


async def breathe() -> None:
    """Let everybody run who can."""
    for _ in range(5):
        await asyncio.sleep(0)


@dataclass
class Asked:
    lane: Lane
    task: "asyncio.Task[bool]"


def left_to_checkout(cap: int) -> int:
    """A tenth, one at least, but not the only slot."""
    return min(max(1, cap // 10), cap - 1)


class SlotsMachine(RuleBasedStateMachine):
    """Any calls of the interface, in any order, against a plain count."""

    @initialize(most=st.integers(1, 24), floor=st.integers(1, 4))
    def begin(self, most: int, floor: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = MovedClock()
        self.slots = InFlight(most, self.clock, floor=floor)
        self.most, self.floor = most, min(floor, most)
        self.held: Counter[Lane] = Counter()
        self.waiting: list[Asked] = []
        self.pumps: list[tuple[Lane, asyncio.Task[None]]] = []

    def room(self, lane: Lane) -> int:
        usable = self.slots.cap - (0 if lane is Lane.CHECKOUT else left_to_checkout(self.slots.cap))
        return usable - self.slots.in_flight

    def holders(self) -> list[Lane]:
        return [lane for lane, count in self.held.items() if count]

    def settle(self) -> None:
        """Let the loop run, and see who got in."""
        self.loop.run_until_complete(breathe())
        ended = [asked for asked in self.waiting if asked.task.done()]
        entered = [asked for asked in ended if not asked.task.cancelled() and asked.task.result()]
        order = {id(asked): place for place, asked in enumerate(self.waiting)}
        self.waiting = [asked for asked in self.waiting if not asked.task.done()]
        for asked in entered:
            self.held[asked.lane] += 1
            assert all(order[id(asked)] < order[id(late)] for late in self.waiting if late.lane is asked.lane)
            if asked.lane is not Lane.CHECKOUT:
                assert not any(other.lane is Lane.CHECKOUT for other in self.waiting)
            assert self.room(asked.lane) >= 0
        self.pumps = [(lane, task) for lane, task in self.pumps if not task.done()]

    @rule(lane=LANES, wanted=st.integers(0, 30))
    def take(self, lane: Lane, wanted: int) -> None:
        room = max(0, self.room(lane))
        taken = self.slots.take(lane, wanted)
        assert taken == min(room, wanted)
        self.held[lane] += taken

    @rule(lane=LANES, patience_ms=st.sampled_from([0, 10, 1_000]))
    def enter(self, lane: Lane, patience_ms: int) -> None:
        self.waiting.append(Asked(lane, self.loop.create_task(self.slots.enter(lane, patience_ms))))
        self.settle()

    @rule(lane=LANES)
    def wait_for_room(self, lane: Lane) -> None:
        self.pumps.append((lane, self.loop.create_task(self.slots.room(lane))))
        self.settle()

    @rule(ms=st.sampled_from([1, 20, 2_000]))
    def move(self, ms: int) -> None:
        self.clock.move(ms)
        self.settle()

    @precondition(lambda self: self.holders())
    @rule(
        data=st.data(), latency_ms=LATENCIES_MS, is_overload=st.booleans(), count=st.integers(1, 6),
        cancels=st.booleans(),
    )  # fmt: skip
    def calls_end(self, data: st.DataObject, latency_ms: int, is_overload: bool, count: int, cancels: bool) -> None:
        """Some calls end; where `cancels`, somebody goes away just when he may have got the slot."""
        lane = data.draw(st.sampled_from(self.holders()))
        for left in reversed(range(min(count, self.held[lane]))):
            self.held[lane] -= 1
            self.slots.done(lane, latency_ms, is_overload=is_overload)
            if cancels and self.waiting and not left:
                data.draw(st.sampled_from(self.waiting)).task.cancel()
            self.settle()

    @precondition(lambda self: self.holders())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(self.holders()))
        count = data.draw(st.integers(1, self.held[lane]))
        self.held[lane] -= count
        self.slots.give_back(lane, count)
        self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.waiting)).task.cancel()
        self.settle()

    @invariant()
    def no_slot_is_lost_or_freed_twice(self) -> None:
        assert self.slots.in_flight == sum(self.held.values())
        assert self.floor <= self.slots.cap <= self.most

    @invariant()
    def nobody_waits_beside_a_free_slot(self) -> None:
        for lane in {asked.lane for asked in self.waiting} | {lane for lane, _ in self.pumps}:
            assert self.room(lane) <= 0

    def teardown(self) -> None:
        for asked in self.waiting:
            asked.task.cancel()
        for _, pump in self.pumps:
            pump.cancel()
        self.settle()
        assert self.slots.in_flight == sum(self.held.values())
        self.loop.close()


TestSlots = SlotsMachine.TestCase
TestSlots.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_the_lanes_below_leave_a_tenth_alone_and_checkout_takes_it() -> None:
    slots = InFlight(40, SystemClock())
    assert (slots.take(Lane.RENEWAL, 20), slots.take(Lane.BATCH, 100), slots.take(Lane.CHECKOUT, 100)) == (20, 16, 4)


async def test_lanes_that_wait_for_room_take_turns() -> None:
    slots = InFlight(1, MovedClock())
    got: list[Lane] = []

    async def pump(lane: Lane) -> None:
        while True:
            while not slots.take(lane, 1):
                await slots.room(lane)
            got.append(lane)

    pumps = [asyncio.create_task(pump(lane)) for lane in (Lane.RENEWAL, Lane.BATCH)]
    for _ in range(6):
        await breathe()
        slots.done(got[-1], 5, is_overload=False)
    for task in pumps:
        task.cancel()
    assert Counter(got) == {Lane.RENEWAL: 3, Lane.BATCH: 3}


def test_a_slot_that_is_not_held_cannot_be_given_back(caplog: pytest.LogCaptureFixture) -> None:
    slots = InFlight(8, SystemClock())
    slots.take(Lane.BATCH, 2)
    with caplog.at_level(logging.ERROR):
        slots.give_back(Lane.CHECKOUT)
        slots.give_back(Lane.BATCH, 3)
    assert slots.in_flight == 0
    assert [record.getMessage() for record in caplog.records] == [
        "concurrency: more slots given back than held lane=checkout given_back=1 held=0",
        "concurrency: more slots given back than held lane=batch given_back=3 held=2",
    ]


@pytest.mark.parametrize(("most", "floor"), [(0, 4), (10, 0)])
def test_a_bound_that_lets_nothing_through_is_refused(most: int, floor: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        InFlight(most, SystemClock(), floor=floor)
