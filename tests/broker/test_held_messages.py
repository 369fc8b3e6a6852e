"""When messages that are worked on without the pool are acknowledged, and what happens where the broker takes none."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.local.processes import wait_until
from worker.held_messages import MOST_GATHERED, HeldMessages, Work
from worker.runtime import Runtime


class FakeChannel:
    """Takes acknowledgements, after so many failures."""

    def __init__(self, failures: int = 0) -> None:
        self.connection: object | None = self
        self.failures = failures
        self.groups: list[list[str]] = []

    def acknowledge_all(self, messages: list[Any]) -> None:
        if self.failures:
            self.failures -= 1
            raise RedisConnectionError("away")
        self.groups.append([message.name for message in messages])


class FakeMessage:
    """Of another broker than Redis, unless its channel says otherwise."""

    def __init__(self, name: str, channel: Any) -> None:
        self.name, self.channel = name, channel
        self.acknowledged = False

    def ack_log_error(self, logger: object, errors: object) -> None:
        self.acknowledged = True


class FakeConsumer:
    """Celery's, run by hand; what its timer is told is done in the next go."""

    connection_errors = (OSError,)

    def __init__(self) -> None:
        self.soon: list[Callable[[], Any]] = []
        self.timer = self
        self.later: list[Callable[[], Any]] = []

    def call_soon(self, function: Callable[[], Any]) -> None:
        self.soon.append(function)

    def call_after(self, delay_s: float, function: Callable[[], Any]) -> None:
        assert delay_s > 0
        self.later.append(function)

    def forget(self) -> None:
        self.soon = []

    def go(self) -> None:
        soon, self.soon = self.soon, []
        for function in soon:
            function()


class Bench:
    """A consumer, what it holds, and a loop."""

    def __init__(self, runtime: Runtime) -> None:
        self.consumer = FakeConsumer()
        self.held = HeldMessages(self.consumer, runtime.call_soon)
        self.channel = FakeChannel()
        self.may_end = threading.Event()
        self.begun: list[str] = []

    def take(self, *names: str, channel: Any = None, work: Work | None = None) -> None:
        for name in names:
            self.held.take(FakeMessage(name, channel or self.channel), work or self._until_told(name))

    def _until_told(self, name: str) -> Work:
        async def work() -> None:
            self.begun.append(name)
            if name.startswith("long"):
                await asyncio.to_thread(self.may_end.wait, 10)

        return work

    def acknowledged(self) -> list[str]:
        self.consumer.go()
        return [name for group in self.channel.groups for name in group]


@pytest.fixture
def bench() -> Iterator[Bench]:
    runtime = Runtime("held-messages")
    bench = Bench(runtime)
    yield bench
    bench.may_end.set()
    runtime.stop()


def test_the_first_of_an_idle_process_is_handed_over_and_acknowledged_at_once(bench: Bench) -> None:
    bench.take("one")
    bench.consumer.go()
    wait_until(lambda: bench.acknowledged() == ["one"])


def test_a_message_is_acknowledged_when_its_own_work_has_ended(bench: Bench) -> None:
    bench.take("long", "short", "shorter")
    wait_until(lambda: sorted(bench.acknowledged()) == ["short", "shorter"])
    assert bench.channel.groups == [["short", "shorter"]]
    bench.may_end.set()
    wait_until(lambda: "long" in bench.acknowledged())


def test_many_that_end_go_without_waiting_for_more(bench: Bench) -> None:
    bench.take("long", *(f"{number}" for number in range(MOST_GATHERED)))
    wait_until(lambda: len(bench.acknowledged()) == MOST_GATHERED)
    assert len(bench.channel.groups) == 1


def test_work_that_breaks_off_is_acknowledged_and_said(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def breaks_off() -> None:
        raise ValueError("13900001234")

    bench.take("bad", work=breaks_off)
    wait_until(lambda: bench.acknowledged() == ["bad"])
    assert "broke off; the timetable brings it back error=ValueError" in caplog.text
    assert "13900001234" not in caplog.text


def test_an_acknowledgement_that_is_not_taken_is_tried_again(bench: Bench) -> None:
    bench.channel.failures = 2
    bench.take("one")
    for _ in range(2):
        wait_until(lambda: bench.acknowledged() == [] and bool(bench.consumer.later))
        bench.consumer.later.pop()()
    wait_until(lambda: bench.acknowledged() == ["one"])


def test_what_went_down_with_a_connection_is_done_at_the_next_one(bench: Bench) -> None:
    bench.take("taken")
    bench.consumer.forget()
    bench.held.resume()
    bench.take("next")
    bench.consumer.go()
    wait_until(lambda: len(bench.consumer.soon) > 0)
    bench.consumer.forget()
    bench.held.resume()
    wait_until(lambda: sorted(bench.acknowledged()) == ["next", "taken"])


def test_a_closed_channel_is_asked_nothing_and_another_one_as_before(bench: Bench) -> None:
    closed = FakeChannel()
    closed.connection = None
    bench.take("old", channel=closed)
    bench.take("new")
    wait_until(lambda: bench.acknowledged() == ["new"])
    assert closed.groups == []


def test_with_another_broker_than_redis_each_is_acknowledged_as_kombu_does_it(bench: Bench) -> None:
    message = FakeMessage("one", type("AmqpChannel", (), {"connection": "there"})())
    bench.held.take(message, bench._until_told("one"))

    def is_acknowledged() -> bool:
        bench.consumer.go()
        return message.acknowledged

    wait_until(is_acknowledged)


def test_the_end_waits_for_what_was_handed_over_and_leaves_the_rest_to_the_broker(bench: Bench) -> None:
    bench.take("long-1", "short")
    bench.consumer.go()
    wait_until(lambda: len(bench.begun) == 2)
    bench.take("too late")
    threading.Timer(0.05, bench.may_end.set).start()
    began_s = time.monotonic()
    bench.held.finish()
    assert time.monotonic() - began_s < 5
    assert sorted(bench.acknowledged()) == ["long-1", "short"]
    assert "too late" not in bench.begun


def test_the_end_does_not_wait_for_a_broker_that_takes_no_acknowledgement(bench: Bench) -> None:
    bench.channel.failures = 1_000
    bench.take("one")
    bench.consumer.go()
    bench.held.finish()
    assert bench.acknowledged() == []
