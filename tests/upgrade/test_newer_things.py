"""What a newer release wrote is left whole: not failed, not forgotten, not held, and looked at again."""

import dataclasses
import json
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.batches.feed_bench import FeedBench, bind_rows
from tests.ledger.support import (
    BOUND,
    LEASE_MS,
    callback_record_of,
    claimed,
    ledger_of,
    look_at,
    now_ms,
    opened,
    owed,
    put,
    record_of,
    waiting,
)
from tests.renewals.bench import Bench, benches
from worker.batches.operations import Operation
from worker.doctor.finding import Level
from worker.doctor.version_checks import check_versions
from worker.domain.batch import BatchState
from worker.domain.binding import BindingStatus
from worker.domain.formats import FORMATS, JOB, RENEWAL, Format, NewerFormatError
from worker.domain.job import JobKind, JobState, Lane, OnDoubt
from worker.domain.job_ids import partition_of
from worker.domain.rebinding import RebindMode, RebindStep
from worker.domain.renewal import IfGone
from worker.ledger.batch_rows import WrittenOutcome, batch_keys
from worker.ledger.callbacks import CallbackLedger
from worker.ledger.formats import FORMATS_KEY, LedgerFormats
from worker.ledger.keys import callback_key, job_keys, webhook_id_of
from worker.ledger.newer import NewerWork
from worker.ledger.records import BrokenRecordError
from worker.ledger.renewal_keys import renewal_id, renewals_key
from worker.ledger.timetable import Timetable
from worker.messages import decode_ids, encode_ids
from worker.observation.presence import PRESENCES_KEY, Presence, Presences, read_presences

MINUTE_MS = 60_000


async def claim(redis: Redis, job_id: str, token: str = "t1") -> Any:
    return await ledger_of(redis).claim(job_id, Lane.CHECKOUT, token=token, lease_ms=LEASE_MS)


async def publish(redis: Redis, job_id: str) -> None:
    """The timetable has just published it."""
    client: Any = redis
    await client.zadd(job_keys(job_id).timetable, {f"checkout:{job_id}": 1})
    due = await Timetable(redis, next_look_ms=10_000, most_per_partition=10).take_due()
    assert due.entries == [(Lane.CHECKOUT, job_id)]


async def test_a_newer_job_is_neither_held_nor_counted_as_poison_however_often_it_is_met(redis: Redis) -> None:
    job = await opened(ledger_of(redis))
    await put(redis, job_keys(job.job_id).job, v="2", kind="lend", state="resting")
    before = await record_of(redis, job.job_id)
    for turn in range(10):
        assert await claim(redis, job.job_id, f"t{turn}") == "newer"
    assert await record_of(redis, job.job_id) == before


@pytest.mark.parametrize(
    ("age_ms", "least_ms", "most_ms"), [(0, 900, 1_100), (40_000, 4_900, 5_100), (10**7, 59_900, 60_100)]
)
async def test_a_newer_job_that_was_published_is_looked_at_again_the_later_the_older_it_is(
    redis: Redis, age_ms: int, least_ms: int, most_ms: int
) -> None:
    job = await opened(ledger_of(redis))
    await publish(redis, job.job_id)
    await put(redis, job_keys(job.job_id).job, v="2", accepted_at=await now_ms(redis) - age_ms)
    assert await claim(redis, job.job_id) == "newer"
    look = await look_at(redis, job.job_id)
    assert look is not None
    assert least_ms <= look - await now_ms(redis) <= most_ms


async def test_what_a_newer_worker_has_planned_for_its_job_stays_so(redis: Redis) -> None:
    ledger = ledger_of(redis)
    job = await opened(ledger)
    await claimed(ledger, job.job_id)
    leased_until = await look_at(redis, job.job_id)
    await put(redis, job_keys(job.job_id).job, v="2")
    assert await claim(redis, job.job_id, "another") == "newer"
    assert await look_at(redis, job.job_id) == leased_until
    await put(redis, job_keys(job.job_id).job, v="1")
    await ledger.settle(await claimed(ledger, job.job_id), BOUND)
    await put(redis, job_keys(job.job_id).job, v="2")
    assert await claim(redis, job.job_id) == "newer"
    assert await look_at(redis, job.job_id) is None, "what has left the timetable does not come back"


