"""Rotation: what is plain or under an older key is sealed by the first one, and nothing that is written gets lost."""

import asyncio
import secrets
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import new_job, record_of
from tests.privacy.dump import everything_in, found_in
from tests.privacy.filled import BATCH, EXPIRATION, NUMBERS, Parts, X, fill, jobs, read_all, row_text
from worker.batches.row_codec import RowCodec
from worker.callbacks.receivers import receiver_of
from worker.domain.binding import BindingStatus
from worker.domain.encryption_keys import KEY_BYTES
from worker.domain.job import JobState, Lane
from worker.domain.renewal import RenewalPolicy
from worker.errors import IdempotencyConflictError, SealError
from worker.ledger.bindings import BindingChange
from worker.ledger.callback_listing import CallbackListing
from worker.ledger.callbacks import CallbackLedger
from worker.ledger.kept_binding import NOT_YET
from worker.ledger.keys import binding_index_key, job_keys, webhook_id_of
from worker.ledger.records import Claim
from worker.ledger.renewals import Renewals
from worker.ledger.resealing import Resealing, SealReport
from worker.ledger.seal import NO_SEAL, Seal
from worker.local.redis_server import EmbeddedRedis

HOST = receiver_of("https://shop.example")
OLD, NEW, INDEX = (secrets.token_bytes(KEY_BYTES) for _ in range(3))
FIRST, ROTATED, LAST = Seal({"old": OLD}, INDEX), Seal({"new": NEW, "old": OLD}, INDEX), Seal({"new": NEW}, INDEX)


async def rotated(redis: Redis, seal: Seal) -> SealReport:
    report = SealReport()
    await Resealing(redis, seal, RowCodec.row_of).rotate(report, lambda _looked_at: None)
    return report


async def counted(redis: Redis, seal: Seal) -> dict[str, int]:
    report = SealReport()
    await Resealing(redis, seal, RowCodec.row_of).count(report, lambda _looked_at: None)
    return {key_id: count for key_id, count in report.by_key.items() if count}


@pytest.mark.parametrize("before", [NO_SEAL, FIRST], ids=["plain", "under the old key"])
async def test_all_is_read_as_before_and_by_the_new_key_alone(
    redis: Redis, redis_server: EmbeddedRedis, before: Seal
) -> None:
    await fill(Parts(redis, before))
    told = await read_all(Parts(redis, before))
    assert await read_all(Parts(redis, ROTATED)) == told, "also while both are there"
    assert set(found_in(everything_in(redis_server.url(0)), NUMBERS)) == (set(NUMBERS) if before is NO_SEAL else set())
    report = await rotated(redis, ROTATED)
    assert report.is_all_under("new")
    assert await counted(redis, ROTATED) == {"new": report.by_key["new"]}
    assert not found_in(everything_in(redis_server.url(0)), NUMBERS)
    assert await read_all(Parts(redis, LAST)) == told
    again = await rotated(redis, ROTATED)
    assert (again.resealed, again.is_all_under("new")) == (0, True)


async def test_it_is_switched_on_and_off_without_a_process_that_cannot_read(
    redis: Redis, redis_server: EmbeddedRedis
) -> None:
    ready = Seal({"old": OLD}, INDEX, writes_plain=True)
    await fill(Parts(redis, NO_SEAL))
    told = await read_all(Parts(redis, NO_SEAL))
    for seal, key_id in ((FIRST, "old"), (ready, ""), (FIRST, "old"), (ready, "")):
        assert (await rotated(redis, seal)).is_all_under(key_id)
        for reader in (FIRST, ready):
            assert await read_all(Parts(redis, reader)) == told
            assert await Parts(redis, reader).ledger.open(jobs()["failed"]) == 0
            assert not await Parts(redis, reader).batches.put_chunk(BATCH, 0, [row_text()])
    assert set(found_in(everything_in(redis_server.url(0)), NUMBERS)) == set(NUMBERS)
    assert await read_all(Parts(redis, NO_SEAL)) == told


async def test_what_was_filed_plain_is_still_the_same_job(redis: Redis) -> None:
    await fill(Parts(redis, NO_SEAL))
    for seal in (FIRST, ROTATED):
        assert await Parts(redis, seal).ledger.open(jobs()["failed"]) == 0
        await rotated(redis, seal)
        assert await Parts(redis, seal).ledger.open(jobs()["failed"]) == 0
        with pytest.raises(IdempotencyConflictError):
            await Parts(redis, seal).ledger.open(new_job("failed", digest="another"))


