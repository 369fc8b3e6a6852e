"""What is due when, what is late, what fails: counted over all partitions."""

from typing import Any

from redis.asyncio import Redis

from tests.ledger.support import now_ms
from worker.domain.job_ids import job_id_for_key, partition_of
from worker.domain.renewal import RenewalPolicy
from worker.ledger.renewal_keys import renewals_due_key, renewals_failing_key, renewals_key
from worker.ledger.renewal_views import RenewalViews
from worker.ledger.renewals import Renewals

from .bench import DAY, HOUR, MINUTE, Bench


async def waiting(redis: Redis, due: int, *, end: int = 0, code: str = "") -> str:
    """An entry alone, with no binding behind it."""
    client: Any = redis
    binding_id = job_id_for_key(f"{due}{end}{code}")
    partition = partition_of(binding_id)
    await client.zadd(renewals_due_key(partition) if end else renewals_key(partition), {binding_id: end or due})
    if code:
        await client.hset(renewals_failing_key(partition), binding_id, code)
    return binding_id


async def test_counts_by_time_late_ones_and_failing_ones_by_code(redis: Redis) -> None:
    now = await now_ms(redis)
    for hours in (-2, 0.5, 0.7, 5, 30, 400):
        await waiting(redis, now + int(hours * HOUR))
    for number, code in enumerate(("a", "b", "b")):
        await waiting(redis, now + 2 * HOUR + number, code=code)
    for end in (now + 9 * HOUR, now + 3 * HOUR):
        await waiting(redis, 0, end=end)
    counts = await RenewalViews(Renewals(redis)).counts()
    assert counts.kept == 11
    assert counts.due_within == {HOUR: 5, 24 * HOUR: 9, 7 * 24 * HOUR: 10}
    assert (counts.late, counts.late_since, counts.first_end) == (3, now - 2 * HOUR, now + 3 * HOUR)
    assert list(counts.failing.items()) == [("b", 2), ("a", 1)]


async def test_nothing_kept_counts_nothing(redis: Redis) -> None:
    counts = await RenewalViews(Renewals(redis)).counts([HOUR])
    assert (counts.kept, counts.due_within, counts.late, counts.late_since, counts.first_end, counts.failing) == (
        0, {HOUR: 0}, 0, 0, 0, {},
    )  # fmt: skip


async def test_the_forecast_counts_each_hour_and_late_ones_to_the_first(redis: Redis) -> None:
    now = await now_ms(redis)
    for due in (now - DAY, now + 10 * MINUTE, now + HOUR + MINUTE, now + 2 * HOUR + MINUTE, now + 9 * HOUR):
        await waiting(redis, due)
    await waiting(redis, 0, end=now + HOUR)
    forecast = await RenewalViews(Renewals(redis)).forecast(4)
    assert [hour.renewals for hour in forecast] == [3, 1, 1, 0]
    assert [hour.begins_at - forecast[0].begins_at for hour in forecast] == [0, HOUR, 2 * HOUR, 3 * HOUR]
    assert await RenewalViews(Renewals(redis)).forecast(0) == []


async def test_kept_bindings_can_be_gone_through(bench: Bench) -> None:
    ids = {await bench.bound(str(number)) for number in range(5)}
    views = RenewalViews(bench.renewals)
    assert {kept.binding_id async for kept in views.kept()} == ids
    due = [due async for _, due in views.due_soonest()]
    assert due == sorted(due)
    assert len(due) == 5


async def test_a_binding_can_be_kept_from_now_on_or_by_another_policy(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(renew="", lasts_ms=10 * HOUR)
    due = await bench.renewals.keep(binding_id, RenewalPolicy(extend_by_ms=DAY))
    assert due == await bench.due_at(binding_id)
    await bench.renew(binding_id)
    assert (await bench.read(binding_id)).number == 1
    await bench.renewals.close(binding_id)
    assert await bench.renewals.keep(binding_id, RenewalPolicy(for_ms=60 * DAY)) == await bench.due_at(binding_id)
    assert not (await bench.read(binding_id)).is_closed
    unbind = await bench.change(binding_id, "u")
    await bench.work_on(unbind.job_id)
    assert await bench.renewals.keep(binding_id, RenewalPolicy()) is None
    assert await bench.renewals.keep(job_id_for_key("nothing"), RenewalPolicy()) is None
    assert await bench.due_at(binding_id) is None
