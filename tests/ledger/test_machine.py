"""Any order of opening, claiming, settling, dying and ticking keeps the ledger's promises."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests.redis_machine import RedisMachine
from worker.domain.job import JobState, Lane
from worker.domain.job_ids import job_id_for_key
from worker.ledger.keys import job_keys, member_of
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, Claim, Settlement
from worker.ledger.timetable import Timetable
from worker.local.redis_server import EmbeddedRedis

from .support import BOUND, ledger_of, look_at, new_job, put, record_of, waiting

KEYS = ("a", "b")
ENDS = (
    BOUND,
    Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, {"code": "refused"}),
    Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN, {"code": "doubt"}),
    Settlement(JobState.EXPIRED, AttemptKnowledge.CLOSED, {"code": "late"}),
)
SETTLEMENTS = (*ENDS, *(waiting(0, knowledge) for knowledge in AttemptKnowledge), waiting(60_000))
UNFINISHED = {"accepted", "submitting", "waiting"}


class LedgerMachine(RedisMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger: Ledger = ledger_of(self.redis)
        self.timetable = Timetable(self.redis, next_look_ms=5_000, most_per_partition=10)
        self.tokens = 0
        self.held: dict[str, Claim] = {}
        self.lapsed: dict[str, Claim] = {}
        self.stale: list[Claim] = []
        self.attempts: dict[str, int] = {}
        self.bound: dict[str, dict[str, str]] = {}
        self.fences: dict[str, int] = {}

    @initialize()
    def empty(self) -> None:
        self.run(self.redis.flushall())

    @rule(key=st.sampled_from(KEYS))
    def open(self, key: str) -> None:
        filed = self.run(self.ledger.open(new_job(key)))
        assert bool(filed) is (job_id_for_key(key) not in self.attempts)
        self.attempts.setdefault(job_id_for_key(key), 0)

    @rule(key=st.sampled_from(KEYS))
    def claim(self, key: str) -> None:
        job_id = job_id_for_key(key)
        self.tokens += 1
        claim = self.run(self.ledger.claim(job_id, Lane.CHECKOUT, token=f"t{self.tokens}", lease_ms=60_000))
        if isinstance(claim, Claim):
            self.claimed(claim)

    def claimed(self, claim: Claim) -> None:
        job_id = claim.job_id
        assert job_id not in self.held, "two live claims of one job"
        assert claim.fence > self.fences.get(job_id, 0), "a fence that does not grow"
        self.fences[job_id] = claim.fence
        self.held[job_id] = claim
        self.stale += [self.lapsed.pop(job_id)] if job_id in self.lapsed else []
        self.attempts[job_id] = claim.attempt

    @rule(key=st.sampled_from(KEYS), attempt=st.sampled_from(("1", "2", "any")))
    def resume(self, key: str, attempt: str) -> None:
        job_id = job_id_for_key(key)
        before = self.run(record_of(self.redis, job_id))
        self.tokens += 1
        claim = self.run(
            self.ledger.claim(job_id, Lane.CHECKOUT, token=f"t{self.tokens}", lease_ms=60_000, resume=attempt)
        )
        if isinstance(claim, Claim):
            assert before["state"] == "in_doubt" or before.get("attempts") == attempt
            assert claim.attempt == int(before["attempts"]), "resuming numbers no attempt"
            self.claimed(claim)

    @rule(key=st.sampled_from(KEYS))
    def renew(self, key: str) -> None:
        job_id = job_id_for_key(key)
        if claim := self.held.get(job_id) or self.lapsed.get(job_id):
            assert self.run(self.ledger.renew([claim], lease_ms=60_000)) == [True]
            self.lapsed.pop(job_id, None)
            self.held[job_id] = claim

    @rule()
    def renew_what_is_stale(self) -> None:
        if self.stale:
            assert not any(self.run(self.ledger.renew(self.stale[-3:], lease_ms=60_000)))

    @rule(key=st.sampled_from(KEYS))
    def expire(self, key: str) -> None:
        """Its deadline passes: the next claim is late and numbers nothing."""
        job_id = job_id_for_key(key)
        if self.run(record_of(self.redis, job_id)).get("state") in UNFINISHED:
            self.run(put(self.redis, job_keys(job_id).job, deadline_at=1))

    @rule(key=st.sampled_from(KEYS), settlement=st.sampled_from(SETTLEMENTS))
    def settle(self, key: str, settlement: Settlement) -> None:
        # A lapsed claim that nobody has taken over may still be settled.
        job_id = job_id_for_key(key)
        claim = self.held.pop(job_id, None) or self.lapsed.pop(job_id, None)
        if claim is None:
            return
        assert self.run(self.ledger.settle(claim, settlement))
        if settlement.knowledge is AttemptKnowledge.UNSENT:
            self.attempts[claim.job_id] -= 1
        if settlement.state is JobState.BOUND:
            self.bound[claim.job_id] = self.run(record_of(self.redis, claim.job_id))
        self.stale.append(claim)

    @rule(key=st.sampled_from(KEYS))
    def time_passes(self, key: str) -> None:
        job_id = job_id_for_key(key)
        ends = {"submitting": "lease_until", "waiting": "next_at"}
        if field := ends.get(self.run(record_of(self.redis, job_id)).get("state", "")):
            self.run(put(self.redis, job_keys(job_id).job, **{field: 1}))
            if claim := self.held.pop(job_id, None):
                self.lapsed[job_id] = claim

    @rule()
    def tick(self) -> None:
        self.run(self.timetable.take_due())

    @invariant()
    def every_unfinished_job_stands_in_the_timetable(self) -> None:
        for job_id in self.attempts:
            state = self.run(record_of(self.redis, job_id))["state"]
            assert (self.run(look_at(self.redis, job_id)) is not None) is (state in UNFINISHED)

    @invariant()
    def a_job_in_doubt_stands_in_its_index_and_no_other_does(self) -> None:
        client: Any = self.redis
        for job_id in self.attempts:
            state = self.run(record_of(self.redis, job_id))["state"]
            keys = job_keys(job_id)
            for index, indexed in ((keys.in_doubt, "in_doubt"), (keys.failed, "failed")):
                stands = self.run(client.zscore(index, member_of(Lane.CHECKOUT, job_id))) is not None
                assert stands is (state == indexed)

    @invariant()
    def every_record_is_legal(self) -> None:
        for job_id in self.attempts:
            record = self.run(record_of(self.redis, job_id))
            assert record["state"] in {state.value for state in JobState}
            assert (record["state"] == "submitting") == ("lease_until" in record)
            assert ("finished_at" in record) == JobState(record["state"]).is_end

    @invariant()
    def attempts_decrease_only_where_nothing_was_sent(self) -> None:
        for job_id, attempts in self.attempts.items():
            assert int(self.run(record_of(self.redis, job_id)).get("attempts", 0)) == attempts

    @invariant()
    def a_claim_that_was_settled_or_taken_over_writes_nothing(self) -> None:
        for claim in self.stale[-3:]:
            record = self.run(record_of(self.redis, claim.job_id))
            self.run(self.ledger.settle(claim, waiting(0, AttemptKnowledge.UNSENT)))
            assert self.run(record_of(self.redis, claim.job_id)) == record

    @invariant()
    def a_bound_job_never_changes(self) -> None:
        for job_id, record in self.bound.items():
            assert self.run(record_of(self.redis, job_id)) == record


def test_any_order_of_moves_keeps_the_promises(redis_server: EmbeddedRedis) -> None:
    class OnThisServer(LedgerMachine):
        url = redis_server.url(0)

    bounded = settings(
        max_examples=30,
        stateful_step_count=20,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(OnThisServer, settings=bounded)
