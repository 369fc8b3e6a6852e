"""A process that is killed at any step of a renewal is followed by another, and one renewal is counted."""

import asyncio
import sys
from pathlib import Path

from redis.asyncio import Redis

from tests.ledger.support import now_ms, until
from worker.domain.job_ids import partition_of
from worker.domain.renewal import RenewalPolicy
from worker.ledger.renewal_keys import renewals_lease_key
from worker.local.redis_server import EmbeddedRedis
from worker.steps import EXIT_CRASHED

from .bench import DAY, MINUTE, Bench, benches

ROOT = Path(__file__).parents[2]
STEPS = ("renewal.sending", "renewal.answered", "renewal.settled")


async def killed(crashes: list[str], redis_url: str, endpoint: str) -> list[int]:
    """How processes ended that were to be killed, as by SIGKILL, each at its step of a binding's renewal."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.renewals.process", redis_url, endpoint, *crashes, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(parent.communicate(), 60)
    return [int(line) for line in out.split()]


async def bound_in_a_partition_of_its_own(bench: Bench, taken: set[int], policy: RenewalPolicy) -> str:
    number = 0
    while True:
        binding_id = await bench.bound(f"c{len(taken)}.{number}", policy=policy)
        if partition_of(binding_id) not in taken:
            taken.add(partition_of(binding_id))
            return binding_id
        await bench.renewals.close(binding_id)
        number += 1


async def test_one_renewal_is_counted_wherever_its_process_dies(redis: Redis, redis_server: EmbeddedRedis) -> None:
    async with benches(redis, hold_ms=200) as (bench,):
        await bench.checked()
        taken: set[int] = set()
        kept = [await bound_in_a_partition_of_its_own(bench, taken, RenewalPolicy(extend_by_ms=DAY)) for _ in STEPS]
        first = {binding_id: (await bench.read(binding_id)).expires_at for binding_id in kept}
        gone = await bound_in_a_partition_of_its_own(bench, taken, RenewalPolicy(extend_by_ms=DAY))
        bench.gateway.account.bindings.end(
            bench.at_provider((await bench.read(gone)).subs_id), "unbound", bench.gateway.product_now()
        )
        crashes = [*zip(STEPS, kept, strict=True), ("renewal.gone", gone)]
        ends_ = await killed([f"{step}@{id_}" for step, id_ in crashes], redis_server.url(0), bench.endpoint)
        assert ends_ == [EXIT_CRASHED] * len(crashes)

        async def is_free() -> bool:
            return not await redis.exists(*(renewals_lease_key(partition) for partition in taken))

        await until(is_free)
        ends = dict(first)

        async def are_renewed() -> bool:
            await bench.renew()
            numbers = []
            for binding_id in kept:
                one = await bench.read(binding_id)
                numbers.append(one.number)
                ends[binding_id] = one.expires_at
            return numbers == [1] * len(kept)

        await until(are_renewed)
        assert ends == {binding_id: end + DAY for binding_id, end in first.items()}
        for binding_id in kept:
            at_provider = bench.at_provider((await bench.read(binding_id)).subs_id)
            assert at_provider.expires_at * 1000 == ends[binding_id]
            events = [event["type"] for event in await bench.events(binding_id)]
            assert events.count("binding.renewed") == 1
        await bench.renew(gone)  # its job was never filed: it is now
        await bench.work_on((await bench.read(gone)).step_job)
        await bench.renew(gone)
        assert "binding.rebound" in [event["type"] for event in await bench.events(gone)]


async def test_a_renewal_is_told_though_its_binding_s_old_end_passed_before_anybody_could_write_it(
    redis: Redis, redis_server: EmbeddedRedis
) -> None:
    """Redis was away, or no worker there, from the provider's answer until after the end that the record knows."""
    async with benches(redis, hold_ms=200) as (bench,):
        await bench.checked()
        binding_id = await bench.bound(lasts_ms=30 * MINUTE)
        first = await bench.read(binding_id)
        assert await killed([f"renewal.answered@{binding_id}"], redis_server.url(0), bench.endpoint) == [EXIT_CRASHED]
        # As much time passes: both ends, the one on record and the provider's, move back by it.
        past = (await now_ms(redis) - MINUTE) // 1000 * 1000
        await bench.end_at(binding_id, past)
        bench.at_provider(first.subs_id).expires_at += (past - first.expires_at) // 1000

        async def is_renewed() -> bool:
            await bench.renew(binding_id)
            return (await bench.read(binding_id)).number == 1

        await until(is_renewed)
        after = await bench.read(binding_id)
        assert (after.expires_at, [line.what for line in after.history]) == (past + DAY, ["renewed"])
        (event,) = [event for event in await bench.events(binding_id) if event["type"] == "binding.renewed"]
        assert (event["data"]["renewals"], event["data"]["expiration"]) == (1, after.expiration)
        assert await bench.due_at(binding_id) == after.due_at
        await bench.renew(binding_id)
        assert (await bench.read(binding_id)).expires_at == past + 2 * DAY, "and the next one is the next"
