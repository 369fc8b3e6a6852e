"""`axn forget`: a person's records found, whatever holds them, and erased as far as they have ended."""

import asyncio
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from tests.ledger.support import claimed
from tests.privacy.dump import everything_in, found_in
from tests.privacy.filled import BATCH, NUMBERS, ROW_A, A, B, Parts, X, fill, jobs
from worker import batch_producers, producers
from worker.domain.binding import BindingStatus
from worker.domain.encryption_keys import new_key, parse_key
from worker.domain.job import JobState
from worker.errors import IdempotencyConflictError
from worker.ledger.bindings import BindingChange
from worker.ledger.keys import ALL_PARTITIONS, binding_index_key, callback_key, job_keys, webhook_id_of
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.ledger.seal import NO_SEAL, Seal
from worker.redis_scripts import connect

from .conftest import Axn

KEY, INDEX = new_key(), new_key()
SEAL = Seal({"k": parse_key(KEY)}, parse_key(INDEX))


@pytest.fixture(params=[NO_SEAL, SEAL], ids=["plain", "sealed"])
def seal(request: pytest.FixtureRequest, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> Seal:
    seal: Seal = request.param
    if seal.is_on:
        monkeypatch.setenv("AXN_ENCRYPTION__KEYS", f"k:{KEY}")
        monkeypatch.setenv("AXN_ENCRYPTION__INDEX_KEY", INDEX)
    within(seal, fill)
    return seal


def within(seal: Seal, work: Callable[[Parts], Awaitable[Any]]) -> None:
    async def once() -> None:
        client = connect(os.environ["AXN_REDIS_URL"], timeout_ms=2000)
        await work(Parts(client, seal))
        await client.aclose()

    asyncio.run(once())


async def end_all(parts: Parts) -> None:
    """The binding has ended, the rebind has failed, the callback was given up."""
    bound, rebind = jobs()["bound"].job_id, jobs()["rebind"].job_id
    assert await parts.bindings.change(bound, BindingChange(by="me", status=BindingStatus.UNBOUND))
    claim = await claimed(parts.ledger, rebind, token="t2")
    assert await parts.ledger.settle(
        claim, Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, {"code": "rebind.lost"})
    )
    keys, webhook_id = job_keys(bound), webhook_id_of(bound, 1)
    client: Any = parts.redis
    await client.hset(callback_key(webhook_id), "state", "dead")
    await client.zadd(keys.dead_callbacks, {f"callback:{webhook_id}": 1})


def records(told: dict[str, Any]) -> dict[str, tuple[list[str], bool, str]]:
    return {one["id"]: (one["roles"], one["is_erased"], one["left_because"]) for one in told["records"]}


def test_what_lives_is_left_and_told_of_and_what_has_ended_is_erased(
    axn: Axn, ledger: "redis.Redis", seal: Seal
) -> None:
    ids = {name: job.job_id for name, job in jobs().items()}
    shown = json.loads(axn("forget", "--phone-no", A, "--json").out)
    assert (shown["found"], shown["erased"], shown["beyond_search"]) == (3, 0, 0)
    ended = axn("forget", "--phone-no", f"+86 {A[:3]}-{A[3:7]}-{A[7:]}", "--json", "--yes")
    assert ended.status == 1
    assert records(json.loads(ended.out)) == {
        ids["failed"]: (["A"], True, ""),
        ids["bound"]: (["A"], False, "active_binding"),
        ids["rebind"]: (["A"], False, "under_way"),
    }
    within(seal, end_all)
    ended = axn("forget", "--phone-no", A, "--json", "--yes")
    assert (ended.status, json.loads(ended.out)["erased"]) == (0, 1)  # the rebind forgot it at its end
    dump = everything_in(os.environ["AXN_REDIS_URL"])
    assert not found_in(dump, [A, X])
    assert all(SEAL.blind(number).encode() not in content for number in (A, X) for content in dump.values())
    assert not ledger.exists(callback_key(webhook_id_of(ids["bound"], 1)))
    index: list[Any] = [ledger.hvals(binding_index_key(part)) for part in ALL_PARTITIONS]
    ids_in_index = "".join(run_together for of_partition in index for run_together in of_partition)
    assert ids["bound"] not in ids_in_index
    assert ids["row"] in ids_in_index
    for name, state in (("failed", JobState.FAILED), ("bound", JobState.BOUND)):
        assert producers.read(ids[name]).state is state
        assert 0 < ledger.pttl(job_keys(ids[name]).job) <= 7 * 86_400_000
    assert json.loads(axn("forget", "--phone-no", A, "--json", "--yes").out)["found"] == 0
    lines = [(line.job_id, line.what) for line in producers.audit(10)]
    assert (ids["failed"], "job erased") in lines

    async def file_again(parts: Parts) -> None:
        with pytest.raises(IdempotencyConflictError):
            await parts.ledger.open(jobs()["bound"])

    within(seal, file_again)


def test_a_row_of_a_batch_that_is_over_keeps_its_end_only(axn: Axn, ledger: "redis.Redis", seal: Seal) -> None:
    ended = axn("forget", "--phone-no", ROW_A, "--json", "--yes")
    assert records(json.loads(ended.out))[f"{BATCH}/0/0"] == (["A"], False, "batch_under_way")
    (batch,) = list(ledger.scan_iter(f"*:batch:{BATCH}"))
    ledger.hset(batch, "state", "finished")

    async def end(parts: Parts) -> None:
        change = BindingChange(by="me", status=BindingStatus.UNBOUND)
        assert await parts.bindings.change(jobs()["row"].job_id, change)

    within(seal, end)
    ended = axn("forget", "--phone-no", ROW_A, "--json", "--yes")
    assert (ended.status, set(records(json.loads(ended.out)))) == (0, {f"{BATCH}/0/0", jobs()["row"].job_id})
    assert not found_in(everything_in(os.environ["AXN_REDIS_URL"]), [ROW_A])
    (line,) = batch_producers.batch_report(BATCH)
    assert (line.outcome, line.phone_no_x, line.subs_id) == ("bound", "", "")


def test_an_x_is_nobody_s_number(axn: Axn, seal: Seal) -> None:
    ended = axn("forget", "--phone-no", X, "--yes")
    assert ended.status == 0
    assert "have it as X" in ended.out


def test_a_number_comes_through_a_pipe_is_masked_and_asked_about(
    axn: Axn, seal: Seal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{B}\nn\n"))
    ended = axn("forget", "--phone-no", "-")
    assert ended.status == 1
    assert "erased: 0, left: 2" in ended.out
    assert f"{B[:3]}****{B[-4:]}" in ended.out
    assert not [number for number in NUMBERS if number in ended.digits]


def test_a_wrong_number_is_refused_masked(axn: Axn) -> None:
    ended = axn("forget", "--phone-no", "+1 202 555 0100")
    assert ended.status == 2
    assert "--phone-no: must be digits only" in ended.err


def test_sealed_records_are_not_passed_over_in_silence(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    within(SEAL, fill)
    ended = axn("forget", "--phone-no", A, "--json")
    assert ended.status == 1
    assert json.loads(ended.out)["beyond_search"] > 3
