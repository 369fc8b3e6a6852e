"""A bound job is its binding's record: registered when it settles, found by its names, changed, forgotten in time."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from worker import bootstrap
from worker.app import build_app
from worker.bootstrap import build_producer
from worker.domain.binding import BindingName, BindingStatus, BoundBinding, NameKind
from worker.domain.expiration import wire_expiration
from worker.domain.job import JobState, Lane
from worker.domain.job_ids import job_id_for_key, partition_of
from worker.ledger.bindings import BindingChange, BindingLedger
from worker.ledger.keys import ALL_PARTITIONS, binding_index_key, bindings_key, job_keys
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, NewJob, Settlement
from worker.local.redis_server import EmbeddedRedis
from worker.progress import Progress
from worker.settings import Settings

from .support import (
    BOUND,
    BOUND_FIELDS,
    KEEP_MS,
    PHONE,
    RESULT_TTL_MS,
    bindings_of,
    claimed,
    ledger_of,
    now_ms,
    opened,
    put,
    record_of,
)

FAR = "2099-01-01 00:00:00"
FAR_MS = 4_070_880_000_000
PARAMETERS = {"PhoneNoA": PHONE, "Expiration": FAR, "PoolKey": "FC1", "OutId": "客户/7", "OutOrderId": "order-42"}
NAMES = [
    BindingName(NameKind.SUBS_ID, "100"),
    BindingName(NameKind.PHONE_NO_X, "17000001111"),
    BindingName(NameKind.OUT_ID, "客户/7"),
    BindingName(NameKind.OUT_ORDER_ID, "order-42"),
]


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return ledger_of(redis)


@pytest.fixture
def bindings(redis: Redis) -> BindingLedger:
    return bindings_of(redis)


async def bound(ledger: Ledger, key: str = "1", subs_id: str = "100", **more: str) -> str:
    job = await opened(ledger, key, parameters=PARAMETERS | more)
    settlement = Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, BOUND_FIELDS | {"subs_id": subs_id})
    assert await ledger.settle(await claimed(ledger, job.job_id), settlement)
    return job.job_id


async def the(bindings: BindingLedger, binding_id: str) -> BoundBinding:
    (binding,) = await bindings.read([binding_id])
    assert binding is not None
    return binding


def wire(unix_ms: float) -> str:
    return wire_expiration(datetime.fromtimestamp(unix_ms / 1000, UTC))


async def left_in_the_indexes(redis: Redis) -> list[str]:
    client: Any = redis
    keys = [key(partition) for partition in ALL_PARTITIONS for key in (bindings_key, binding_index_key)]
    return [key for key in keys if await client.exists(key)]


async def test_a_bound_job_is_found_by_all_its_names_and_read_as_a_binding(
    ledger: Ledger, bindings: BindingLedger, redis: Redis
) -> None:
    binding_id = await bound(ledger)
    assert await bindings.find([*NAMES, BindingName(NameKind.OUT_ID, "order-42")]) == [*[[binding_id]] * 4, []]
    binding = await the(bindings, binding_id)
    assert binding == BoundBinding(
        binding_id=binding_id,
        subs_id="100",
        phone_no_x="17000001111",
        status=BindingStatus.ACTIVE,
        expires_at=FAR_MS,
        bound_at=int((await record_of(redis, binding_id))["finished_at"]),
        parameters=PARAMETERS,
    )
    assert binding.names == NAMES
    assert PHONE not in repr(binding)


@pytest.mark.parametrize(
    ("state", "parameters"),
    [
        (JobState.FAILED, PARAMETERS),
        (JobState.IN_DOUBT, PARAMETERS),
        (JobState.UPDATED, PARAMETERS),
        (JobState.BOUND, {"PhoneNoA": PHONE}),
        (JobState.BOUND, PARAMETERS | {"Expiration": "soon"}),
    ],
)
async def test_what_is_no_binding_or_has_no_end_is_not_registered(
    ledger: Ledger, redis: Redis, state: JobState, parameters: dict[str, str]
) -> None:
    job = await opened(ledger, parameters=parameters)
    await ledger.settle(await claimed(ledger, job.job_id), Settlement(state, AttemptKnowledge.CLOSED, BOUND_FIELDS))
    assert await left_in_the_indexes(redis) == []
    assert (await redis.pttl(job_keys(job.job_id).job) > 0) is (state is not JobState.IN_DOUBT)


async def test_a_doubt_that_a_person_ends_as_bound_is_registered(ledger: Ledger, bindings: BindingLedger) -> None:
    job = await opened(ledger, parameters=PARAMETERS)
    doubt = Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN, {"code": "doubt"})
    assert await ledger.settle(await claimed(ledger, job.job_id), doubt)
    mine = await ledger.claim(job.job_id, Lane.CHECKOUT, token="person", lease_ms=30_000, resume="any")
    assert not isinstance(mine, str)
    assert await ledger.settle(mine, BOUND)
    assert await bindings.find(NAMES) == [[job.job_id]] * 4


async def test_a_job_that_was_no_bind_is_registered_by_the_request_that_it_settles_with(
    ledger: Ledger, bindings: BindingLedger
) -> None:
    job = await opened(ledger, parameters={"SubsId": "1"})
    fields = {**BOUND_FIELDS, "request": json.dumps(PARAMETERS)}
    await ledger.settle(await claimed(ledger, job.job_id), Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, fields))
    assert await bindings.find(NAMES) == [[job.job_id]] * 4
    assert (await the(bindings, job.job_id)).parameters == PARAMETERS


async def test_bindings_of_one_name_are_found_in_all_partitions_oldest_first(
    ledger: Ledger, bindings: BindingLedger
) -> None:
    ids = [await bound(ledger, f"job{number}", subs_id=str(number)) for number in range(20)]
    assert len({partition_of(binding_id) for binding_id in ids}) > 5
    by_order, by_subs_id = await bindings.look_up([NAMES[3], BindingName(NameKind.SUBS_ID, "7")])
    assert {binding.binding_id for binding in by_order} == set(ids)
    assert [binding.bound_at for binding in by_order] == sorted(binding.bound_at for binding in by_order)
    assert [binding.binding_id for binding in by_subs_id] == [ids[7]]


async def test_a_name_that_everybody_shares_stays_bounded(ledger: Ledger, bindings: BindingLedger) -> None:
    keys = [key for number in range(1_000) if partition_of(job_id_for_key(key := f"n{number}")) == 3][:34]
    ids = [await bound(ledger, key) for key in keys]
    assert await bindings.find([NAMES[2]]) == [ids[2:]]


async def test_an_entry_of_the_index_that_belongs_to_another_name_is_seen_through(
    ledger: Ledger, bindings: BindingLedger, redis: Redis
) -> None:
    first, second = [key for number in range(99) if partition_of(job_id_for_key(key := f"n{number}")) == 3][:2]
    binding_id, index = await bound(ledger, first), binding_index_key(3)
    client: Any = redis
    entries = await client.hgetall(index)
    await put(redis, job_keys(await bound(ledger, second)).job, subs_id="9", phone_no_x="9", request='{"OutId":"9"}')
    for digest in entries:
        assert await client.hget(index, digest) == binding_id + job_id_for_key(second)
    assert await bindings.look_up(NAMES) == [[await the(bindings, binding_id)]] * 4


UNBOUND = BindingChange(by="u", of_subs_id="100", status=BindingStatus.UNBOUND)


async def test_an_unbound_binding_says_so_and_is_no_longer_ahead(ledger: Ledger, bindings: BindingLedger) -> None:
    binding_id = await bound(ledger)
    assert await bindings.change(binding_id, UNBOUND)
    binding = await the(bindings, binding_id)
    assert (binding.status, binding.is_active) == (BindingStatus.UNBOUND, False)
    assert 0 < binding.bound_at <= binding.ended_at
    assert [one async for one in bindings.expiring_before(FAR_MS)] == []
    assert (await bindings.count()).ended == 1


async def test_a_replaced_binding_names_its_successor(ledger: Ledger, bindings: BindingLedger) -> None:
    binding_id = await bound(ledger)
    await bindings.change(binding_id, UNBOUND)
    ended_at = (await the(bindings, binding_id)).ended_at
    await bindings.change(binding_id, BindingChange(by="r", status=BindingStatus.REPLACED, replaced_by="new"))
    binding = await the(bindings, binding_id)
    assert (binding.status, binding.replaced_by, binding.ended_at) == (BindingStatus.REPLACED, "new", ended_at)


async def test_an_update_changes_the_stored_request_and_the_names(ledger: Ledger, bindings: BindingLedger) -> None:
    binding_id = await bound(ledger, CallRestrict="CONTROL_AX_DISABLE")
    changes = {"OutId": "c/8", "PhoneNoA": "15000000000", "CallRestrict": None}
    await bindings.change(binding_id, BindingChange(by="p", parameters=changes))
    binding = await the(bindings, binding_id)
    assert binding.parameters == PARAMETERS | {"OutId": "c/8", "PhoneNoA": "15000000000"}
    assert await bindings.find([*NAMES[:2], NAMES[2], NAMES[3], BindingName(NameKind.OUT_ID, "c/8")]) == [
        [binding_id], [binding_id], [], [binding_id], [binding_id],
    ]  # fmt: skip


async def test_a_new_expiration_moves_the_end(ledger: Ledger, bindings: BindingLedger, redis: Redis) -> None:
    binding_id = await bound(ledger)
    near = await now_ms(redis) // 1000 * 1000 + 50_000
    await bindings.change(binding_id, BindingChange(by="p", parameters={"Expiration": wire(near)}))
    assert (await the(bindings, binding_id)).expires_at == near
    assert await bindings.expiring_in(partition_of(binding_id), near, since_ms=0, most=9) == [(binding_id, near)]
    assert [one async for one in bindings.expiring_before(near - 1)] == []
    assert [one async for one in bindings.expiring_before(near)] == [binding_id]


async def test_a_binding_made_anew_for_the_same_job_is_active_under_its_new_id(
    ledger: Ledger, bindings: BindingLedger
) -> None:
    binding_id = await bound(ledger)
    await bindings.change(binding_id, UNBOUND)
    again = BindingChange(by="r", status=BindingStatus.ACTIVE, parameters={"Expiration": FAR}, subs_id="200")
    assert await bindings.change(binding_id, again)
    binding = await the(bindings, binding_id)
    assert (binding.status, binding.subs_id, binding.ended_at) == (BindingStatus.ACTIVE, "200", 0)
    assert await bindings.find([NAMES[0], BindingName(NameKind.SUBS_ID, "200")]) == [[], [binding_id]]
    assert [one async for one in bindings.expiring_before(FAR_MS)] == [binding_id]
    late = BindingChange(by="late", of_subs_id="100", status=BindingStatus.UNBOUND)
    assert not await bindings.change(binding_id, late), "it speaks of the binding that was there before"
    assert (await the(bindings, binding_id)).is_active


async def test_a_worker_that_slept_does_not_undo_a_later_change(ledger: Ledger, bindings: BindingLedger) -> None:
    binding_id = await bound(ledger)
    first = BindingChange(by="first", parameters={"OutId": "1"})
    second = BindingChange(by="second", parameters={"OutId": "2"})
    assert [await bindings.change(binding_id, change) for change in (first, second, first)] == [True] * 3
    assert (await the(bindings, binding_id)).out_id == "2"


@pytest.mark.parametrize("what", ["missing", "not bound", "unreadable"])
async def test_a_change_of_what_is_no_binding_writes_nothing(
    ledger: Ledger, bindings: BindingLedger, redis: Redis, what: str
) -> None:
    job: NewJob | None = None
    if what != "missing":
        job = await opened(ledger)
    if what == "unreadable":
        await put(redis, job_keys(job_id_for_key("1")).job, state="bound", request="{", subs_id="100")
    before = await record_of(redis, job_id_for_key("1"))
    assert not await bindings.change(job_id_for_key("1"), UNBOUND)
    assert await record_of(redis, job_id_for_key("1")) == before
    assert bool(job) is (what != "missing")


async def test_a_binding_of_an_older_release_can_be_changed_and_stays_unregistered(
    ledger: Ledger, bindings: BindingLedger, redis: Redis
) -> None:
    job = await opened(ledger, parameters=PARAMETERS)
    await put(redis, job_keys(job.job_id).job, state="bound", subs_id="100", phone_no_x="17000001111")
    assert await bindings.change(job.job_id, UNBOUND)
    assert (await the(bindings, job.job_id)).status is BindingStatus.UNBOUND
    assert await left_in_the_indexes(redis) == []


async def ended(redis: Redis, binding_id: str, ago_ms: int) -> None:
    """Move its end into the past."""
    keys, at_ms = job_keys(binding_id), await now_ms(redis) - ago_ms
    await redis.zadd(keys.bindings, {binding_id: at_ms})
    await put(redis, keys.job, request=json.dumps(PARAMETERS | {"Expiration": wire(at_ms)}))


async def test_a_lapsed_binding_stays_known_for_a_while_and_leaves_nothing_behind(
    ledger: Ledger, bindings: BindingLedger, redis: Redis
) -> None:
    binding_id = await bound(ledger)
    await ended(redis, binding_id, KEEP_MS - 5_000)
    assert await bindings.sweep() == (0, False)
    assert (await the(bindings, binding_id)).status is BindingStatus.LAPSED
    await ended(redis, binding_id, KEEP_MS)
    assert await bindings.sweep() == (1, False)
    assert await left_in_the_indexes(redis) == []
    # The job itself was finished a moment ago.
    assert RESULT_TTL_MS - 10_000 < await redis.pttl(job_keys(binding_id).job) <= RESULT_TTL_MS
    assert (await ledger.read(binding_id)).is_bound


async def test_the_record_of_a_job_that_was_finished_long_ago_goes_with_its_binding(
    ledger: Ledger, bindings: BindingLedger, redis: Redis
) -> None:
    binding_id = await bound(ledger)
    await put(redis, job_keys(binding_id).job, finished_at=await now_ms(redis) - RESULT_TTL_MS)
    await ended(redis, binding_id, KEEP_MS)
    assert await bindings.sweep() == (1, False)
    assert not await redis.exists(job_keys(binding_id).job)


async def test_a_sweep_takes_so_many_at_a_time_and_says_that_there_are_more(
    ledger: Ledger, bindings: BindingLedger, redis: Redis
) -> None:
    keys = [key for number in range(200) if partition_of(job_id_for_key(key := f"n{number}")) == 3][:5]
    for key in keys:
        await ended(redis, await bound(ledger, key), KEEP_MS)
    assert [await bindings.sweep(2) for _ in range(4)] == [(2, True), (2, True), (1, False), (0, False)]
    assert await left_in_the_indexes(redis) == []


async def test_a_binding_that_was_prolonged_just_before_the_sweep_stays(
    ledger: Ledger, bindings: BindingLedger, redis: Redis
) -> None:
    binding_id = await bound(ledger)
    keys = job_keys(binding_id)
    assert await bindings._sweep([keys.bindings, keys.binding_index, keys.job], [KEEP_MS, 0, binding_id]) == 0
    assert await bindings.find(NAMES) == [[binding_id]] * 4


async def test_a_worker_s_ticker_sweeps(ledger: Ledger, redis: Redis, redis_server: EmbeddedRedis) -> None:
    urls: dict[str, Any] = {"redis_url": redis_server.url(0), "broker_url": redis_server.broker_url(1)}
    settings = Settings(**urls, binding_keep=timedelta(milliseconds=KEEP_MS))
    await ended(redis, await bound(ledger), KEEP_MS)
    producer = build_producer(settings, build_app(settings))
    for chore in bootstrap._ticker(settings, producer, Progress())._chores:
        assert not await chore.work()
    await producer.aclose()
    assert await left_in_the_indexes(redis) == []


async def test_bindings_are_told_in_the_order_of_their_ends_and_counted(
    ledger: Ledger, bindings: BindingLedger
) -> None:
    base_ms = time.time() * 1000 + 3_600_000
    ids = [
        await bound(ledger, f"job{number}", str(number), Expiration=wire(base_ms + number * 60_000))
        for number in (3, 0, 2, 1)
    ]
    assert [one async for one in bindings.expiring_before(int(base_ms + 150_000))] == [ids[1], ids[3], ids[2]]
    await bindings.change(ids[1], BindingChange(by="u", status=BindingStatus.UNBOUND))
    counts = await bindings.count()
    assert (counts.active, counts.ended) == (3, 1)


def test_a_change_that_makes_no_sense_is_no_change() -> None:
    with pytest.raises(ValueError, match="Expiration"):
        BindingChange(by="x", status=BindingStatus.ACTIVE)
    with pytest.raises(ValueError, match="lapses by itself"):
        BindingChange(by="x", status=BindingStatus.LAPSED)
