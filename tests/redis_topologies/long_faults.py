"""What a cluster's client does while a node is away: `make test-redis`."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import ledger_of, new_job
from tests.redis_topologies.clusters import Cluster, cluster, until
from worker.domain.durability import Durability
from worker.errors import LedgerUnavailableError
from worker.ledger.durable import DurableOpening
from worker.ledger.keys import ALL_PARTITIONS, timetable_key
from worker.ledger.timetable import Timetable
from worker.redis_scripts import connect, longest_call_s

TIMEOUT_MS = 1_000


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture
async def client(nodes: Cluster) -> AsyncIterator[Redis]:
    made = connect(nodes.url, timeout_ms=TIMEOUT_MS)
    yield made
    await made.aclose()


def partitions_of(nodes: Cluster, port: int) -> set[int]:
    return {number for number in ALL_PARTITIONS if nodes.holder_of(timetable_key(number)).port == port}


async def test_the_timetable_of_the_other_nodes_goes_on(nodes: Cluster, client: Redis) -> None:
    node = nodes.holder_of(timetable_key(0))
    dark = partitions_of(nodes, node.port)
    for number in ALL_PARTITIONS:
        await client.zadd(timetable_key(number), {f"checkout:{number:026}": 1})
    timetable = Timetable(client, next_look_ms=60_000, most_per_partition=10)
    # The replica of the dead one must not take over before it is looked.
    replicas = [other for other in nodes.nodes if other.client.info("replication")["role"] == "slave"]
    for replica in replicas:
        replica.client.config_set("cluster-replica-no-failover", "yes")
    node.kill()
    assert await timetable.is_anything_due()
    taken = await timetable.take_due()
    assert {int(id_) for _, id_ in taken.entries} == set(ALL_PARTITIONS) - dark
    for replica in replicas:
        replica.client.config_set("cluster-replica-no-failover", "no")
    await asyncio.to_thread(until, lambda: not partitions_of(nodes, node.port), "nobody takes over")
    later = await timetable.take_due()
    assert {int(id_) for _, id_ in later.entries} == dark


async def test_a_call_to_a_node_that_hangs_is_answered_by_its_successor(nodes: Cluster, client: Redis) -> None:
    script: Any = client.register_script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")
    key = timetable_key(3) + ":test"
    await script([key], ["before"])
    node = nodes.holder_of(key)
    os.kill(node.server.pid, signal.SIGSTOP)
    began_s = time.monotonic()
    try:
        assert await script([key], ["after"]) == "after"
        assert time.monotonic() - began_s < longest_call_s(client) + 3
    finally:
        os.kill(node.server.pid, signal.SIGCONT)


async def test_a_filing_is_not_called_replicated_where_one_node_has_no_replica(nodes: Cluster, client: Redis) -> None:
    durable = DurableOpening(client, ledger_of(client), replicas=1, timeout_ms=300)
    jobs = [new_job(str(number)) for number in range(40)]
    await durable.check(Durability.REPLICATED)
    _, shortfall = await durable.open_many(jobs, Durability.REPLICATED)
    assert not shortfall
    replicas = [node for node in nodes.nodes if node.client.info("replication")["role"] == "slave"]
    for replica in replicas:
        os.kill(replica.server.pid, signal.SIGSTOP)
        try:
            _, shortfall = await durable.open_many(jobs, Durability.REPLICATED)
            assert shortfall.startswith("0 of 1 replicas had it")
        finally:
            os.kill(replica.server.pid, signal.SIGCONT)
        await asyncio.to_thread(nodes.wait_until_whole)


async def test_a_filing_over_a_dead_node_is_an_error(nodes: Cluster, client: Redis) -> None:
    ledger = ledger_of(client)
    durable = DurableOpening(client, ledger, replicas=1, timeout_ms=300)
    jobs = [new_job(str(number)) for number in range(40)]
    await ledger.open_many(jobs)
    nodes.holder_of(timetable_key(0)).kill()
    for filing in (ledger.open_many(jobs), durable.open_many(jobs, Durability.REPLICATED)):
        with pytest.raises(LedgerUnavailableError, match="cannot be reached"):
            await filing
