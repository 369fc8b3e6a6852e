"""A binding is changed by one job at a time, the one accepted first before the others."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from tests.redis_machine import RedisMachine
from worker.domain.job_ids import partition_of
from worker.ledger.binding_queue import BindingQueue
from worker.local.redis_server import EmbeddedRedis

SUBS_ID = "1000000768798832"
TTL_MS = 60_000
LINE = f"axn1:{{p{partition_of(SUBS_ID):02d}}}:binding:{SUBS_ID}:line"
HOLDER = f"axn1:{{p{partition_of(SUBS_ID):02d}}}:binding:{SUBS_ID}:holder"


def queue_on(redis: Redis) -> BindingQueue:
    return BindingQueue(redis, ttl_ms=TTL_MS)


async def test_the_first_holds_the_binding_and_the_next_are_told_who_does(redis: Redis) -> None:
    queue = queue_on(redis)
    assert await queue.enlist(SUBS_ID, "first", 1) == ""
    assert await queue.enlist(SUBS_ID, "second", 2) == "first"
    assert await queue.enlist(SUBS_ID, "third", 3) == "first"
    assert await queue.leave(SUBS_ID, "first") == "second"
    assert await queue.enlist(SUBS_ID, "third", 3) == "second"
    assert await queue.enlist(SUBS_ID, "second", 2) == ""


async def test_an_older_job_that_comes_later_waits_for_the_holder_and_then_goes_before_the_rest(redis: Redis) -> None:
    queue = queue_on(redis)
    assert await queue.enlist(SUBS_ID, "holder", 5) == ""
    assert await queue.enlist(SUBS_ID, "younger", 9) == "holder"
    assert await queue.enlist(SUBS_ID, "older", 1) == "holder"
    assert await queue.enlist(SUBS_ID, "holder", 5) == ""
    assert await queue.leave(SUBS_ID, "holder") == "older"
    assert await queue.enlist(SUBS_ID, "younger", 9) == "older"


async def test_acceptances_order_by_their_full_milliseconds(redis: Redis) -> None:
    queue = queue_on(redis)
    assert await queue.enlist(SUBS_ID, "holder", 1) == ""
    for job_id, accepted_at in (("b", 1_796_097_600_002), ("a", 1_796_097_600_003), ("c", 1_796_097_600_001)):
        assert await queue.enlist(SUBS_ID, job_id, accepted_at) == "holder"
    assert [await queue.leave(SUBS_ID, job_id) for job_id in ("holder", "c", "b", "a")] == ["c", "b", "a", ""]


async def test_who_stands_in_no_line_can_leave_it_and_changes_nothing(redis: Redis) -> None:
    queue = queue_on(redis)
    assert await queue.leave(SUBS_ID, "nobody") == ""
    assert await queue.enlist(SUBS_ID, "holder", 5) == ""
    assert await queue.leave(SUBS_ID, "nobody") == "holder"
    assert await queue.enlist(SUBS_ID, "other", 6) == "holder"


async def test_bindings_have_lines_of_their_own(redis: Redis) -> None:
    queue = queue_on(redis)
    assert await queue.enlist(SUBS_ID, "one", 1) == ""
    assert await queue.enlist("1000000768798833", "other", 2) == ""


async def test_a_line_stands_in_its_binding_s_partition_and_is_forgotten_in_time(redis: Redis) -> None:
    queue = queue_on(redis)
    await queue.enlist(SUBS_ID, "holder", 1)
    assert sorted(await redis.keys()) == [HOLDER, LINE]
    for key in (LINE, HOLDER):
        await redis.pexpire(key, 1_000)
    await queue.enlist(SUBS_ID, "other", 2)
    for key in (LINE, HOLDER):
        assert 1_000 < await redis.pttl(key) <= TTL_MS


async def test_a_line_that_all_have_left_leaves_nothing_behind(redis: Redis) -> None:
    queue = queue_on(redis)
    for job_id in ("one", "other"):
        await queue.enlist(SUBS_ID, job_id, 1)
    for job_id in ("one", "other", "other"):
        await queue.leave(SUBS_ID, job_id)
    assert await redis.dbsize() == 0


JOBS = {"a": 3, "b": 1, "c": 2, "d": 2, "e": 1_796_097_600_000}


class BindingQueueMachine(RedisMachine):
    """Jobs come, ask, leave and are heard twice, in any order; beside it a model of what must be."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = queue_on(self.redis)
        self.waiting: set[str] = set()
        self.holder = ""

    def teardown(self) -> None:
        self.everyone_gets_the_binding_in_the_end()
        super().teardown()

    @initialize()
    def empty(self) -> None:
        self.run(self.redis.flushall())

    def first(self) -> str:
        return min(self.waiting, key=lambda job: (JOBS[job], job), default="")

    @rule(job=st.sampled_from(sorted(JOBS)), resends=st.integers(0, 2))
    def enlist(self, job: str, resends: int) -> None:
        self.waiting.add(job)
        self.holder = self.holder or (job if job == self.first() else "")
        before = "" if job == self.holder else self.holder or self.first()
        for _ in range(1 + resends):
            assert self.run(self.queue.enlist(SUBS_ID, job, JOBS[job])) == before

    @rule(job=st.sampled_from(sorted(JOBS)), resends=st.integers(0, 2))
    def leave(self, job: str, resends: int) -> None:
        self.waiting.discard(job)
        self.holder = "" if self.holder == job else self.holder
        for _ in range(1 + resends):
            assert self.run(self.queue.leave(SUBS_ID, job)) == self.first()

    @invariant()
    def one_job_at_most_holds_the_binding_and_only_who_was_told_so(self) -> None:
        assert (self.run(self.redis.get(HOLDER)) or "") == self.holder

    def everyone_gets_the_binding_in_the_end(self) -> None:
        turns = []
        while self.waiting:
            told = {job: self.run(self.queue.enlist(SUBS_ID, job, JOBS[job])) for job in sorted(self.waiting)}
            if "" not in told.values():  # the first asked after the others
                told = {job: self.run(self.queue.enlist(SUBS_ID, job, JOBS[job])) for job in sorted(self.waiting)}
            (holder,) = [job for job, before in told.items() if before == ""]
            assert {before for before in told.values() if before} <= {holder, self.first()}
            turns.append(holder)
            self.waiting.discard(holder)
            self.run(self.queue.leave(SUBS_ID, holder))
        in_order = turns[1:] if self.holder else turns
        assert in_order == sorted(in_order, key=lambda job: (JOBS[job], job))


def test_any_order_of_coming_asking_and_leaving_keeps_the_order(redis_server: EmbeddedRedis) -> None:
    class OnThisServer(BindingQueueMachine):
        url = redis_server.url(0)

    bounded = settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(OnThisServer, settings=bounded)
