"""Doubts of a rebind, ended by a person or by a worker that comes late with the answer."""

import pytest
from redis.asyncio import Redis

from tests.ledger.support import lapse
from worker.attempt.found_bindings import FoundBindingsDesk
from worker.attempt.resolution import Resolutions, UnresolvableError
from worker.clock import SystemClock
from worker.domain.job import JobState, Lane
from worker.domain.rebinding import RebindMode
from worker.ledger.audit import Audit
from worker.ledger.records import NewJob

from .bench import WRONG
from .rebind_bench import Fate, RebindBench

BY = "ann@shop"
NEW_X, SAME_X = RebindMode.NEW_X, RebindMode.SAME_X


@pytest.fixture
def bench(redis: Redis) -> RebindBench:
    return RebindBench(redis)


@pytest.fixture
def resolutions(bench: RebindBench, redis: Redis) -> Resolutions:
    clock = SystemClock()
    desk = FoundBindingsDesk(bench.ledger, clock, 1_000)
    return Resolutions(bench.ledger, desk, Audit(redis), bench.replacements, clock, 1_000)


async def in_doubt(bench: RebindBench, mode: RebindMode, **fates: list[Fate]) -> NewJob:
    bench.sandbox.fates.update(fates)
    job = await bench.filed(mode)
    assert (await bench.to_its_end(job))["state"] == "in_doubt"
    return job


async def test_a_new_binding_that_a_person_has_found_leads_to_the_end_of_the_old_one(
    bench: RebindBench, resolutions: Resolutions
) -> None:
    job = await in_doubt(bench, NEW_X, BindAxn=["lost"])
    (new,) = (one for one in bench.sandbox.live() if one is not bench.old)
    read = await resolutions.bound_as(job.job_id, phone_no_x=new.phone_no_x, subs_id=new.subs_id, by=BY)
    assert (read.state, read.step) == (JobState.WAITING, "unbind_old")
    record = await bench.to_its_end(job)
    assert (record["state"], record["subs_id"], record["resolved_by"]) == ("bound", new.subs_id, BY)
    assert bench.sandbox.live() == [new]


async def test_a_new_binding_that_was_not_made_leaves_the_old_one(bench: RebindBench, resolutions: Resolutions) -> None:
    job = await in_doubt(bench, NEW_X, BindAxn=["killed unsent", "unheard", "lost"])
    assert (await resolutions.not_bound(job.job_id, by=BY)).state is JobState.FAILED
    assert bench.old in bench.sandbox.live()


@pytest.mark.parametrize("is_sure", [True, False])
async def test_an_unclear_end_of_the_old_binding_may_be_tried_again(
    bench: RebindBench, resolutions: Resolutions, is_sure: bool
) -> None:
    job = await in_doubt(bench, SAME_X, UnbindSubscription=["lost", "unheard", "unheard"])
    with pytest.raises(UnresolvableError, match="replaces this very binding"):
        await resolutions.bound_as(job.job_id, phone_no_x=bench.old.phone_no_x, subs_id=bench.old.subs_id, by=BY)
    read = await resolutions.rebind(job.job_id, is_surely_not_bound=is_sure, by=BY)
    assert (read.state, read.possible_orphans) == (JobState.WAITING, 0)
    record = await bench.to_its_end(job)
    assert (record["state"], record["phone_no_x"]) == ("bound", bench.old.phone_no_x)


async def test_a_last_resort_that_a_person_has_found_ends_as_moved(
    bench: RebindBench, resolutions: Resolutions
) -> None:
    job = await in_doubt(bench, SAME_X, BindAxn=[WRONG, WRONG, "lost"])
    (moved,) = bench.sandbox.live()
    read = await resolutions.bound_as(job.job_id, phone_no_x=moved.phone_no_x, subs_id=moved.subs_id, by=BY)
    assert (read.state, read.code, read.subs_id) == (JobState.FAILED, "rebind.moved", moved.subs_id)
    assert bench.replacements.restored_as == [(moved.phone_no_x, moved.subs_id)]


async def test_a_person_who_gives_up_is_told_what_has_ended(bench: RebindBench, resolutions: Resolutions) -> None:
    job = await in_doubt(bench, SAME_X, BindAxn=[WRONG, WRONG, "lost"])
    read = await resolutions.not_bound(job.job_id, by=BY)
    assert read.message.endswith("; the old binding has ended")


@pytest.mark.parametrize("mode", RebindMode)
async def test_an_answer_that_comes_after_the_lease_still_counts(bench: RebindBench, mode: RebindMode) -> None:
    job = await bench.filed(mode)
    for _ in range(1 if mode is NEW_X else 2):
        await bench.step(job)

    async def taken_over() -> None:
        await lapse(bench.redis, job.job_id)
        await bench.ledger.claim(job.job_id, Lane.CHECKOUT, token="other", lease_ms=1)

    bench.found = FoundBindingsDesk(bench.ledger, SystemClock(), 1_000)  # type: ignore[assignment]
    bench.sandbox.meanwhile = taken_over
    assert await bench.step(job) == "lease_lost"
    bench.sandbox.meanwhile = None
    (new,) = (one for one in bench.sandbox.live() if one is not bench.old)
    assert (await bench.record(job))["subs_id"] == new.subs_id
    assert (await bench.to_its_end(job))["state"] == "bound"
    assert bench.sandbox.live() == [new]
