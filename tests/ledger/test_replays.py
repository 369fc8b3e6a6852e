"""A dead callback comes back whole, once, and not all of them at once."""

from typing import Any

import pytest
from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.domain.job_ids import job_id_for_key
from worker.ledger.audit import Audit
from worker.ledger.callbacks import CallbackLedger
from worker.ledger.keys import callback_key, job_keys, member_of, replays_key
from worker.ledger.replays import Replay, ReplayOutcome, Replays

from .callbacks_on_record import (
    DAY_MS,
    HOST,
    TRIES,
    body_of,
    commands_of_dead,
    commands_of_job,
    commands_of_waiting,
    webhook_id,
)
from .support import LEASE_MS, callback_record_of, look_at, now_ms, put, record_of
from .test_callback_listing import run
from .test_callbacks import dead_index, owing, taken

ID, JOB = webhook_id("1"), job_id_for_key("1")


async def replayed(redis: Redis, *ids: str, per_second: float = 1_000, has_audit_lines: bool = True) -> list[Replay]:
    replays = Replays(redis)
    return await replays.replay(ids, HOST, per_second=per_second, by="ann", has_audit_lines=has_audit_lines)


async def test_a_replayed_callback_is_claimed_as_its_first_try_with_the_same_id_body_and_log(redis: Redis) -> None:
    await run(redis, commands_of_dead(["1"], at_ms=1, deadline_at=5, give_up_at=5) + commands_of_job("1", "dead"))
    before = await now_ms(redis)
    (replay,) = await replayed(redis, ID)
    assert (replay.outcome, replay.host) == (ReplayOutcome.REPLAYED, HOST)
    assert before <= replay.first_try_at <= await now_ms(redis)
    assert await look_at(redis, JOB, Lane.CALLBACK, ID) == replay.first_try_at
    assert await dead_index(redis, JOB) == []
    assert (await record_of(redis, JOB))["callback_state"] == "waiting"
    client: Any = redis
    assert await client.pttl(callback_key(ID)) == -1
    left = await callback_record_of(redis, ID)
    assert {"deadline_at", "give_up_at"}.isdisjoint(left)
    claim = await taken(CallbackLedger(redis), ID)
    assert (claim.webhook_id, claim.tries, claim.body) == (ID, 1, body_of(ID))
    assert (left["replays"], left["replayed_by"], left["last_error"]) == ("1", "ann", "http.500")
    assert left["log"].count("at_ms") == len(TRIES)
    (line,) = await Audit(redis).newest(10)
    assert (line.by, line.what, line.was, line.now) == ("ann", "callback replayed", "dead", "waiting")
    assert (line.job_id, line.subject) == (JOB, ID)


@pytest.mark.parametrize(
    ("commands", "outcome"),
    [
        ([], ReplayOutcome.MISSING),
        (commands_of_job("1", "delivered"), ReplayOutcome.MISSING),
        (commands_of_waiting(["1"], look_ms=7), ReplayOutcome.WAITING),
        (commands_of_waiting(["1"], look_ms=7, token="t", lease_until=9), ReplayOutcome.WAITING),
    ],
)
async def test_what_is_not_dead_is_left_as_it_is(
    redis: Redis, commands: list[tuple[Any, ...]], outcome: ReplayOutcome
) -> None:
    await run(redis, commands)
    stale = job_keys(JOB).dead_callbacks
    await redis.zadd(stale, {member_of(Lane.CALLBACK, ID): 1})
    before = (await callback_record_of(redis, ID), await record_of(redis, JOB), await look_at(redis, JOB, id_=ID))
    assert await replayed(redis, ID) == [Replay(ID, HOST, outcome)]
    after = (await callback_record_of(redis, ID), await record_of(redis, JOB), await look_at(redis, JOB, id_=ID))
    assert after == before
    assert await Audit(redis).newest(10) == []
    assert await dead_index(redis, JOB) == []


