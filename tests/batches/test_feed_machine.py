"""Any order of feeding, dying, ending, pausing and retrying: one job per row and round, and counts that add up."""

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests.redis_machine import RedisMachine
from worker.batches.feeding import Session
from worker.domain.batch import BatchState, batch_id_for_name, row_job_id
from worker.local.redis_server import EmbeddedRedis

from .feed_bench import BOUND, DOUBT, FAILED, Crash, FeedBench, bind_rows, row

UNKNOWN = [row(99, {"out_order_id": "no-such", "op": "unbind"})]
ROWS = [*bind_rows(4), *UNKNOWN]
KEYS = [one.key for one in ROWS]
ID = batch_id_for_name("b")
ENDS = {"bound": BOUND, "failed": FAILED, "in_doubt": DOUBT}
WINDOW = 3
RETRIABLE = {"failed", "refused"}


class FeedMachine(RedisMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = FeedBench(self.redis)
        self.sessions: list[Session | None] = [None, None]
        self.ends: dict[str, str] = {}  # job -> state that it was told
        self.round = 0
        self.tried: set[tuple[int, int]] = set()  # (row, round) that may have a job

    @initialize()
    def start(self) -> None:
        self.run(self.redis.flushall())
        self.run(self.bench.started(ROWS, window=WINDOW))
        self.tried = {(index, 0) for index in range(len(ROWS) - 1)}

    @rule(which=st.sampled_from((0, 1)), dies=st.booleans())
    def feed(self, which: int, dies: bool) -> None:
        session = self.sessions[which] or self.bench.session(ID)
        self.bench.feed.dies = dies
        try:
            goes_on = self.run(session.turn()) is not None
        except Crash:
            goes_on = False
        self.sessions[which] = session if goes_on else None

    @rule()
    def lease_runs_out(self) -> None:
        self.run(self.bench.lapse(ID))

    @rule(ends=st.lists(st.sampled_from(tuple(ENDS)), min_size=1, max_size=3))
    def end(self, ends: list[str]) -> None:
        """Of as many jobs that run, or are in doubt: a person resolves them."""
        open_ids = [id_ for id_ in dict.fromkeys(self.bench.told.ids) if self.ends.get(id_) not in ("bound", "failed")]
        for job_id, end in zip(open_ids, ends, strict=False):
            is_doubt = self.ends.get(job_id) == "in_doubt"
            self.run(self.bench.end(job_id, ENDS[end], resume="any" if is_doubt else ""))
            self.ends[job_id] = end

    @rule()
    def pause_or_resume(self) -> None:
        state = self.state()
        if state is BatchState.RUNNING:
            self.run(self.bench.batches.pause(ID, "ada"))
        elif state is BatchState.PAUSED:
            self.run(self.bench.batches.resume(ID, "ada"))

    @rule()
    def retry(self) -> None:
        if self.state() is not BatchState.FINISHED:
            return
        states = [outcome.state for outcome in self.run(self.bench.report(ID))]
        wanted = [index for index, state in enumerate(states) if state in RETRIABLE]
        assert self.run(self.bench.batches.retry(ID, None, "ada")) == len(wanted)
        if wanted:
            self.round += 1
            self.tried |= {(index, self.round) for index in wanted if index < len(ROWS) - 1}

    def state(self) -> BatchState:
        state: BatchState = self.run(self.bench.read(ID)).state
        return state

    @invariant()
    def everything_adds_up(self) -> None:
        self.run(self.check())

    async def check(self) -> None:
        batch, outcomes = await self.bench.read(ID), await self.bench.report(ID)
        assert batch.by_state == Counter(outcome.state for outcome in outcomes if outcome.state)
        assert batch.by_code == Counter(outcome.code for outcome in outcomes if outcome.code)
        told = {outcome.job_id: outcome.state for outcome in outcomes if outcome.job_id}
        assert all(self.ends[job_id] == state for job_id, state in told.items())
        if batch.state is BatchState.FINISHED:
            assert batch.ended == batch.begun == len(ROWS)
        found = {key.rpartition(":")[2] for key in await self.bench.client.keys("*:job:*")}
        assert found <= {row_job_id(ID, KEYS[index], round_) for index, round_ in self.tried}
        assert set(self.bench.told.ids) <= found
        assert batch.alive == len(found - set(self.ends)) <= WINDOW


def test_any_order_of_moves_begins_each_row_once(redis_server: EmbeddedRedis) -> None:
    class OnThisServer(FeedMachine):
        url = redis_server.url(0)

    bounded = settings(
        max_examples=12,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(OnThisServer, settings=bounded)
