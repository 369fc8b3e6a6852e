"""A rolling upgrade and the way back, under load, with kills: `make test-upgrade`.

UPGRADE_FROM names a revision of this repository, whose wheel is then the older release and this tree's the newer one;
without it the older one is this tree, and the newer one the made-up next release.
"""

import asyncio
import contextlib
import json
import os
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.messages import message
from worker.domain.job_ids import job_id_for_key, partition_of
from worker.ledger.batch_rows import batch_keys
from worker.ledger.keys import job_keys, timetable_key
from worker.ledger.renewal_keys import renewal_member, renewals_key

from .next_release import make_next
from .releases import Release, both_installed, this_tree, tree_of
from .side_by_side import SideBySide, played

_SEED = 4
_GROUP, _GROUPS_PER_STAGE = 12, 5
_ROWS, _REBINDS, _KEPT = 150, 6, 8
_BETWEEN_S, _BETWEEN_KILLS_S = 0.5, 3.0
_WITHIN_S = 120.0


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Release]:
    """The older one, and the newer one."""
    folder, revision = tmp_path_factory.mktemp("releases"), os.environ.get("UPGRADE_FROM", "")

    def next_tree(into: Path) -> Path:
        return make_next(this_tree(into))

    def older_tree(into: Path) -> Path:
        return tree_of(revision, into)

    if revision:
        return both_installed(folder, ("older", older_tree), ("newer", this_tree))
    return both_installed(folder, ("older", this_tree), ("newer", next_tree))


@pytest.mark.timeout(600)
def test_a_rolling_upgrade_and_the_way_back_lose_and_double_nothing(releases: tuple[Release, Release]) -> None:
    played(lambda system: _upgrade_and_back(system, *releases))


async def _upgrade_and_back(system: SideBySide, older: Release, newer: Release) -> None:
    """Two workers of the older release become, one by one, workers of the newer one, and then older ones again."""
    stages: list[tuple[Release, Release]] = [
        (older, older),
        (older, newer),
        (newer, newer),
        (newer, older),
        (older, older),
    ]
    dice = random.Random(_SEED)
    job_ids: list[str] = []
    batch_ids: list[str] = []
    kept: list[str] = []
    rebinds: list[str] = []
    knows = await system.knows(older) & await system.knows(newer)
    running: dict[str, Release] = {}
    async with system.provider_fault(kind="latency", latency_ms=100):
        for number, stage in enumerate(stages):
            await _replace(system, running, stage, number)
            async with _killed_now_and_then(system, dice):
                if "batch" in knows:
                    rows = _rows(system, f"batch-{number}")
                    batch_ids.append(await system.start_batch(dice.choice(stage), f"batch-{number}", rows))
                if "renew" in knows:
                    kept += await _keep(system, dice.choice((older, newer)), f"kept-{number}")
                    await _renew(system, kept, number)
                filed = await _file(system, (older, newer), f"stage-{number}")
                if "rebind" in knows:
                    rebinds += await _rebind(system, (older, newer), filed)
                job_ids += filed
    await system.all_ended(job_ids, _WITHIN_S)
    await system.until(lambda: _are_finished(system, batch_ids), "all batches finished", _WITHIN_S)
    await system.all_ended(rebinds, _WITHIN_S, are_told=False)
    await system.bound_exactly_once([], or_in_doubt=[*job_ids, *kept])
    assert {len(system.bodies[job_id]) for job_id in job_ids} == {1}, "one event for each job"
    states, of_rebinds = await system.states([*job_ids, *kept]), await system.states(rebinds)
    made = await system.bindings()
    rows_bound = sum(binding.order.startswith("batch-") for binding in made)
    renewals = await _renewals(system, kept)
    told = [
        f"binds {dict(states)}",
        f"rebinds {dict(of_rebinds)}",
        f"{rows_bound} of {len(batch_ids) * _ROWS} rows bound",
    ]
    print("; ".join([*told, f"{len(kept)} bindings renewed {sum(renewals)} times"]))  # noqa: T201 - what was played
    assert states["bound"] > len(job_ids) * 0.8, "the kills alone put few in doubt"
    assert set(of_rebinds) <= {"bound", "in_doubt", "old_left_bound"}
    assert rows_bound >= len(batch_ids) * _ROWS * 0.8


async def _replace(system: SideBySide, running: dict[str, Release], stage: Sequence[Release], number: int) -> None:
    """Let the workers of this stage take the places of those that run, one after the other, each ended by SIGTERM."""
    for place, release in enumerate(stage):
        name = next((name for name in running if name.startswith(f"{place}-")), "")
        if name and running[name] is release:
            continue
        if name:
            del running[name]
            await system.retire_worker(name)
        name = f"{place}-{number}-{release.name}"
        running[name] = release
        await system.begin(release, name)


