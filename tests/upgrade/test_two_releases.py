"""This release and the next one, both installed, share a ledger: nothing is lost, doubled or failed in between."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.chaos.messages import message
from worker.broker_channel import POISON_KEY
from worker.domain.job import Lane
from worker.domain.job_ids import job_id_for_key

from .next_release import NEWER_OUT_ID, NEWER_TASK, VERSION, make_next
from .releases import Release, both_installed, this_tree
from .side_by_side import SideBySide, played

_JOBS = 20


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Release]:
    """This one and the next one."""
    folder = tmp_path_factory.mktemp("releases")
    return both_installed(folder, ("this", this_tree), ("next", lambda tree: make_next(this_tree(tree))))


@pytest.mark.whole
@pytest.mark.timeout(300)
def test_two_releases_share_a_ledger(releases: tuple[Release, Release]) -> None:
    played(lambda system: _play(system, *releases))


async def _play(system: SideBySide, this: Release, next_: Release) -> None:
    """The next release's producers first, then its workers; at last this release's producers alone are left."""
    await system.begin(this)
    plain = await system.submit(next_, system.orders("plain", _JOBS))
    await system.all_ended(plain)
    newer = await system.submit(next_, system.orders("newer", _JOBS, out_id=NEWER_OUT_ID))
    task_id = await _newer_task(system)
    await _are_left_alone(system, newer)
    async with system.provider_fault(kind="throttle", count=8, retry_after_ms=100):
        await system.begin(next_)
        await system.all_ended([*newer, task_id])
    mixed = await _while_the_next_is_killed(system, this, next_)
    await system.retire_worker("this")
    last = await system.submit(this, system.orders("last", _JOBS))
    await system.all_ended(last)
    for_sure = [*plain, *newer, task_id, *last]
    await system.bound_exactly_once(for_sure, or_in_doubt=mixed)
    assert {len(system.bodies[job_id]) for job_id in [*for_sure, *mixed]} == {1}, "one event for each job"
    assert {system.told[webhook_id] for webhook_id in system.told if webhook_id.partition("-")[0] in for_sure} == {1}
    _both_have_worked(system, [*for_sure, *mixed])


async def _newer_task(system: SideBySide) -> str:
    """A request for a task that only the next release has: the message is its only copy."""
    (order,) = system.orders("task", 1)
    await system.broker.lpush(Lane.CHECKOUT.queue, message(NEWER_TASK, [order], queue=Lane.CHECKOUT.queue))
    return job_id_for_key(order["idempotency_key"])


async def _are_left_alone(system: SideBySide, job_ids: Sequence[str]) -> None:
    """This release's worker has met them, and done nothing to them."""

    async def is_told() -> bool:
        log = system.log_of("this")
        return "left to newer workers" in log and "request of a newer release: handed back" in log

    await system.until(is_told, "the worker told of what it leaves alone")
    records = await system.known(job_ids)
    assert {(record.state, record.fence) for record in records.values()} == {("accepted", 0)}
    assert not await system.broker.exists(POISON_KEY)


async def _while_the_next_is_killed(system: SideBySide, this: Release, next_: Release) -> list[str]:
    """Jobs of both producers, some of them filed by both, while the next release's worker dies in the midst of them."""
    shared = system.orders("shared", _JOBS)
    async with system.provider_fault(kind="latency", latency_ms=150):
        filed = await asyncio.gather(
            system.submit(this, [*system.orders("a", _JOBS), *shared]),
            system.submit(next_, [*system.orders("b", _JOBS), *shared]),
        )
        assert filed[0][_JOBS:] == filed[1][_JOBS:], "the same keys are the same jobs to both"
        system.kill("next")
        away = await system.submit(next_, system.orders("away", _JOBS))
    job_ids = list(dict.fromkeys([*filed[0], *filed[1], *away]))
    await system.all_ended(job_ids)
    return job_ids


def _both_have_worked(system: SideBySide, job_ids: Sequence[str]) -> None:
    bodies = [body for job_id in job_ids for body in system.bodies[job_id]]
    by_next = sum(body.get("release") == "next" for body in bodies)
    assert 0 < by_next < len(bodies)
    assert VERSION not in system.log_of("this")
