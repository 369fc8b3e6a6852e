"""The ledger on a cluster of six nodes, with workers in their own processes."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, TryAgainError
from typer.testing import CliRunner

from tasks import Durability, JobState, submit, submit_many
from tests.redis_topologies.clusters import Cluster, Node, port_of, until
from tests.redis_topologies.guide import line_of
from tests.redis_topologies.rights import BROKER_USER, LEDGER_USER, PASSWORD
from tests.redis_topologies.support import Shop
from tests.redis_topologies.whole_way import MANY, axn, go_the_whole_way
from worker.cli.main import app
from worker.errors import LedgerUnavailableError
from worker.ledger.keys import ALL_PARTITIONS, partition_tag, timetable_key
from worker.local.redis_server import EmbeddedRedis
from worker.redis_faults import LEAST_ACL, asking
from worker.redis_scripts import connect

SET = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])"


@pytest.fixture
async def client(nodes: Cluster) -> AsyncIterator[Redis]:
    made = connect(nodes.url, timeout_ms=2000)
    yield made
    await made.aclose()


def keys() -> list[str]:
    """One of each partition."""
    name = uuid4().hex
    return [f"axn1:{partition_tag(partition)}:test:{name}" for partition in ALL_PARTITIONS]


def test_the_partitions_are_on_all_primaries(nodes: Cluster) -> None:
    holders = {nodes.holder_of(timetable_key(partition)).port for partition in ALL_PARTITIONS}
    assert len(holders) == 3


def test_everything_works_on_a_cluster(cluster_shop: Shop) -> None:
    go_the_whole_way(cluster_shop)


def test_the_doctor_looks_at_each_node(cluster_shop: Shop, nodes: Cluster) -> None:
    node = nodes.holder_of("{p03}")
    node.client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = [json.loads(line) for line in _doctor().splitlines()]
    finally:
        node.client.config_set("maxmemory-policy", "noeviction")
    told = [finding["told"] for finding in found if finding["area"] == "redis.settings"]
    assert any("allkeys-lru" in one for one in told)
    assert any("append-only file on" in one for one in told)


def _doctor() -> str:
    return str(CliRunner().invoke(app, ["doctor", "--offline", "--json"]).output)  # whatever its exit status


def test_a_filing_waits_for_the_replicas_of_all_nodes(cluster_shop: Shop, nodes: Cluster) -> None:
    rows = submit_many((cluster_shop.request(f"durable-{n}") for n in range(MANY)), durability=Durability.REPLICATED)
    held = [node for node in nodes.nodes if node.client.info("replication")["role"] == "slave"]
    for row in rows:
        assert any(row.job_id in key for node in held for key in node.client.keys(f"*job:{row.job_id}"))
    submit(cluster_shop.request("on-disk"), durability=Durability.FSYNCED)


async def test_a_node_without_the_scripts_is_given_them(client: Redis, nodes: Cluster) -> None:
    script: Any = client.register_script(SET)
    places = keys()
    for flush in (True, False, True):
        if flush:
            for node in nodes.nodes:
                node.client.script_flush()
        assert await asyncio.gather(*(script([key], [key]) for key in places)) == places
    for node in nodes.nodes:
        node.client.script_flush()
    pipeline = client.pipeline(transaction=False)
    for key in places:
        await script([key], [key], client=pipeline)
    pipeline.time()
    *answers, (seconds, _) = await pipeline.execute()
    assert answers == places
    assert seconds > 0


async def test_connections_that_the_nodes_closed_are_made_anew(client: Redis, nodes: Cluster) -> None:
    async def ask() -> None:
        assert await client.ping()
        for key in keys():
            await client.set(key, "1")
        pipeline = client.pipeline(transaction=False)
        for key in keys():
            pipeline.get(key)
        assert await pipeline.execute() == [None] * len(ALL_PARTITIONS)

    await ask()
    for _ in range(3):
        for node in nodes.nodes:
            node.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await ask()


@pytest.fixture
def moving(nodes: Cluster) -> Iterator[Any]:
    """Slots being moved away by hand, and put back."""
    moves: list[tuple[int, Node, Node]] = []

    def begin(key: str) -> tuple[int, Node, Node]:
        slot = nodes.nodes[0].client.execute_command("CLUSTER", "KEYSLOT", key)
        source = nodes.holder_of(key)
        target = next(node for node in nodes.nodes if node.slots() and node is not source)
        target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        moves.append((slot, source, target))
        return slot, source, target

    yield begin
    for slot, source, target in moves:
        carry(slot, target, source)


def carry(slot: int, source: Node, target: Node) -> None:
    """Give a slot with all its keys to another primary."""
    target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    carry_keys(slot, source, target)
    settle(slot, source, target)


def carry_keys(slot: int, source: Node, target: Node) -> None:
    while names := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)


def settle(slot: int, source: Node, target: Node) -> None:
    for node in (target, source):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target.id)


async def test_a_slot_is_followed_while_it_moves_and_after(client: Redis, moving: Any) -> None:
    script: Any = client.register_script(SET)
    key = f"axn1:{{moving-{uuid4().hex}}}:k"
    await script([key], ["before"])
    slot, source, target = moving(key)
    carry_keys(slot, source, target)
    # ASK: the key is at the target already, and the slot is not yet. Many at once, so that connections are several.
    assert set(await asyncio.gather(*(script([key], ["while"]) for _ in range(50)))) == {"while"}
    pipeline = client.pipeline(transaction=False)
    pipeline.get(key)
    await script([key], ["queued"], client=pipeline)
    assert await pipeline.execute() == ["while", "queued"]
    settle(slot, source, target)
    # MOVED
    assert await client.get(key) == "queued"
    pipeline = client.pipeline(transaction=True)
    pipeline.set(key, "after")
    pipeline.get(key)
    assert await pipeline.execute() == [True, "after"]


async def test_keys_that_are_torn_apart_by_a_move_are_waited_for(client: Redis, moving: Any) -> None:
    script: Any = client.register_script("return redis.call('MGET', KEYS[1], KEYS[2])")
    tag = uuid4().hex
    both = [f"axn1:{{{tag}}}:a", f"axn1:{{{tag}}}:b"]
    for key in both:
        await client.set(key, "1")
    slot, source, target = moving(both[0])
    source.client.execute_command("MIGRATE", "127.0.0.1", target.port, both[0], 0, 5000)
    with pytest.raises(TryAgainError):
        await script(both)
    asked = asyncio.create_task(script(both))
    await asyncio.sleep(0)
    carry_keys(slot, source, target)
    settle(slot, source, target)
    assert await asked == ["1", "1"]


async def test_a_url_of_the_wrong_kind_is_told(nodes: Cluster, broker: EmbeddedRedis) -> None:
    for url, told in (
        (f"redis://127.0.0.1:{nodes.nodes[0].port}/0", "is one node of a cluster; write redis+cluster:// in"),
        (f"redis+cluster://127.0.0.1:{port_of(broker)}", "is no cluster; write redis:// in AXN_REDIS_URL"),
        ("redis+cluster://127.0.0.1:1", "cannot be reached; check AXN_REDIS_URL"),
    ):
        client = connect(url, timeout_ms=1000)
        with pytest.raises(LedgerUnavailableError) as refused:
            await ask_all(client)
        assert told in str(refused.value)
        await client.aclose()


async def ask_all(client: Redis) -> None:
    async with asking(client, is_one_call=False):
        for key in keys():
            await client.get(key)


def test_the_guide_and_the_errors_name_the_same_rights() -> None:
    assert line_of("ACL SETUSER axn-ledger") == LEAST_ACL


HARM = ("CONFIG GET *", "FLUSHALL", "FLUSHDB", "KEYS *", "SHUTDOWN", "ACL LIST", "SAVE", "GET somebody-else")


async def test_the_users_may_do_no_harm(nodes: Cluster, broker: EmbeddedRedis) -> None:
    for user, port in ((LEDGER_USER, nodes.nodes[0].port), (BROKER_USER, port_of(broker))):
        client = connect(f"redis://{user}:{PASSWORD}@127.0.0.1:{port}/0", timeout_ms=1000)
        for command in HARM:
            with pytest.raises(NoPermissionError):
                await client.execute_command(*command.split())  # type: ignore[no-untyped-call]
        await client.aclose()
        # No server of these takes DEBUG from anybody; its own judgement is what counts where one does.
        told = nodes.nodes[0].client.execute_command("ACL", "DRYRUN", user, "DEBUG", "SLEEP", "0")
        assert "no permissions" in told


def test_a_primary_that_is_killed_costs_seconds_and_no_job(cluster_shop: Shop, nodes: Cluster) -> None:
    order = uuid4().hex
    node = nodes.holder_of(timetable_key(0))
    filed = [row.job_id for row in submit_many(cluster_shop.request(f"{order}-{n}") for n in range(MANY))]
    node.kill()
    # What is asked of the dead node's slots is refused; the same key after the failover is the same job.
    refused = []
    for n in range(MANY, 2 * MANY):
        request = cluster_shop.request(f"{order}-{n}", idempotency_key=f"{order}-{n}")
        try:
            filed.append(submit(request))
        except LedgerUnavailableError:
            refused.append(request)
            break
    assert refused
    until(lambda: node not in (nodes.holder_of(timetable_key(n)) for n in ALL_PARTITIONS), "nobody takes over")
    filed += [row.job_id for row in submit_many(refused)]
    jobs = cluster_shop.ended(filed)
    assert {job.state for job in jobs} <= {JobState.BOUND, JobState.IN_DOUBT}
    bindings = {job.out_order_id: cluster_shop.bindings_of(job.out_order_id) for job in jobs}
    assert all(len(found) == 1 for found in bindings.values())
    nodes.revive()
    axn("status")