async def test_a_job_in_a_state_of_a_newer_release_has_not_ended_until_its_record_says_when(redis: Redis) -> None:
    ledger = ledger_of(redis)
    job = await opened(ledger)
    await put(redis, job_keys(job.job_id).job, state="resting")
    assert not await ledger.has_ended(job.job_id)
    await put(redis, job_keys(job.job_id).job, v="2")
    assert (await ledger.read(job.job_id)).state is JobState.WAITING, "whoever waits for its end goes on waiting"
    await put(redis, job_keys(job.job_id).job, finished_at=1)
    assert await ledger.has_ended(job.job_id)
    with pytest.raises(BrokenRecordError):
        await ledger.read(job.job_id)


def test_a_row_s_outcome_that_says_more_reads_as_far_as_it_is_known() -> None:
    told = WrittenOutcome("failed", 0, 1, "code", "X", "1", "old X", "message")
    text = str(told).removesuffix("]") + ',"more"]'
    assert WrittenOutcome.parse(text) == told


async def test_a_newer_callback_is_left_out_of_its_line_and_comes_again(redis: Redis) -> None:
    job = await opened(ledger_of(redis))
    held = await claimed(ledger_of(redis), job.job_id)
    webhook_id = webhook_id_of(job.job_id, held.fence)
    end = dataclasses.replace(BOUND, callback=owed(webhook_id))
    assert await ledger_of(redis).settle(held, end)
    await put(redis, callback_key(webhook_id), v="2")
    before = await callback_record_of(redis, webhook_id)
    callbacks = CallbackLedger(redis)
    for is_sent in (True, False):
        found = await callbacks.claim(webhook_id, "shop.example", token="t", lease_ms=1_000, is_sent=is_sent)
        assert found is None
    assert await callback_record_of(redis, webhook_id) == before
    assert await callbacks.line("shop.example", 10) == []
    look = await look_at(redis, job.job_id, Lane.CALLBACK, webhook_id)
    assert look is not None
    assert 0 < look - await now_ms(redis) <= 1_100


async def test_a_newer_batch_is_not_fed_and_stays_in_the_timetable(redis: Redis) -> None:
    bench = FeedBench(redis)
    batch_id = await bench.started(bind_rows(3))
    keys = batch_keys(batch_id)
    await put(redis, keys.batch, v="2", state="resting")
    client: Any = redis
    assert await bench.session(batch_id).turn() is None
    assert not bench.told.ids
    assert await client.hget(keys.batch, "held_until") is None
    assert await client.zscore(keys.timetable, keys.member) > await now_ms(redis)
    with pytest.raises(NewerFormatError):
        await bench.read(batch_id)


@pytest.mark.parametrize("fields", [{"v": "2"}, {"renew": '{"v":2,"while":"moon","if_gone":"pray"}'}], ids=str)
async def test_a_binding_with_a_newer_policy_is_looked_at_later_and_never_given_up(
    redis: Redis, fields: dict[str, str]
) -> None:
    async with benches(redis) as (bench,):
        await _leave_a_newer_binding(bench, fields)


async def _leave_a_newer_binding(bench: Bench, fields: dict[str, str]) -> None:
    client: Any = bench.redis
    await bench.checked()
    binding_id = await bench.bound()
    await bench.make_due(binding_id)
    await put(bench.redis, job_keys(binding_id).job, **fields)
    bench.sessions.begin([renewal_id(partition_of(binding_id))])
    await bench.sessions.idle()
    looked_at = await client.zscore(renewals_key(partition_of(binding_id)), binding_id)
    assert looked_at is not None
    assert 0 < looked_at - await now_ms(bench.redis) <= MINUTE_MS
    assert "renewals" not in await record_of(bench.redis, binding_id)


def test_a_newer_message_is_known_for_one_and_a_field_more_is_no_reason_to_refuse() -> None:
    message = encode_ids(Lane.CHECKOUT, [], 5)
    assert decode_ids(message | {"hint": "soon"}).published_at_ms == 5
    for version, error in ((2, NewerFormatError), (0, ValueError), ("2", ValueError)):
        with pytest.raises(error):
            decode_ids(message | {"v": version})