async def test_a_binding_leaves_no_name_behind_when_it_is_swept(redis: Redis) -> None:
    await fill(Parts(redis, NO_SEAL))
    await rotated(redis, FIRST)
    parts = Parts(redis, FIRST, keep_ms=0)
    for name in ("bound", "row"):
        change = BindingChange(by="me", status=BindingStatus.UNBOUND)
        assert await parts.bindings.change(jobs()[name].job_id, change)
    assert (await parts.bindings.sweep())[0] == 2
    client: Any = redis
    assert not any([await client.exists(binding_index_key(partition)) for partition in range(16)])


async def test_a_job_whose_key_is_missing_waits_and_goes_on_with_it(redis: Redis) -> None:
    await fill(Parts(redis, FIRST))
    job_id = jobs()["waiting"].job_id
    without = Parts(redis, LAST).ledger
    for attempt in range(8):  # more than the leases that make a job poison
        with pytest.raises(SealError, match="'old'"):
            await without.claim(job_id, Lane.CHECKOUT, token=f"t{attempt}", lease_ms=1)
        record = await record_of(redis, job_id)
        assert (record["state"], record["code"], record["attempts"]) == ("waiting", "encryption.key_missing", "0")
        await redis.hset(job_keys(job_id).job, "next_at", "0")  # type: ignore[misc, unused-ignore]
    with pytest.raises(SealError):
        await without.read(job_id)
    claim = await Parts(redis, FIRST).ledger.claim(job_id, Lane.CHECKOUT, token="t", lease_ms=1_000)
    assert isinstance(claim, Claim)
    assert (claim.attempt, claim.is_probe, claim.parameters["PhoneNoA"]) == (1, False, "13800000003")
    report = await rotated(redis, LAST)
    assert report.unreadable
    assert not report.is_all_under("new")


async def test_a_writer_beside_it_loses_nothing(redis: Redis) -> None:
    await fill(Parts(redis, FIRST))
    binding_id, writes = jobs()["bound"].job_id, 0
    there, back = Seal({"new": NEW, "old": OLD}, INDEX), Seal({"old": OLD, "new": NEW}, INDEX)
    bindings = Parts(redis, there).bindings
    is_over = asyncio.Event()

    async def write() -> None:
        nonlocal writes
        while not is_over.is_set():
            writes += 1
            changed = {"OutId": str(writes), "PhoneNoA": f"138{writes:08}", "Expiration": EXPIRATION}
            change = BindingChange(by=f"w{writes}", parameters=changed, phone_no_x=f"170{writes:08}")
            assert await bindings.change(binding_id, change)
            (kept,) = await bindings.read([binding_id])
            assert kept
            assert (kept.out_id, kept.phone_no_a) == (changed["OutId"], changed["PhoneNoA"])
            assert kept.phone_no_x == change.phone_no_x

    writer = asyncio.create_task(write())
    resealed = 0
    for seal in (there, back) * 8:
        resealed += (await rotated(redis, seal)).resealed
    is_over.set()
    await writer
    assert writes > 20
    assert resealed > 16
    (kept,) = await bindings.read([binding_id])
    assert kept
    (found,) = await bindings.look_up([name for name in kept.names if name.value == kept.phone_no_x])
    assert [one.binding_id for one in found] == [binding_id]
    assert (await Parts(redis, there).ledger.read(binding_id)).state is JobState.BOUND
    assert kept.phone_no_x != X


async def test_without_the_key_callbacks_and_renewals_wait(redis: Redis) -> None:
    await fill(Parts(redis, FIRST))
    bound = jobs()["bound"].job_id
    kept = {"renew": RenewalPolicy(extend_by_ms=86_400_000, lead_ms=600_000).as_json(), "renew_seed": "s"}
    client: Any = redis
    await client.hset(job_keys(bound).job, mapping=kept)
    assert not isinstance((await Renewals(redis, seal=FIRST).read([bound]))[0], str)
    assert await Renewals(redis, seal=LAST).read([bound]) == [NOT_YET]
    webhook_id = webhook_id_of(bound, 1)
    for token in ("t1", "t2"):
        assert await CallbackLedger(redis, seal=LAST).claim(webhook_id, HOST, token=token, lease_ms=9_000) is None
    claim = await CallbackLedger(redis, seal=FIRST).claim(webhook_id, HOST, token="t3", lease_ms=9_000)
    assert claim
    assert claim.tries == 1
    assert X in claim.body
    (listed,) = await CallbackListing(redis, LAST).some_waiting(lambda _callback: True, 9, lambda _looked_at: None)
    assert (listed.webhook_id, listed.body) == (webhook_id, "")
