"""Rows become jobs: each once, in their window, and never when the batch may not feed."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import callback_record_of, claimed, now_ms, opened, record_of, until
from worker.batches.feeding import Feeder
from worker.batches.operations import Operation
from worker.clock import SystemClock
from worker.domain.any_request import AnyRequest
from worker.domain.batch import BatchState, batch_id_for_name, row_job_id
from worker.domain.job import JobState, Lane
from worker.domain.rebind_request import RebindRequest
from worker.errors import BatchConflictError, BatchNotFoundError
from worker.intake.acceptance import Acceptance
from worker.ledger.batch_feed import Cursor
from worker.ledger.batch_rows import batch_keys
from worker.ledger.closed_orders import ClosedOrders
from worker.ledger.keys import job_keys
from worker.ledger.records import AttemptKnowledge, NewJob, Settlement
from worker.local.redis_server import EmbeddedRedis

from .feed_bench import BOUND, DOUBT, FAILED, NO_NUMBER, Crash, FeedBench, bind_rows, row

URL = "https://shop.example/axn"


@pytest.fixture
def bench(redis: Redis) -> FeedBench:
    return FeedBench(redis)


async def test_rows_become_jobs_in_their_order_no_more_than_the_window(bench: FeedBench) -> None:
    rows = bind_rows(5)
    batch_id = await bench.started(rows, window=3)
    session = bench.session(batch_id)
    assert await session.turn()
    assert bench.told.ids == [row_job_id(batch_id, one.key, 0) for one in rows[:3]]
    assert await session.turn()
    assert len(bench.told.ids) == 3, "the window is full"
    await bench.end(bench.told.ids[1])
    assert await session.turn()
    assert bench.told.ids[3:] == [row_job_id(batch_id, rows[3].key, 0)]
    batch = await bench.read(batch_id)
    assert (batch.begun, batch.alive, batch.by_state) == (4, 3, {"bound": 1})
    record = await record_of(bench.redis, bench.told.ids[0])
    assert (record["lane"], record["kind"], record["batch"]) == ("batch", "bind", f"{batch_id}/0/0/0")
    assert json.loads(record["request"])["OutOrderId"] == "order-2"


async def test_a_batch_goes_over_its_chunks_and_finishes_with_its_last_row(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(501))
    session = bench.session(batch_id)
    assert await session.turn()
    assert await bench.end_all() == 501
    assert await session.turn() is None
    batch = await bench.read(batch_id)
    assert (batch.state, batch.begun, batch.alive, batch.ended) == (BatchState.FINISHED, 501, 0, 501)
    assert batch.created_at <= batch.began_at <= batch.finished_at
    assert await bench.look_at(batch_id) is None
    assert {outcome.phone_no_x for outcome in await bench.report(batch_id)} == {"17000001111"}


async def test_a_feeder_that_dies_before_its_cursor_moves_begins_no_row_twice(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(5))
    bench.feed.dies = True
    with pytest.raises(Crash):
        await bench.turn(batch_id)
    first = list(bench.told.ids)
    await bench.end(first[0])
    await bench.end(first[1], FAILED)
    bench.feed.dies = False
    assert await bench.session(batch_id).turn() is None, "its lease has not run out"
    assert await bench.turn(batch_id)
    assert bench.told.ids[5:] == first[2:], "what has ended is not even published again"
    batch = await bench.read(batch_id)
    assert (batch.begun, batch.alive, batch.by_state) == (5, 3, {"bound": 1, "failed": 1})


async def test_of_two_feeders_one_feeds_and_who_lost_its_lease_moves_nothing(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(4), window=2)
    slow, other = bench.session(batch_id), bench.session(batch_id)
    assert await slow.turn()
    assert await other.turn() is None
    await bench.lapse(batch_id)
    assert await other.turn()
    assert await slow.turn() is None
    held = await bench.feed.hold(batch_id, slow._token)
    assert held is None
    await bench.end_all()
    await asyncio.gather(other.turn(), slow.turn(), bench.session(batch_id).turn())
    batch = await bench.read(batch_id)
    assert (batch.begun, batch.alive) == (4, 2)


async def test_what_a_feeder_knows_from_before_moves_and_pauses_nothing(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(4))
    before = await bench.feed.hold(batch_id, "slow")
    assert before is not None
    await bench.lapse(batch_id)
    after = await bench.feed.hold(batch_id, "other")
    assert not await bench.feed.move(before, Cursor(1, 0), paced_until=0)
    assert not await bench.feed.finish(before, None)
    await bench.feed.let_go(batch_id, before.token)
    assert after is not None
    again = await bench.feed.hold(batch_id, "other")
    assert again is not None
    assert (again.cursor, again.paced_until) == (Cursor(0, 0), 0)
    await bench.batches.pause(batch_id, "ada")
    noted_at = await now_ms(bench.redis)
    await until(lambda: _later(bench))
    await bench.batches.resume(batch_id, "ada")
    assert not await bench.feed.pause(after, "old trouble", noted_at)
    assert (await bench.read(batch_id)).state is BatchState.RUNNING


async def test_a_feeder_s_lease_is_looked_at_when_it_ends(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(2))
    assert await bench.look_at(batch_id) <= await now_ms(bench.redis)  # type: ignore[operator]
    assert await bench.turn(batch_id)
    held_until = await bench.client.hget(batch_keys(batch_id).batch, "held_until")
    assert await bench.look_at(batch_id) == float(held_until)


async def test_a_killed_feeder_is_replaced(bench: FeedBench, redis_server: EmbeddedRedis) -> None:
    batch_id = await bench.started(bind_rows(450))
    environment = {**os.environ, "AXN_ENVIRONMENT": "chaos", "AXN_STEPS_CRASH": "batch.filed:3"}
    command = [sys.executable, "-m", "tests.batches.feeding_process", redis_server.url(0), batch_id]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=subprocess.PIPE)
    assert await asyncio.wait_for(process.wait(), 30) == 137, (await process.communicate())[1]
    assert (await bench.read(batch_id)).begun == 300
    feeder = Feeder(bench.feed, bench.rows, bench.told, SystemClock())  # type: ignore[arg-type]

    async def has_begun() -> bool:
        feeder.feed([f"%{batch_id}"])
        return (await bench.read(batch_id)).begun == 450

    await until(has_begun)
    await feeder.aclose()
    batch = await bench.read(batch_id)
    assert (batch.begun, batch.alive) == (450, 450)
    assert len(set(bench.told.ids)) == 250, "the third hundred, whose message was not out, and the rest"
    assert await bench.look_at(batch_id) <= await now_ms(bench.redis), "a process that stops gives its lease back"  # type: ignore[operator]


async def test_paused_it_feeds_nothing_until_it_is_resumed(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(4), window=2)
    session = bench.session(batch_id)
    assert await session.turn()
    paused = await bench.batches.pause(batch_id, "ada", "lunch")
    assert (paused.state, paused.reason) == (BatchState.PAUSED, "lunch (by ada)")
    await bench.end_all()
    assert await session.turn() is None
    assert not bench.told.ids
    assert await bench.look_at(batch_id) is None
    resumed = await bench.batches.resume(batch_id, "ada")
    assert (resumed.state, resumed.reason, resumed.ended) == (BatchState.RUNNING, "", 2)
    assert await bench.turn(batch_id)
    assert len(bench.told.ids) == 2


async def test_cancelled_what_was_begun_comes_to_its_end_and_the_rest_is_never_begun(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(3), window=2)
    session = bench.session(batch_id)
    assert await session.turn()
    assert (await bench.batches.cancel(batch_id, "ada")).state is BatchState.CANCELLED
    with pytest.raises(BatchConflictError, match="2 jobs that have not ended"):
        await bench.batches.remove(batch_id)
    await bench.end_all()
    assert await session.turn() is None
    batch = await bench.read(batch_id)
    assert (batch.begun, batch.alive, batch.by_state) == (2, 0, {"bound": 2})
    assert [outcome.state for outcome in await bench.report(batch_id)] == ["bound", "bound", ""]
    for wrong in (bench.batches.pause, bench.batches.resume):
        with pytest.raises(BatchConflictError, match="is cancelled"):
            await wrong(batch_id, "ada")


async def test_rows_that_failed_are_tried_anew_as_new_jobs_by_their_codes(bench: FeedBench) -> None:
    rows = bind_rows(4)
    batch_id = await bench.started(rows)
    await bench.turn(batch_id)
    with pytest.raises(BatchConflictError, match="when it has finished"):
        await bench.batches.retry(batch_id, None, "ada")
    other = Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, {"code": "isv.Y"})
    for job_id, settlement in zip(list(bench.told.ids), (BOUND, FAILED, other, DOUBT), strict=True):
        await bench.end(job_id, settlement)
    assert await bench.turn(batch_id) is None
    assert await bench.batches.retry(batch_id, frozenset({"isv.Z", "doubt.window_passed"}), "ada") == 0
    assert await bench.batches.retry(batch_id, frozenset({"isv.Y"}), "ada") == 1
    bench.told.ids.clear()
    assert await bench.turn(batch_id)
    assert await bench.turn(batch_id)
    assert set(bench.told.ids) == {row_job_id(batch_id, rows[2].key, 1)}
    batch = await bench.read(batch_id)
    assert (batch.alive, batch.begun, batch.by_code) == (1, 4, {"isv.X": 1, "isv.Y": 1, "doubt.window_passed": 1})
    await bench.end_all()
    assert await bench.turn(batch_id) is None
    assert await bench.batches.retry(batch_id, None, "ada") == 1, "isv.X; a row in doubt may be bound"
    await bench.turn(batch_id)
    await bench.end_all()
    assert await bench.turn(batch_id) is None
    batch = await bench.read(batch_id)
    assert (batch.state, batch.by_state, batch.by_code) == (
        BatchState.FINISHED, {"bound": 3, "in_doubt": 1}, {"doubt.window_passed": 1},
    )  # fmt: skip


async def test_counts_stay_exact_when_doubts_are_resolved(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(2))
    await bench.turn(batch_id)
    first, second = bench.told.ids
    await bench.end_all(DOUBT)
    assert await bench.turn(batch_id) is None
    await bench.end(first, BOUND, resume="any")
    await bench.end(second, NO_NUMBER, resume="any")
    assert (await bench.read(batch_id)).by_state == {"bound": 1, "in_doubt": 1}
    await bench.client.hset(job_keys(second).job, "next_at", 1)
    await bench.end(second, FAILED)
    batch = await bench.read(batch_id)
    assert (batch.alive, batch.by_state, batch.by_code) == (0, {"bound": 1, "failed": 1}, {"isv.X": 1})


@pytest.mark.parametrize("code", ["isv.NO_AVAILABLE_NUMBER", "account.stopped"])
async def test_trouble_that_every_row_would_meet_pauses_it_until_it_is_resumed(bench: FeedBench, code: str) -> None:
    batch_id = await bench.started(bind_rows(5), window=2)
    trouble = Settlement(JobState.WAITING, AttemptKnowledge.CLOSED, {"code": code}, delay_ms=60_000)
    harmless = Settlement(JobState.WAITING, AttemptKnowledge.CLOSED, {"code": "Throttling.User"}, delay_ms=60_000)
    session = bench.session(batch_id)
    await session.turn()
    first, second = bench.told.ids
    await bench.end(first, harmless)
    assert await session.turn()
    await bench.end(second, trouble)
    assert await session.turn() is None
    batch = await bench.read(batch_id)
    assert batch.state is BatchState.PAUSED
    assert batch.reason.startswith(f"{code}: ")
    assert "then resume the batch" in batch.reason
    assert (await bench.batches.resume(batch_id, "ada")).reason == ""
    assert await bench.turn(batch_id), "what was before counts no more"
    await until(lambda: _later(bench))
    await bench.client.hset(job_keys(second).job, "next_at", 1)
    await bench.end(second, trouble)
    assert await bench.turn(batch_id) is None
    assert (await bench.read(batch_id)).state is BatchState.PAUSED


async def _later(bench: FeedBench) -> bool:
    await asyncio.sleep(0.002)
    return True


async def test_out_of_its_hours_it_waits_for_the_next_opening(bench: FeedBench) -> None:
    minute = (await now_ms(bench.redis)) // 60_000 + 8 * 60
    opens, shuts = (f"{at // 60 % 24:02}:{at % 60:02}" for at in (minute + 90, minute + 120))
    batch_id = await bench.started(bind_rows(1), not_before=opens, not_after=shuts)
    assert await bench.turn(batch_id) is None
    assert not bench.told.ids
    assert await bench.look_at(batch_id) == (minute - 8 * 60 + 90) * 60_000
    assert "token" not in await bench.client.hgetall(batch_keys(batch_id).batch)
    open_now = await bench.started(bind_rows(1), "open", not_before=shuts, not_after=opens)
    assert await bench.turn(open_now)
    assert len(bench.told.ids) == 1


async def test_no_more_rows_than_its_rate(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(500), per_second=100)
    began = await now_ms(bench.redis)
    turns = 0
    while (await now_ms(bench.redis)) - began < 300:
        await bench.turn(batch_id)  # each by another feeder: the rate outlives them
        turns += 1
    elapsed = (await now_ms(bench.redis)) - began
    assert turns > 3
    assert 30 <= len(bench.told.ids) <= 40 + elapsed // 10, "what was not used of 0.4 s, and what was since"


async def test_a_row_that_cannot_be_begun_any_more_is_refused_and_counted_once(bench: FeedBench) -> None:
    near = [row(9, {"phone_no_a": "13800000009", "expiration": "2026-12-20 12:00:00"}, Operation.BIND)]
    text_rows = [*bind_rows(1), *near, row(10, {"out_order_id": "no-such", "op": "unbind"})]
    past = [type(near[0])(**{**_fields(near[0]), "wishes": {**near[0].wishes, "expiration": "2020-12-01 12:00:00"}})]
    batch_id = await bench.started([text_rows[0], past[0], text_rows[2]])
    bench.feed.dies = True
    with pytest.raises(Crash):
        await bench.turn(batch_id)
    bench.feed.dies = False
    assert await bench.turn(batch_id)
    batch = await bench.read(batch_id)
    assert (batch.begun, batch.alive) == (3, 1)
    assert batch.by_code == {"expiration.too_near": 1, "order.unclear": 1}
    _, too_near, unknown = await bench.report(batch_id)
    assert (too_near.state, too_near.job_id, too_near.tries) == ("refused", "", 0)
    assert "must be more than" in too_near.message
    assert unknown.message.startswith("out_order_id: ")


async def test_a_row_whose_job_is_there_is_not_refused_when_it_is_fed_again(bench: FeedBench) -> None:
    """Its binding has ended meanwhile, by this very job perhaps."""
    await bench.started(bind_rows(1), "binds")
    await bench.turn(batch_id_for_name("binds"))
    await bench.end_all()
    unbinds = [row(2, {"out_order_id": "order-2"}, Operation.UNBIND)]
    batch_id = await bench.started(unbinds)
    bench.feed.dies = True
    with pytest.raises(Crash):
        await bench.turn(batch_id)
    (job_id,) = bench.told.ids
    assert json.loads((await record_of(bench.redis, job_id))["request"])["SubsId"] == "1000000768798832"
    bench.feed.dies = False
    await bench.client.delete(*await bench.client.keys("*binding_index"))
    assert await bench.turn(batch_id)
    batch = await bench.read(batch_id)
    assert (batch.alive, batch.begun, batch.by_state) == (1, 1, {})


async def test_a_row_that_breaks_us_does_not_hold_up_the_others(bench: FeedBench) -> None:
    class Breaking(Acceptance):
        def job_of(self, request: AnyRequest, **found: Any) -> NewJob:
            if isinstance(request, RebindRequest):
                raise ZeroDivisionError
            return super().job_of(request, **found)

    rebind = row(2, {"bind_job_id": "0" * 26}, Operation.REBIND)
    bench.rows = bench.rows_by(kind=Breaking)
    batch_id = await bench.started([rebind, *bind_rows(1)])
    assert await bench.turn(batch_id)
    assert len(bench.told.ids) == 1
    assert (await bench.read(batch_id)).by_code == {"row.broken": 1}


def _fields(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("line", "key", "operation", "wishes")}


async def test_its_end_owes_one_callback_a_round_with_counts_only(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(3), "of 13800000000", callback_url=URL, callback_secret_name="shop")
    await bench.turn(batch_id)
    for job_id, settlement in zip(list(bench.told.ids), (BOUND, FAILED, FAILED), strict=True):
        await bench.end(job_id, settlement)
    await bench.lapse(batch_id)
    one, two = bench.session(batch_id), bench.session(batch_id)
    assert not any(await asyncio.gather(one.turn(), two.turn()))
    assert await bench.turn(batch_id) is None
    record = await callback_record_of(bench.redis, f"{batch_id}-0")
    event = json.loads(record["body"])
    assert event["type"] == "batch.finished"
    assert event["data"] == {
        "version": 1, "batch_id": batch_id, "name": "of 138****0000", "rows": 3,
        "by_state": {"bound": 1, "failed": 2}, "by_code": {"isv.X": 2},
    }  # fmt: skip
    assert (record["url"], record["secret"], record["state"]) == (URL, "shop", "waiting")
    assert await bench.client.zscore(batch_keys(batch_id).timetable, f"callback:{batch_id}-0")
    assert len(await bench.client.keys("*:callback:*")) == 1
    await bench.batches.retry(batch_id, None, "ada")
    bench.told.ids.clear()
    await bench.turn(batch_id)
    await bench.end_all()
    await bench.turn(batch_id)
    again = await callback_record_of(bench.redis, f"{batch_id}-1")
    assert json.loads(again["body"])["data"]["by_state"] == {"bound": 3}


async def test_a_batch_that_is_removed_leaves_nothing_and_one_of_its_name_does_nothing_twice(bench: FeedBench) -> None:
    rows = bind_rows(3)
    batch_id = await bench.started(rows)
    await bench.turn(batch_id)
    with pytest.raises(BatchConflictError):
        await bench.batches.remove(batch_id)
    bound, failed, doubt = bench.told.ids
    for job_id, settlement in ((bound, BOUND), (failed, FAILED), (doubt, DOUBT)):
        await bench.end(job_id, settlement)
    assert await bench.turn(batch_id) is None
    await bench.batches.remove(batch_id)
    with pytest.raises(BatchNotFoundError):
        await bench.read(batch_id)
    await bench.end(doubt, BOUND, resume="any")
    assert not await bench.client.keys(f"*batch:{batch_id}*")
    assert not await bench.batches.all()

    bench.told.ids.clear()
    changed = row(3, {"key": "own", "phone_no_a": "13800000055", "expiration": "2099-12-01 12:00:00"}, Operation.BIND)
    again = await bench.started([rows[2], rows[1], rows[0], changed])
    assert again == batch_id
    assert await bench.turn(batch_id)
    batch = await bench.read(batch_id)
    assert bench.told.ids == [row_job_id(batch_id, changed.key, 0)]
    assert (batch.begun, batch.alive, batch.by_state) == (4, 1, {"bound": 2, "failed": 1})
    assert [outcome.state for outcome in await bench.report(batch_id)] == ["bound", "failed", "bound", ""]


class LeapingClock(SystemClock):
    """A minute and more passes between two looks."""

    def __init__(self) -> None:
        self.now_ms = 0.0

    def monotonic_ms(self) -> float:
        return self.now_ms


@pytest.mark.parametrize("round_", [0, 1])
async def test_rows_whose_jobs_redis_has_lost_fail_in_the_end(bench: FeedBench, round_: int) -> None:
    batch_id = await bench.started(bind_rows(5))
    await bench.turn(batch_id)
    if round_:
        await bench.end(bench.told.ids[0])
        await bench.end_all_left(FAILED)
        await bench.turn(batch_id)
        await bench.batches.retry(batch_id, frozenset({"isv.X"}), "ada")
        bench.told.ids.clear()
        await bench.turn(batch_id)
    lost, condemned, ended, *_ = bench.told.ids
    await bench.client.delete(job_keys(lost).job, job_keys(condemned).job)
    assert await bench.ledger.claim(condemned, Lane.BATCH, token="t", lease_ms=1_000) == "condemned"
    await bench.end(ended)
    clock = LeapingClock()
    session = bench.session(batch_id, clock)
    await bench.lapse(batch_id)
    assert await session.turn()
    before = await bench.read(batch_id)
    clock.now_ms += 61_000
    assert await session.turn()
    batch = await bench.read(batch_id)
    assert (batch.by_code["poison"], batch.alive) == (2, before.alive - 2)
    await bench.end_all_left()
    assert await session.turn() is None
    assert (await bench.read(batch_id)).by_state == {"bound": 3, "failed": 2}
    assert await bench.batches.retry(batch_id, None, "ada") == 0, "they may have been done"


async def test_two_batches_share_their_workers_evenly(bench: FeedBench) -> None:
    ids = [await bench.started(bind_rows(100), name, window=6) for name in ("one", "two")]
    sessions, order = [bench.session(batch_id) for batch_id in ids], random.Random(1)
    for _ in range(30):
        for session in order.sample(sessions, 2):  # their turns are jittered
            await session.turn()
        for job_id in [bench.told.ids.pop(0) for _ in range(5)]:  # the queue is first in, first out
            await bench.end(job_id)
    one, two = [(await bench.read(batch_id)).ended for batch_id in ids]
    assert one + two == 150
    assert abs(one - two) <= 15


async def test_a_row_of_a_removed_batch_that_asks_for_something_else_now_is_refused(bench: FeedBench) -> None:
    given: Callable[[str], Any] = lambda a: [  # noqa: E731
        row(2, {"key": "own", "phone_no_a": a, "expiration": "2099-12-01 12:00:00"}, Operation.BIND)
    ]
    batch_id = await bench.started(given("13800000001"))
    await bench.turn(batch_id)
    await bench.end_all()
    await bench.turn(batch_id)
    await bench.batches.remove(batch_id)
    await bench.started(given("13800000002"))
    await bench.turn(batch_id)
    assert await bench.turn(batch_id) is None
    (outcome,) = await bench.report(batch_id)
    assert (outcome.state, outcome.code) == ("refused", "row.conflict")
    assert (await bench.read(batch_id)).begun == 1


class NextCentury(SystemClock):
    """Every Expiration has passed."""

    def unix_ms(self) -> int:
        return 4_200_000_000_000


async def test_a_row_of_a_removed_batch_that_could_not_be_begun_now_keeps_its_end(bench: FeedBench) -> None:
    rows = bind_rows(2)
    batch_id = await bench.started(rows[:1])
    await bench.turn(batch_id)
    await bench.end_all()
    assert await bench.turn(batch_id) is None
    await bench.batches.remove(batch_id)
    bench.rows = bench.rows_by(NextCentury())
    await bench.started(rows)
    bench.feed.dies = True
    with pytest.raises(Crash):
        await bench.turn(batch_id)
    bench.feed.dies = False
    await bench.turn(batch_id)
    assert await bench.turn(batch_id) is None
    assert [outcome.state for outcome in await bench.report(batch_id)] == ["bound", "refused"]
    batch = await bench.read(batch_id)
    assert (batch.state, batch.alive, batch.by_state) == (BatchState.FINISHED, 0, {"bound": 1, "refused": 1})


async def test_rows_that_are_fed_after_their_order_was_closed_are_bound_and_not_kept(bench: FeedBench) -> None:
    batch_id = await bench.started(bind_rows(2, renew_while="open"))
    await ClosedOrders(bench.redis, keep_ms=0).remember("order-2", unbind=False)
    await bench.turn(batch_id)
    of_closed, of_open = bench.told.ids
    await bench.end_all()
    records = [await record_of(bench.redis, job_id) for job_id in (of_closed, of_open)]
    assert [record.get("renew_closed") for record in records] == ["closed", None]
    assert ["renew_due" in record for record in records] == [False, True]


async def test_a_rebind_row_says_how_its_new_binding_is_kept(bench: FeedBench) -> None:
    await bench.turn(await bench.started(bind_rows(1)))
    old = bench.told.ids[0]
    await bench.end_all()
    wishes = {"renew_while": "open", "extend_by": "1d", "if_gone": "report"}
    await bench.turn(await bench.started([row(2, {"bind_job_id": old, **wishes}, Operation.REBIND)], name="rebinds"))
    record = await record_of(bench.redis, bench.told.ids[0])
    assert (record["kind"], json.loads(record["renew"])) == (
        "rebind", {"extend_by": 86_400_000, "while": "open", "if_gone": "report"},
    )  # fmt: skip


async def test_a_job_of_no_batch_passes_no_key_of_one(bench: FeedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await opened(bench.ledger)
    claim = await claimed(bench.ledger, job.job_id)
    keys: list[int] = []
    settle = bench.ledger._settle

    async def counted(given: Any, arguments: Any) -> Any:
        keys.append(len(given))
        return await settle(given, arguments)

    monkeypatch.setattr(bench.ledger, "_settle", counted)
    assert await bench.ledger.settle(claim, BOUND)
    assert keys == [10]
