"""However processes ask, try, fail and die: never more tries than places, never two probes, never stuck."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from tests.ledger.support import put
from tests.redis_machine import RedisMachine
from worker.ledger.keys import receiver_key, receiver_places_key
from worker.ledger.receivers import ReceiverLedger, ReceiverRules, ReceiverState, Told
from worker.local.redis_server import EmbeddedRedis

HOST = "shop.example"
MOST = 4
RULES = ReceiverRules(MOST, lease_ms=600_000, failures=3, first_open_ms=600_000, longest_open_ms=600_000)
OPEN = (ReceiverState.PASSING, ReceiverState.FULL, ReceiverState.PROBE)
PROCESSES = st.integers(0, 2)


@dataclass
class Process:
    name: str
    ledger: ReceiverLedger
    state: ReceiverState = ReceiverState.PASSING
    places: int = 0
    in_use: int = 0


class PlacesMachine(RedisMachine):
    def __init__(self) -> None:
        super().__init__()
        self.named = 0
        self.processes: list[Process] = []

    @initialize()
    def start(self) -> None:
        self.run(self.redis.flushall())
        self.processes = [self.new_process() for _ in range(3)]

    def teardown(self) -> None:
        try:
            if self.processes:
                self.recover()
        finally:
            super().teardown()

    def new_process(self) -> Process:
        self.named += 1
        redis: Redis = self.redis
        return Process(f"p{self.named}", ReceiverLedger(redis, RULES, process=f"p{self.named}"))

    def visit(self, process: Process, told: Told, more: int) -> None:
        wanted = process.in_use + more
        visit = self.run(process.ledger.visit(HOST, told, wanted=wanted, in_use=process.in_use, share=0.5))
        process.state, process.places = visit.state, visit.places
        assert (visit.state in OPEN[:1] + OPEN[2:]) or visit.come_back_ms > 0

    @rule(which=PROCESSES, more=st.integers(0, 5))
    def asks(self, which: int, more: int) -> None:
        self.visit(self.processes[which], Told(), more)

    @rule(which=PROCESSES, count=st.integers(1, 3))
    def begins(self, which: int, count: int) -> None:
        process = self.processes[which]
        for _ in range(count):
            if process.state in OPEN and process.in_use < process.places:
                process.in_use += 1

    @rule(which=PROCESSES, is_answered=st.booleans(), more=st.integers(0, 2))
    def a_try_ends(self, which: int, is_answered: bool, more: int) -> None:
        process = self.processes[which]
        if process.in_use:
            process.in_use -= 1
            told = Told(answered=1) if is_answered else Told(failed=1, streak=1)
            self.visit(process, told, more)

    @rule(which=PROCESSES)
    def dies(self, which: int) -> None:
        """And its lease runs out."""
        dead = self.processes[which]
        self.processes[which] = self.new_process()
        value = self.run(self.redis.hget(receiver_places_key(HOST), dead.name))
        if value:
            places, _, number = value.split(":")
            self.run(self.redis.hset(receiver_places_key(HOST), dead.name, f"{places}:1:{number}"))
        if self.run(self.redis.hget(receiver_key(HOST), "probe")) == dead.name:
            self.run(put(self.redis, receiver_key(HOST), probe_until=1))

    @rule()
    def the_circuit_has_been_open_long_enough(self) -> None:
        if self.run(self.redis.hget(receiver_key(HOST), "open_until")):
            self.run(put(self.redis, receiver_key(HOST), open_until=1))

    @invariant()
    def never_more_tries_than_places(self) -> None:
        assert sum(process.in_use for process in self.processes) <= MOST

    @invariant()
    def never_two_probes(self) -> None:
        probing = [one for one in self.processes if one.state is ReceiverState.PROBE and one.in_use]
        assert sum(one.in_use for one in probing) <= 1

    def recover(self) -> None:
        """It answers again, all tries end: somebody gets to it at once, and in the end to all its places."""
        for process in self.processes:
            while process.in_use:
                process.in_use -= 1
                self.visit(process, Told(answered=1), 0)
            self.visit(process, Told(), 0)
        if self.run(self.redis.hget(receiver_key(HOST), "tripped")):
            self.run(put(self.redis, receiver_key(HOST), open_until=1))
            self.visit(self.processes[0], Told(), 1)
            assert self.processes[0].state is ReceiverState.PROBE
            self.visit(self.processes[0], Told(answered=1), 0)
        self.run(self.redis.hdel(receiver_key(HOST), "recovered_at"))
        self.visit(self.processes[0], Told(), MOST)
        assert (self.processes[0].state, self.processes[0].places) == (ReceiverState.PASSING, MOST)


@pytest.mark.timeout(60)
def test_any_sequence_of_visits_tries_and_deaths_keeps_the_receiver_s_bounds(redis_server: EmbeddedRedis) -> None:
    PlacesMachine.url = redis_server.url(0)
    run_state_machine_as_test(
        PlacesMachine,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
