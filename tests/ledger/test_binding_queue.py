"""One job at a time changes a binding, in the order in which the jobs were accepted."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from worker.ledger.binding_queue import BindingQueue
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

SUBS_ID = "1000000768798832"
JOBS = ("a", "b", "c", "d")


@pytest.fixture
def queue(redis: Redis) -> BindingQueue:
    return BindingQueue(redis, ttl_ms=60_000)


async def test_the_first_holds_the_binding_and_the_next_gets_it_when_it_leaves(queue: BindingQueue) -> None:
    assert await queue.enlist(SUBS_ID, "a", 1) == ""
    assert await queue.enlist(SUBS_ID, "b", 2) == "a"
    assert await queue.leave(SUBS_ID, "a") == "b"
    assert await queue.enlist(SUBS_ID, "b", 2) == ""
    assert await queue.leave(SUBS_ID, "b") == ""


async def test_a_holder_keeps_the_binding_when_an_older_job_comes_late(queue: BindingQueue) -> None:
    assert await queue.enlist(SUBS_ID, "young", 9) == ""
    assert await queue.enlist(SUBS_ID, "old", 1) == "young"
    assert await queue.enlist(SUBS_ID, "young", 9) == ""


async def test_who_waits_goes_in_the_order_of_acceptance(queue: BindingQueue) -> None:
    for job, accepted_at in (("holder", 1), ("late", 9), ("early", 5)):
        await queue.enlist(SUBS_ID, job, accepted_at)
    assert await queue.leave(SUBS_ID, "holder") == "early"
    assert await queue.enlist(SUBS_ID, "late", 9) == "early"
    assert await queue.enlist(SUBS_ID, "early", 5) == ""


async def test_bindings_do_not_wait_for_each_other(queue: BindingQueue) -> None:
    assert await queue.enlist(SUBS_ID, "a", 1) == ""
    assert await queue.enlist("2", "b", 2) == ""


async def test_a_line_that_nobody_moves_is_forgotten(redis: Redis) -> None:
    await BindingQueue(redis, ttl_ms=60_000).enlist(SUBS_ID, "a", 1)
    keys = await redis.keys("*")
    assert len(keys) == 2
    assert all([0 < await redis.pttl(key) <= 60_000 for key in keys])


class LineMachine(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis: Redis = connect(self.url, timeout_ms=2000)
        self.queue = BindingQueue(self.redis, ttl_ms=60_000)
        self.waiting: dict[str, int] = {}
        self.holder = ""

    def run(self, awaitable: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await awaitable

        return self.runner.run(awaited())

    def teardown(self) -> None:
        for _ in range(len(self.waiting)):
            job = self.holder or min(self.waiting, key=lambda id_: (self.waiting[id_], id_))
            assert self.run(self.queue.enlist(SUBS_ID, job, self.waiting[job])) == "", "somebody never gets it"
            self.run(self.queue.leave(SUBS_ID, job))
            self.holder = ""
            del self.waiting[job]
        self.run(self.redis.aclose())
        self.runner.close()

    @initialize()
    def empty(self) -> None:
        self.run(self.redis.flushall())

    @rule(job=st.sampled_from(JOBS), accepted_at=st.integers(1, 5))
    def enlist(self, job: str, accepted_at: int) -> None:
        accepted_at = self.waiting.setdefault(job, accepted_at)
        first = min(self.waiting, key=lambda id_: (self.waiting[id_], id_))
        expected = self.holder or first
        answer = self.run(self.queue.enlist(SUBS_ID, job, accepted_at))
        assert answer == ("" if expected == job else expected)
        if answer == "":
            self.holder = job

    @rule(job=st.sampled_from(JOBS))
    def leave(self, job: str) -> None:
        self.waiting.pop(job, None)
        if self.holder == job:
            self.holder = ""
        first = min(self.waiting, key=lambda id_: (self.waiting[id_], id_), default="")
        for _ in range(2):  # as a resent command would
            assert self.run(self.queue.leave(SUBS_ID, job)) == first

    @invariant()
    def the_holder_stands_in_line(self) -> None:
        assert not self.holder or self.holder in self.waiting


def test_any_order_of_coming_and_going_keeps_the_line(redis_server: EmbeddedRedis) -> None:
    class OnThisServer(LineMachine):
        url = redis_server.url(0)

    bounded = settings(
        max_examples=30,
        stateful_step_count=20,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(OnThisServer, settings=bounded)
