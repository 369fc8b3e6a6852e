from typing import Any

import pytest
from redis.asyncio import Redis

from worker.domain.job import JobState, Lane
from worker.ledger.callback_records import CallbackClaim
from worker.ledger.callbacks import CallbackLedger
from worker.ledger.keys import callback_key, job_keys, member_of, webhook_id_of
from worker.ledger.records import AttemptKnowledge, Settlement

from .support import LEASE_MS, callback_record_of, claimed, ledger_of, look_at, now_ms, opened, owed, put, record_of

HOST = "shop.example"


@pytest.fixture
def callbacks(redis: Redis) -> CallbackLedger:
    return CallbackLedger(redis)


async def owing(redis: Redis, key: str = "1") -> tuple[str, str]:
    """A bound job that owes a callback which nobody has begun: its id and the webhook-id."""
    ledger = ledger_of(redis)
    job = await opened(ledger, key)
    claim = await claimed(ledger, job.job_id)
    webhook_id = webhook_id_of(job.job_id, claim.fence)
    end = Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, {}, callback=owed(webhook_id))
    assert await ledger.settle(claim, end)
    return job.job_id, webhook_id


async def taken(callbacks: CallbackLedger, webhook_id: str, token: str = "c1") -> CallbackClaim:
    claim = await callbacks.claim(webhook_id, HOST, token=token, lease_ms=LEASE_MS)
    assert claim is not None
    return claim


async def dead_index(redis: Redis, job_id: str) -> list[str]:
    client: Any = redis
    members: list[str] = await client.zrange(job_keys(job_id).dead_callbacks, 0, -1)
    return members


async def test_a_claim_holds_what_is_to_be_sent_and_keeps_others_away(redis: Redis, callbacks: CallbackLedger) -> None:
    job_id, webhook_id = await owing(redis)
    before = await now_ms(redis)
    claim = await taken(callbacks, webhook_id)
    assert (claim.job_id, claim.url, claim.body) == (job_id, "https://shop.example", '{"type":"bind.succeeded"}')
    assert claim.tries == 1
    assert await callbacks.claim(webhook_id, HOST, token="c2", lease_ms=LEASE_MS) is None
    look = await look_at(redis, job_id, Lane.CALLBACK, webhook_id)
    assert look is not None
    assert look >= before + LEASE_MS


async def test_a_resent_claim_is_the_same_try(redis: Redis, callbacks: CallbackLedger) -> None:
    _, webhook_id = await owing(redis)
    assert await taken(callbacks, webhook_id) == await taken(callbacks, webhook_id)


async def test_a_lapsed_lease_is_taken_over_as_the_next_try(redis: Redis, callbacks: CallbackLedger) -> None:
    _, webhook_id = await owing(redis)
    await taken(callbacks, webhook_id)
    await put(redis, callback_key(webhook_id), lease_until=1)
    assert (await taken(callbacks, webhook_id, "c2")).tries == 2


async def test_a_delivered_callback_is_forgotten_and_noted_in_its_job(redis: Redis, callbacks: CallbackLedger) -> None:
    job_id, webhook_id = await owing(redis)
    claim = await taken(callbacks, webhook_id)
    assert await callbacks.delivered(claim)
    assert await callback_record_of(redis, webhook_id) == {}
    assert await look_at(redis, job_id, Lane.CALLBACK, webhook_id) is None
    job = await ledger_of(redis).read(job_id)
    assert (job.callback_state, job.callback_attempts) == ("delivered", 1)
    assert await callbacks.delivered(claim) is False
    assert await callbacks.claim(webhook_id, HOST, token="c2", lease_ms=LEASE_MS) is None


async def test_a_failed_try_waits_in_the_timetable_and_is_early_until_then(
    redis: Redis, callbacks: CallbackLedger
) -> None:
    job_id, webhook_id = await owing(redis)
    before = await now_ms(redis)
    assert await callbacks.again(await taken(callbacks, webhook_id), delay_ms=9_000, error="HTTP 500")
    after, look = await now_ms(redis), await look_at(redis, job_id, Lane.CALLBACK, webhook_id)
    assert look is not None
    assert before + 9_000 <= look <= after + 9_000
    assert (await callback_record_of(redis, webhook_id))["last_error"] == "HTTP 500"
    assert await callbacks.claim(webhook_id, HOST, token="c2", lease_ms=LEASE_MS) is None
    await put(redis, callback_key(webhook_id), next_at=1)
    assert (await taken(callbacks, webhook_id, "c2")).tries == 2
    job = await ledger_of(redis).read(job_id)
    assert (job.callback_state, job.callback_attempts) == ("waiting", 1)


async def test_a_callback_given_up_stays_on_record_and_is_never_sent_again(
    redis: Redis, callbacks: CallbackLedger
) -> None:
    job_id, webhook_id = await owing(redis)
    assert await callbacks.dead(await taken(callbacks, webhook_id), error="HTTP 410")
    record = await callback_record_of(redis, webhook_id)
    assert (record["state"], record["last_error"]) == ("dead", "HTTP 410")
    assert await dead_index(redis, job_id) == [member_of(Lane.CALLBACK, webhook_id)]
    assert await look_at(redis, job_id, Lane.CALLBACK, webhook_id) is None
    assert await callbacks.claim(webhook_id, HOST, token="c2", lease_ms=LEASE_MS) is None
    assert (await ledger_of(redis).read(job_id)).callback_state == "dead"


async def test_a_stale_token_settles_nothing(redis: Redis, callbacks: CallbackLedger) -> None:
    _, webhook_id = await owing(redis)
    stale = await taken(callbacks, webhook_id)
    await put(redis, callback_key(webhook_id), lease_until=1)
    await taken(callbacks, webhook_id, "c2")
    record = await callback_record_of(redis, webhook_id)
    assert not await callbacks.delivered(stale)
    assert not await callbacks.again(stale, delay_ms=1, error="")
    assert not await callbacks.dead(stale, error="")
    assert await callback_record_of(redis, webhook_id) == record


async def test_a_job_whose_record_has_expired_is_not_brought_back(redis: Redis, callbacks: CallbackLedger) -> None:
    job_id, webhook_id = await owing(redis)
    claim = await taken(callbacks, webhook_id)
    await redis.delete(job_keys(job_id).job)
    assert await callbacks.delivered(claim)
    assert await record_of(redis, job_id) == {}


async def test_an_unknown_callback_leaves_the_timetable(redis: Redis, callbacks: CallbackLedger) -> None:
    job_id, webhook_id = await owing(redis)
    await redis.delete(callback_key(webhook_id))
    assert await callbacks.claim(webhook_id, HOST, token="c1", lease_ms=LEASE_MS) is None
    assert await look_at(redis, job_id, Lane.CALLBACK, webhook_id) is None


async def test_a_flushed_script_cache_is_not_noticed(redis: Redis, callbacks: CallbackLedger) -> None:
    _, webhook_id = await owing(redis)
    client: Any = redis
    await client.script_flush()
    claim = await taken(callbacks, webhook_id)
    await client.script_flush()
    assert await callbacks.delivered(claim)
