"""A process is alive while a restart would not help, and ready while it can take work."""

import asyncio

import pytest

from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.observation.health import Pulse
from worker.observation.meters import Meters


class HeldClock(SystemClock):
    """Stands still until it is moved; a sleep moves it, and by more where the loop is late."""

    now_ms = 1_000_000.0
    late_ms = 0.0

    def monotonic_ms(self) -> float:
        return self.now_ms

    async def sleep_ms(self, delay_ms: float) -> None:
        self.now_ms += delay_ms + self.late_ms
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def pulse(clock: HeldClock) -> Pulse:
    """Of a process that has just begun to consume the checkout lane."""
    pulse = Pulse(clock, Meters(), in_flight=lambda: 0)
    pulse.consumer_turned([Lane.CHECKOUT.queue])
    pulse.wrote()
    return pulse


def test_a_process_that_consumes_is_alive_and_ready(pulse: Pulse) -> None:
    assert (pulse.live().is_good, pulse.ready().is_good) == (True, True)


def test_before_it_consumes_it_is_alive_and_not_ready(clock: HeldClock) -> None:
    pulse = Pulse(clock, Meters(), in_flight=lambda: 0)
    pulse.wrote()
    assert (pulse.live().is_good, pulse.ready().faults) == (True, ("it does not consume yet",))


def test_a_consumer_that_stands_still_is_dead_although_the_loop_answers(pulse: Pulse, clock: HeldClock) -> None:
    clock.now_ms += 31_000
    pulse.wrote()
    assert "consumer" in pulse.live().faults[0]
    assert not pulse.ready().is_good


@pytest.mark.parametrize(
    ("backlogs", "in_flight", "is_live"),
    [
        ({Lane.CHECKOUT: 1}, 0, False),
        ({Lane.CHECKOUT: 1}, 5, True),
        ({Lane.CHECKOUT: 0, Lane.BATCH: 7}, 0, True),
        ({}, 0, True),
    ],
    ids=["idle beside its messages", "busy", "the messages of others", "none are told"],
)
def test_a_process_that_takes_nothing_although_messages_wait_for_it_is_dead(
    clock: HeldClock, backlogs: dict[Lane, int], in_flight: int, is_live: bool
) -> None:
    pulse = Pulse(clock, Meters(), in_flight=lambda: in_flight)
    for _ in range(7):
        pulse.consumer_turned([Lane.CHECKOUT.queue])
        pulse.looked_at_queues(backlogs)
        clock.now_ms += 11_000
    pulse.consumer_turned([Lane.CHECKOUT.queue])
    assert pulse.live().is_good is is_live


def test_taking_a_message_ends_the_suspicion(pulse: Pulse, clock: HeldClock) -> None:
    pulse.looked_at_queues({Lane.CHECKOUT: 1})
    clock.now_ms += 50_000
    pulse.took()
    pulse.looked_at_queues({Lane.CHECKOUT: 1})
    clock.now_ms += 20_000
    pulse.consumer_turned([Lane.CHECKOUT.queue])
    assert pulse.live().is_good


def test_a_redis_that_takes_no_writes_makes_it_unready_and_no_more(pulse: Pulse, clock: HeldClock) -> None:
    clock.now_ms += 31_000
    pulse.consumer_turned([Lane.CHECKOUT.queue])
    assert (pulse.live().is_good, pulse.ready().faults) == (True, ("Redis has taken no write lately",))


def test_a_process_that_is_stopping_is_not_ready_and_not_to_be_killed(pulse: Pulse, clock: HeldClock) -> None:
    clock.now_ms += 31_000
    pulse.is_stopping = True
    assert pulse.live().is_good
    assert "it is stopping" in pulse.ready().faults


async def test_a_late_loop_makes_it_unready_until_it_is_on_time_for_ten_seconds(pulse: Pulse, clock: HeldClock) -> None:
    clock.late_ms = 1_500
    watch = asyncio.create_task(pulse.watch_loop())
    for _ in range(4):
        await asyncio.sleep(0)
    clock.late_ms = 0
    assert pulse.lag_ms == 1_500
    assert any("late" in fault for fault in pulse.ready().faults)
    assert pulse.meters.registry.get_sample_value("axn_loop_lag_seconds") == 1.5
    for _ in range(30):
        await asyncio.sleep(0)
    assert pulse.lag_ms == 0
    watch.cancel()