async def test_a_worker_that_tells_more_of_itself_is_seen_by_an_older_release(redis: Redis) -> None:
    await Presences(redis).tell(Presence("a", "2.0", ["checkout"], in_flight=0, lag_ms=0, faults=()))
    client: Any = redis
    text = await client.hget(PRESENCES_KEY, "a")
    seen_at, _, told = text.partition(" ")
    await client.hset(PRESENCES_KEY, "a", f"{seen_at} {json.dumps(json.loads(told) | {'mood': 'good'})}")
    assert [one.release for one in read_presences(await client.hgetall(PRESENCES_KEY))] == ["2.0"]


async def test_a_field_more_in_a_record_changes_nothing_and_stays(redis: Redis) -> None:
    ledger = ledger_of(redis)
    job = await opened(ledger)
    await put(redis, job_keys(job.job_id).job, origin="shelf 3")
    await ledger.settle(await claimed(ledger, job.job_id), waiting())
    assert (await record_of(redis, job.job_id))["origin"] == "shelf 3"


async def test_a_release_joins_a_ledger_that_it_can_read_and_no_other(redis: Redis) -> None:
    old, next_, after = Format("job"), Format("job", reads=2), Format("job", reads=2, writes=2)
    await LedgerFormats(redis, "1").join((old,))
    await LedgerFormats(redis, "2").join((next_,))
    await LedgerFormats(redis, "1").join((old,))
    await LedgerFormats(redis, "3").join((after, Format("ribbon", writes=7)))
    await LedgerFormats(redis, "2").join((next_,))
    with pytest.raises(NewerFormatError, match=r"job 2 \(this release reads 1\); run release 3 or newer"):
        await LedgerFormats(redis, "1").join((old,))
    client: Any = redis
    assert await client.hgetall(FORMATS_KEY) == {"job": "2", "job:by": "3", "ribbon": "7", "ribbon:by": "3"}


async def test_the_doctor_tells_what_is_too_new_and_that_two_releases_run(redis: Redis) -> None:
    presences = Presences(redis)
    await presences.tell(Presence("a", "1.0", [], in_flight=0, lag_ms=0, faults=()))
    found = {one.area: one for one in await check_versions(redis)}
    assert {one.level for one in found.values()} == {Level.GOOD}
    assert found["versions.workers"].told == "1 of release 1.0"
    await presences.tell(Presence("b", "2.0", [], in_flight=0, lag_ms=0, faults=()))
    client: Any = redis
    await client.hset(FORMATS_KEY, mapping={"job": 2, "job:by": "2.0"})
    found = {one.area: one for one in await check_versions(redis)}
    assert (found["versions.ledger"].level, found["versions.workers"].level) == (Level.ERROR, Level.WARNING)
    assert found["versions.ledger"].remedy.startswith("run release 2.0 or newer")


class _Clock:
    now_ms = 0.0

    def unix_ms(self) -> int:
        return 0

    def monotonic_ms(self) -> float:
        return self.now_ms

    async def sleep_ms(self, delay_ms: float) -> None:
        raise AssertionError("nothing waits here")


def test_the_log_tells_of_the_first_at_once_and_then_how_many_in_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = _Clock()
    newer = NewerWork(clock)
    for now in (0, 1, 2, MINUTE_MS):
        clock.now_ms = now
        newer.left(JOB, "x")
        newer.left(RENEWAL)
    told = [str(record.msg) for record in caplog.records if "what=job" in str(record.msg)]
    assert ["times=1" in told[0], "times=3" in told[1], len(told)] == [True, True, 2]


WORDS_OF_VERSION_1 = {
    JobKind: "bind update unbind rebind",
    JobState: "accepted submitting waiting bound old_left_bound updated unbound failed in_doubt expired cancelled",
    Lane: "checkout batch renewal callback",
    OnDoubt: "hold rebind",
    RebindMode: "new-x same-x",
    RebindStep: "look_up bind_new unbind_old bind_same_x restore last_resort",
    IfGone: "rebind_same_x rebind_new_x report",
    BindingStatus: "active unbound lapsed replaced",
    BatchState: "uploading running paused cancelled finished",
    Operation: "bind rebind unbind move-a move-b set-expiration set-recording set-out-id",
}


@pytest.mark.parametrize("words", WORDS_OF_VERSION_1)
def test_a_word_that_version_1_does_not_know_needs_a_new_version(words: Any) -> None:
    """Read docs/decisions/0042 before you change this table: an older worker fails jobs with words new to it."""
    assert all(one.reads == 1 for one in FORMATS), "give the new version a table of its own"
    assert {word.value for word in words} == set(WORDS_OF_VERSION_1[words].split())
