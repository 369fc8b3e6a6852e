"""Bindings bound, updated, unbound, replaced, made anew, lapsed and swept in any order: records and indexes agree."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests.redis_machine import RedisMachine
from worker.domain.binding import BindingStatus
from worker.domain.expiration import wire_expiration
from worker.domain.job import JobState
from worker.domain.job_ids import job_id_for_key
from worker.ledger.bindings import BindingChange
from worker.ledger.keys import ALL_PARTITIONS, binding_index_key, bindings_key, job_keys
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.ledger.registration import digest_of
from worker.local.redis_server import EmbeddedRedis

from .support import KEEP_MS, PHONE, bindings_of, claimed, ledger_of, new_job, now_ms, put

NAMES = "ab"
KEYS = st.sampled_from(NAMES)
WORDS = st.sampled_from(["", "x/1", "客户", "42"])
EXPIRATIONS = st.sampled_from(["2098-01-01 00:00:00", "2099-01-01 00:00:00"])
SUBS_IDS = st.sampled_from(["100", "200", "42"])


class BindingsMachine(RedisMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.bindings = ledger_of(self.redis), bindings_of(self.redis)
        self.parameters: dict[str, dict[str, str]] = {}
        self.subs_ids: dict[str, str] = {}
        self.ended: dict[str, BindingStatus] = {}
        self.lapsed: dict[str, bool] = {}
        self.made: list[tuple[str, BindingChange]] = []

    @initialize()
    def empty(self) -> None:
        self.run(self.redis.flushall())
        for key in NAMES:
            self.register(key, "100", "x/1", "42", "2099-01-01 00:00:00")

    @rule(key=KEYS, subs_id=SUBS_IDS, out_id=WORDS, order=WORDS, expiration=EXPIRATIONS)
    def bind(self, key: str, subs_id: str, out_id: str, order: str, expiration: str) -> None:
        if job_id_for_key(key) not in self.parameters:
            self.register(key, subs_id, out_id, order, expiration)

    def register(self, key: str, subs_id: str, out_id: str, order: str, expiration: str) -> None:
        job_id = job_id_for_key(key)
        named = {"OutId": out_id, "OutOrderId": order}
        parameters = {"PhoneNoA": PHONE, "Expiration": expiration} | {n: v for n, v in named.items() if v}
        assert self.run(self.ledger.open(new_job(key, parameters=parameters)))
        claim = self.run(claimed(self.ledger, job_id))
        fields = {"subs_id": subs_id, "phone_no_x": "17000001111"}
        assert self.run(self.ledger.settle(claim, Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, fields)))
        self.parameters[job_id], self.subs_ids[job_id] = parameters, subs_id

    def change(self, key: str, **more: Any) -> str | None:
        """The binding, if there is one and it was changed."""
        job_id = job_id_for_key(key)
        change = BindingChange(by=f"change{len(self.made)}", **more)
        is_changed = self.run(self.bindings.change(job_id, change))
        assert is_changed is (job_id in self.parameters)
        if not is_changed:
            return None
        self.made.append((job_id, change))
        for name, value in change.parameters.items():
            if value is None:
                self.parameters[job_id].pop(name, None)
            else:
                self.parameters[job_id][name] = value
        return job_id

    @rule(key=KEYS, out_id=WORDS)
    def set_out_id(self, key: str, out_id: str) -> None:
        self.change(key, parameters={"OutId": out_id or None})

    @rule(key=KEYS, expiration=EXPIRATIONS)
    def set_expiration(self, key: str, expiration: str) -> None:
        job_id = self.change(key, parameters={"Expiration": expiration})
        if job_id and job_id not in self.ended:
            self.lapsed.pop(job_id, None)

    @rule(key=KEYS, status=st.sampled_from([BindingStatus.UNBOUND, BindingStatus.REPLACED]))
    def end(self, key: str, status: BindingStatus) -> None:
        if job_id := self.change(key, status=status, replaced_by="r" if status is BindingStatus.REPLACED else ""):
            self.ended[job_id] = status

    @rule(key=KEYS, subs_id=SUBS_IDS, expiration=EXPIRATIONS)
    def make_anew(self, key: str, subs_id: str, expiration: str) -> None:
        active = BindingStatus.ACTIVE
        if job_id := self.change(key, status=active, parameters={"Expiration": expiration}, subs_id=subs_id):
            self.subs_ids[job_id] = subs_id
            self.ended.pop(job_id, None)
            self.lapsed.pop(job_id, None)

    @rule(back=st.integers(1, 8))
    def repeat_an_earlier_change(self, back: int) -> None:
        """A worker that slept meanwhile, within what a record remembers."""
        if len(self.made) >= back:
            job_id, change = self.made[-back]
            before = self.run(self.redis.hgetall(job_keys(job_id).job))
            if str(before.get("changed_by", "")):
                assert self.run(self.bindings.change(job_id, change)) is (job_id in self.parameters)
            assert self.run(self.redis.hgetall(job_keys(job_id).job)) == before

    @rule(key=KEYS, is_long_ago=st.booleans())
    def time_passes(self, key: str, is_long_ago: bool) -> None:
        """It ended, by itself or not, just now or so long ago that it is to be forgotten."""
        job_id = job_id_for_key(key)
        if job_id not in self.parameters:
            return
        keys, at_ms = job_keys(job_id), self.run(now_ms(self.redis)) // 1000 * 1000 - 1000
        at_ms -= KEEP_MS if is_long_ago else 0
        self.run(self.redis.zadd(keys.bindings, {job_id: at_ms}))
        if job_id in self.ended:
            self.run(put(self.redis, keys.job, ended_at=at_ms))
        else:
            self.parameters[job_id]["Expiration"] = wire_expiration(datetime.fromtimestamp(at_ms / 1000, UTC))
            self.run(put(self.redis, keys.job, request=json.dumps(self.parameters[job_id])))
        self.lapsed[job_id] = is_long_ago

    @rule(is_finished_long_ago=st.booleans())
    def sweep(self, is_finished_long_ago: bool) -> None:
        due = [job_id for job_id, is_long_ago in self.lapsed.items() if is_long_ago]
        if is_finished_long_ago:
            for job_id in due:
                self.run(put(self.redis, job_keys(job_id).job, finished_at=1))
        assert self.run(self.bindings.sweep())[0] == len(due)
        for job_id in due:
            assert bool(self.run(self.redis.exists(job_keys(job_id).job))) is not is_finished_long_ago
            self.run(self.redis.delete(job_keys(job_id).job))  # its time has come, too
            for known in (self.parameters, self.subs_ids, self.ended, self.lapsed):
                known.pop(job_id, None)

    @invariant()
    def every_binding_is_read_as_it_is(self) -> None:
        ids = list(self.parameters)
        for job_id, binding in zip(ids, self.run(self.bindings.read(ids)), strict=True):
            assert (binding.parameters, binding.subs_id) == (self.parameters[job_id], self.subs_ids[job_id])
            by_time = BindingStatus.LAPSED if job_id in self.lapsed else BindingStatus.ACTIVE
            assert binding.status is self.ended.get(job_id, by_time)

    @invariant()
    def the_indexes_hold_these_bindings_and_nothing_else(self) -> None:
        wanted: dict[str, set[str]] = defaultdict(set)
        ends: dict[str, float] = {}
        for binding in self.run(self.bindings.read(list(self.parameters))):
            for name in binding.names:
                wanted[digest_of(name)].add(binding.binding_id)
            ends[binding.binding_id] = binding.ended_at or binding.expires_at
        found: dict[str, list[str]] = defaultdict(list)
        scores: dict[str, float] = {}
        pipeline: Any = self.redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.hgetall(binding_index_key(partition))
            pipeline.zrange(bindings_key(partition), 0, -1, withscores=True)
        replies = self.run(pipeline.execute())
        for entries, ends_there in zip(replies[::2], replies[1::2], strict=True):
            for digest, ids in entries.items():
                found[digest] += [ids[at : at + 26] for at in range(0, len(ids), 26)]
            scores |= dict(ends_there)
        assert {digest: sorted(ids) for digest, ids in found.items()} == {
            digest: sorted(ids) for digest, ids in wanted.items()
        }
        assert scores == ends


def test_any_order_of_moves_leaves_records_and_indexes_agreed(redis_server: EmbeddedRedis) -> None:
    class OnThisServer(BindingsMachine):
        url = redis_server.url(0)

    bounded = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(OnThisServer, settings=bounded)
