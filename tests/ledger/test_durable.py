"""Filing waits for a disk or for replicas, on real servers; what a server lacks is told before anything is filed."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from worker.domain.durability import Durability
from worker.errors import DurabilityUnavailableError, IdempotencyConflictError, LedgerUnavailableError
from worker.ledger.durable import DurableOpening
from worker.ledger.keys import job_keys
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

from .durable_servers import Replicated, replicated, server_without_waitaof
from .support import ledger_of, new_job, record_of

SHORT_MS = 100
AMPLE_MS = 10_000


@pytest.fixture(scope="module")
def pair() -> Iterator[Replicated]:
    with replicated() as pair:
        yield pair


@asynccontextmanager
async def opening_on(
    server: EmbeddedRedis, *, replicas: int = 1, timeout_ms: int = AMPLE_MS
) -> AsyncIterator[tuple[DurableOpening, Redis]]:
    """On connections of its own, which have written nothing yet."""
    client = connect(server.url(), timeout_ms=2000 + timeout_ms)
    opening = DurableOpening(client, ledger_of(client), replicas=replicas, timeout_ms=timeout_ms)
    try:
        yield opening, client
    finally:
        await opening.aclose()


def filed(answer: tuple[Sequence[int | IdempotencyConflictError], str]) -> tuple[list[bool], str]:
    """Which jobs were filed now, and what was not reached."""
    answers, shortfall = answer
    return [bool(one) for one in answers], shortfall


async def set_config(client: Redis, name: str, value: str) -> None:
    await client.config_set(name, value)


@pytest.mark.parametrize("appendfsync", ["always", "everysec"])
async def test_with_an_append_only_file_a_job_is_confirmed_to_be_on_disk(appendfsync: str) -> None:
    with EmbeddedRedis(options={"appendfsync": appendfsync}) as server:
        async with opening_on(server) as (opening, client):
            await opening.check(Durability.FSYNCED)
            assert filed(await opening.open_many([new_job()], Durability.FSYNCED)) == ([True], "")
            assert (await record_of(client, new_job().job_id))["state"] == "accepted"


async def test_known_new_and_conflicting_jobs_are_answered_in_their_order(redis_server: EmbeddedRedis) -> None:
    async with opening_on(redis_server) as (opening, client):
        await client.flushall()
        await opening.open_many([new_job("known")], Durability.FSYNCED)
        jobs = [new_job("new"), new_job("known"), new_job("known", digest="other")]
        answers, shortfall = await opening.open_many(jobs, Durability.FSYNCED)
        assert filed((answers[:2], shortfall)) == ([True, False], "")
        assert isinstance(answers[2], IdempotencyConflictError)


async def test_nothing_is_written_where_there_are_no_jobs(redis_server: EmbeddedRedis) -> None:
    async with opening_on(redis_server) as (opening, client):
        await client.flushall()
        assert await opening.open_many([], Durability.FSYNCED) == ([], "")
        assert await client.dbsize() == 0


async def test_a_wait_longer_than_the_disk_takes_is_told_and_the_job_is_filed() -> None:
    with EmbeddedRedis() as server:
        async with opening_on(server, timeout_ms=SHORT_MS) as (opening, client):
            await opening.check(Durability.FSYNCED)
            await set_config(client, "appendfsync", "no")
            answers, shortfall = await opening.open_many([new_job()], Durability.FSYNCED)
            assert filed((answers, shortfall)) == ([True], "it was not on disk within 0.1 s (AXN_DURABILITY_TIMEOUT)")
            assert (await record_of(client, new_job().job_id))["state"] == "accepted"


async def test_a_server_without_an_append_only_file_is_told_of() -> None:
    with EmbeddedRedis(options={"appendonly": "no"}) as server:
        async with opening_on(server) as (opening, _):
            with pytest.raises(DurabilityUnavailableError, match=r"append-only file is off; set `appendonly yes`"):
                await opening.check(Durability.FSYNCED)


async def test_a_server_that_never_forces_its_file_to_disk_is_told_of() -> None:
    with EmbeddedRedis(appendfsync="no") as server:
        async with opening_on(server) as (opening, _):
            with pytest.raises(DurabilityUnavailableError, match="set `appendfsync everysec` or `always`"):
                await opening.check(Durability.FSYNCED)


async def test_a_server_older_than_waitaof_is_told_of() -> None:
    with EmbeddedRedis(server_without_waitaof()) as server:
        async with opening_on(server) as (opening, _):
            with pytest.raises(DurabilityUnavailableError, match=r"has no WAITAOF; use Redis 7\.2 or Valkey"):
                await opening.check(Durability.FSYNCED)


async def test_an_older_server_waits_for_its_replicas_all_the_same() -> None:
    with replicated(server_without_waitaof()) as old:
        async with opening_on(old.primary) as (opening, _):
            await opening.check(Durability.REPLICATED)
            assert filed(await opening.open_many([new_job()], Durability.REPLICATED)) == ([True], "")


async def test_a_server_with_too_few_replicas_is_told_of(redis_server: EmbeddedRedis, pair: Replicated) -> None:
    for server, replicas, told in ((redis_server, 1, "0 of 1"), (pair.primary, 2, "1 of 2")):
        async with opening_on(server, replicas=replicas) as (opening, _):
            with pytest.raises(DurabilityUnavailableError, match=f"{told} replicas are connected"):
                await opening.check(Durability.REPLICATED)


@pytest.mark.parametrize(("durability", "command"), [(Durability.FSYNCED, "waitaof"), (Durability.REPLICATED, "info")])
async def test_a_user_that_may_not_ask_is_told_of(
    redis_server: EmbeddedRedis, durability: Durability, command: str
) -> None:
    async with opening_on(redis_server) as (_, admin):
        await admin.acl_setuser("narrow", enabled=True, nopass=True, keys=["*"], commands=["+@all", f"-{command}"])
        client = connect(redis_server.url() + "&username=narrow&password=x", timeout_ms=2000)
        opening = DurableOpening(client, ledger_of(client), replicas=1, timeout_ms=AMPLE_MS)
        try:
            with pytest.raises(DurabilityUnavailableError, match="allow WAIT, WAITAOF and INFO in its ACL"):
                await opening.check(durability)
        finally:
            await opening.aclose()
            await admin.acl_deluser("narrow")


async def test_a_user_that_may_not_read_the_configuration_is_served(redis_server: EmbeddedRedis) -> None:
    async with opening_on(redis_server) as (_, admin):
        await admin.acl_setuser("narrow", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config"])
        client = connect(redis_server.url() + "&username=narrow&password=x", timeout_ms=2000)
        opening = DurableOpening(client, ledger_of(client), replicas=1, timeout_ms=AMPLE_MS)
        try:
            await opening.check(Durability.FSYNCED)
        finally:
            await opening.aclose()
            await admin.acl_deluser("narrow")


async def test_a_job_is_on_the_replica_when_it_is_confirmed(pair: Replicated) -> None:
    async with opening_on(pair.primary) as (opening, _):
        await opening.check(Durability.REPLICATED)
        job = new_job("on the replica")
        assert filed(await opening.open_many([job], Durability.REPLICATED)) == ([True], "")
        replica = connect(pair.replica.url(), timeout_ms=2000)
        assert (await record_of(replica, job.job_id))["state"] == "accepted"
        await replica.aclose()


async def test_a_replica_that_hangs_is_told_and_asking_again_waits_for_the_first_write(pair: Replicated) -> None:
    job = new_job("while the replica hangs")
    with pair.replica_stopped():
        # Each on connections that wrote nothing before: what an earlier process wrote is waited for, too.
        for answer in (True, False):
            async with opening_on(pair.primary, timeout_ms=SHORT_MS) as (opening, client):
                await opening.check(Durability.REPLICATED)
                answers, shortfall = await opening.open_many([job], Durability.REPLICATED)
                assert filed((answers, shortfall)) == (
                    [answer],
                    "0 of 1 replicas had it within 0.1 s (AXN_DURABILITY_TIMEOUT)",
                )
                assert (await record_of(client, job.job_id))["state"] == "accepted"
    async with opening_on(pair.primary) as (opening, _):
        assert filed(await opening.open_many([job], Durability.REPLICATED)) == ([False], "")


async def test_a_filing_whose_connection_broke_is_sent_again_and_confirmed(pair: Replicated) -> None:
    async with opening_on(pair.primary) as (opening, client), opening_on(pair.primary) as (_, other):
        await opening.check(Durability.REPLICATED)
        await other.client_kill_filter(_type="normal", skipme=True)
        job = new_job("after a break")
        assert filed(await opening.open_many([job], Durability.REPLICATED)) == ([True], "")
        assert (await record_of(client, job.job_id))["state"] == "accepted"


async def test_a_server_is_asked_once_and_again_only_after_it_fell_short() -> None:
    with EmbeddedRedis(appendfsync="always") as server:
        async with opening_on(server) as (opening, client):
            await opening.check(Durability.FSYNCED)
            await set_config(client, "appendonly", "no")
            await opening.check(Durability.FSYNCED)
            answers, shortfall = await opening.open_many([new_job()], Durability.FSYNCED)
            assert filed((answers, shortfall))[0] == [True]
            assert shortfall.startswith("the server refused to wait")
            with pytest.raises(DurabilityUnavailableError):
                await opening.check(Durability.FSYNCED)


async def test_a_refusal_is_not_remembered() -> None:
    with EmbeddedRedis(options={"appendonly": "no"}, stop_grace_s=0.5) as server:
        async with opening_on(server) as (opening, client):
            with pytest.raises(DurabilityUnavailableError):
                await opening.check(Durability.FSYNCED)
            await set_config(client, "appendonly", "yes")
            await opening.check(Durability.FSYNCED)


async def test_a_filing_that_fails_in_the_server_promises_nothing(redis_server: EmbeddedRedis) -> None:
    async with opening_on(redis_server) as (opening, client):
        await client.flushall()
        job = new_job()
        await client.set(job_keys(job.job_id).timetable, "no sorted set")
        with pytest.raises(LedgerUnavailableError):
            await opening.open_many([job], Durability.FSYNCED)


async def test_a_redis_that_is_away_promises_nothing(tmp_path: Path) -> None:
    client = connect(f"unix://{tmp_path}/redis.sock", timeout_ms=200)
    opening = DurableOpening(client, ledger_of(client), replicas=1, timeout_ms=SHORT_MS)
    for durability in (Durability.FSYNCED, Durability.REPLICATED):
        with pytest.raises(LedgerUnavailableError, match="AXN_REDIS_URL"):
            await opening.check(durability)
        with pytest.raises(LedgerUnavailableError, match="AXN_REDIS_URL"):
            await opening.open_many([new_job()], durability)
    await opening.aclose()