@pytest.mark.parametrize("meanwhile", ["nothing", "claimed", "dead again"])
async def test_a_resent_replay_changes_nothing_and_answers_the_same(redis: Redis, meanwhile: str) -> None:
    await run(redis, commands_of_dead(["1"], at_ms=1) + commands_of_job("1", "dead"))
    keys = job_keys(JOB)
    arguments: tuple[list[str], list[Any]] = (
        [callback_key(ID), keys.timetable, keys.job, keys.dead_callbacks, keys.audit],
        [member_of(Lane.CALLBACK, ID), "token", await now_ms(redis), "ann", 10, "job_id", JOB],
    )
    replay = Replays(redis)._replay
    assert await replay(*arguments) == "replayed"
    callbacks = CallbackLedger(redis)
    if meanwhile != "nothing":
        claim = await taken(callbacks, ID)
        assert meanwhile == "claimed" or await callbacks.dead(claim, error="HTTP 410")
    before = (await callback_record_of(redis, ID), await look_at(redis, JOB, Lane.CALLBACK, ID))
    assert await replay(*arguments) == "replayed"
    assert (await callback_record_of(redis, ID), await look_at(redis, JOB, Lane.CALLBACK, ID)) == before
    client: Any = redis
    assert await client.xlen(keys.audit) == 1


async def test_a_job_whose_record_has_expired_is_not_brought_back(redis: Redis) -> None:
    await run(redis, commands_of_dead(["1"], at_ms=1))
    assert [one.outcome for one in await replayed(redis, ID)] == [ReplayOutcome.REPLAYED]
    assert await record_of(redis, JOB) == {}


async def test_replays_are_spread_also_over_calls_and_only_for_their_receiver(redis: Redis) -> None:
    keys = [str(number) for number in range(30)]
    await run(redis, commands_of_dead(keys, at_ms=1))
    ids = [webhook_id(key) for key in keys]
    before = await now_ms(redis)
    moments = [one.first_try_at for one in await replayed(redis, *ids[:10], per_second=4)]
    moments += [one.first_try_at for one in await replayed(redis, *ids[10:20], per_second=4)]
    after = await now_ms(redis)
    assert before <= moments[0] <= after
    assert [moment - moments[0] for moment in moments] == [250 * number for number in range(20)]
    assert [await look_at(redis, id_[:26], Lane.CALLBACK, id_) for id_ in ids[:20]] == moments
    other = await Replays(redis).replay(ids[20:], "other.example", per_second=1_000, by="ann", has_audit_lines=False)
    assert other[0].first_try_at <= await now_ms(redis)
    client: Any = redis
    assert moments[-1] + 250 >= before + await client.pttl(replays_key(HOST)) > before + 4_000


async def test_a_replay_too_early_is_not_sent(redis: Redis) -> None:
    await run(redis, commands_of_dead(["0", "1"], at_ms=1))
    late = (await replayed(redis, webhook_id("0"), ID, per_second=0.001))[1]
    assert late.first_try_at > await now_ms(redis) + 900_000
    assert await CallbackLedger(redis).claim(ID, HOST, token="c", lease_ms=LEASE_MS) is None


async def test_without_audit_lines_the_record_alone_tells(redis: Redis) -> None:
    await run(redis, commands_of_dead(["1"], at_ms=1))
    await replayed(redis, ID, has_audit_lines=False)
    assert await Audit(redis).newest(10) == []
    assert (await callback_record_of(redis, ID))["replayed_by"] == "ann"


async def test_a_dead_callback_stays_on_record_for_its_time_and_older_ones_leave_the_index(redis: Redis) -> None:
    callbacks = CallbackLedger(redis, dead_ttl_ms=DAY_MS)
    job_id, id_ = await owing(redis)
    index = job_keys(job_id).dead_callbacks
    now = await now_ms(redis)
    await redis.zadd(index, {"callback:old": now - DAY_MS - 60_000, "callback:young": now - DAY_MS + 60_000})
    assert await callbacks.dead(await taken(callbacks, id_), error="HTTP 410")
    client: Any = redis
    assert DAY_MS - 60_000 < await client.pttl(callback_key(id_)) <= DAY_MS
    assert await dead_index(redis, job_id) == ["callback:young", member_of(Lane.CALLBACK, id_)]
    await replayed(redis, id_)
    await put(redis, callback_key(id_), next_at=1)
    assert await callbacks.again(await taken(callbacks, id_, "c2"), delay_ms=1, error="HTTP 500")
    assert await client.pttl(callback_key(id_)) == -1