@contextlib.asynccontextmanager
async def _killed_now_and_then(system: SideBySide, dice: random.Random) -> AsyncIterator[None]:
    async def kill() -> None:
        while True:
            await asyncio.sleep(_BETWEEN_KILLS_S * dice.uniform(0.5, 1.5))
            name = dice.choice(sorted(system.workers))
            system.kill(name)
            await system.workers[name].wait_ready()

    killing = asyncio.create_task(kill())
    try:
        yield
    finally:
        killing.cancel()
        await asyncio.gather(killing, return_exceptions=True)


async def _file(system: SideBySide, releases: Sequence[Release], prefix: str) -> list[str]:
    """Groups by each release's producer, some of each as a foreign client's message, some twice by both."""
    job_ids: list[str] = []
    for number in range(_GROUPS_PER_STAGE):
        for release in releases:
            job_ids += await system.submit(release, system.orders(f"{prefix}-{number}-{release.name}", _GROUP))
        shared = system.orders(f"{prefix}-{number}-both", _GROUP)
        first, second = [await system.submit(release, shared) for release in releases]
        assert first == second, "the same keys are the same jobs to both"
        job_ids += first
        job_ids += await _sent(system, system.orders(f"{prefix}-{number}-sent", 2))
        await asyncio.sleep(_BETWEEN_S)
    return job_ids


async def _sent(system: SideBySide, orders: Sequence[dict[str, Any]]) -> list[str]:
    """By a foreign Celery client; a worker that is killed may lose the message, and with it its only copy."""
    job_ids = [job_id_for_key(order["idempotency_key"]) for order in orders]

    async def are_filed() -> bool:
        return "missing" not in await system.states(job_ids)

    for _ in range(3):
        for order in orders:
            await system.broker.lpush("axn.checkout", message("axn.bind", [order], queue="axn.checkout"))
        with contextlib.suppress(AssertionError):
            await system.until(are_filed, "requests that were sent are filed", 10.0)
            break
    return job_ids


def _rows(system: SideBySide, name: str) -> list[dict[str, Any]]:
    orders = system.orders(name, _ROWS)
    return [{field: order[field] for field in ("phone_no_a", "out_order_id", "expires_in")} for order in orders]


async def _rebind(system: SideBySide, releases: Sequence[Release], job_ids: Sequence[str]) -> list[str]:
    """Some of these bindings to another number, by each release's producer."""
    ids = []
    for release, some in zip(releases, (job_ids[:_REBINDS], job_ids[_REBINDS : 2 * _REBINDS]), strict=True):
        await system.all_ended(some, _WITHIN_S)
        records = await system.known(some)
        bound = [job_id for job_id in some if records[job_id].state == "bound"]
        wanted = [{"bind_job_id": job_id, "mode": "new-x", "idempotency_key": f"re-{job_id}"} for job_id in bound]
        ids += await system.submit(release, [], rebinds=wanted)
    return ids


async def _keep(system: SideBySide, release: Release, prefix: str) -> list[str]:
    """Bindings that are renewed as long as their orders are open."""
    renew = {"while": "open", "extend_by": "10m"}
    orders = [order | {"renew": renew, "callback_url": None} for order in system.orders(prefix, _KEPT)]
    job_ids = await system.submit(release, orders)
    await system.all_ended(job_ids, _WITHIN_S, are_told=False)
    records = await system.known(job_ids)
    return [job_id for job_id in job_ids if records[job_id].state == "bound"]


async def _renew(system: SideBySide, kept: Sequence[str], number: int) -> None:
    """Make them due, and wait until each has been renewed once more, and no more than once."""
    client: Any = system.ledger
    before = await _renewals(system, kept)
    for job_id in kept:
        partition = partition_of(job_id)
        await client.zadd(renewals_key(partition), {job_id: 1})
        await client.zadd(timetable_key(partition), {renewal_member(partition): 1})

    async def are_renewed() -> bool:
        return await _renewals(system, kept) == [count + 1 for count in before]

    await system.until(are_renewed, f"bindings renewed in stage {number}", _WITHIN_S)
    ends = {binding.subs_id: binding.expires for binding in await system.bindings()}
    for job_id in kept:
        subs_id, request = await client.hmget(job_keys(job_id).job, ["subs_id", "request"])
        assert ends[subs_id] == json.loads(request)["Expiration"], "the provider and the ledger agree"


async def _renewals(system: SideBySide, kept: Sequence[str]) -> list[int]:
    client: Any = system.ledger
    return [int(await client.hget(job_keys(job_id).job, "renewals") or 0) for job_id in kept]


async def _are_finished(system: SideBySide, batch_ids: Sequence[str]) -> bool:
    client: Any = system.ledger
    return all([await client.hget(batch_keys(batch_id).batch, "state") == "finished" for batch_id in batch_ids])
