"""A primary, its replica and three Sentinels on loopback."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.ledger.durable_servers import free_port
from tests.redis_topologies.clusters import until
from worker.local.child import child_command
from worker.local.redis_server import EmbeddedRedis, find_server

SERVICE = "orders"
_DOWN_AFTER_MS = 700


@dataclass
class Watched:
    """The servers by port, and the Sentinels' ports."""

    servers: dict[int, EmbeddedRedis]
    sentinels: list[int]
    credentials: str = ""

    def url(self, database: int) -> str:
        """As AXN_REDIS_URL or AXN_BROKER_URL."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://{self.credentials}{hosts}/{SERVICE}/{database}"

    def primary(self) -> int:
        """The port of what the first Sentinel takes for it."""
        with _sentinel(self.sentinels[0]) as sentinel:
            _, port = sentinel.sentinel_get_master_addr_by_name(SERVICE)
            return int(port)

    def kill_primary(self) -> int:
        """End it without notice; its port."""
        port = self.primary()
        os.kill(self.servers[port].pid, signal.SIGKILL)
        return port

    def await_successor(self, of: int) -> None:
        """Until another one is the primary and takes writes."""
        until(lambda: self.primary() != of and self._takes_writes(self.primary()), "nobody takes over")

    def _takes_writes(self, port: int) -> bool:
        with contextlib.closing(redis.Redis(unix_socket_path=str(self.servers[port].socket_path))) as client:
            return bool(client.info("replication")["role"] == "master")


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """All of them, the Sentinels knowing of each other and of the replica."""
    with contextlib.ExitStack() as stack:
        port, other = free_port(), free_port()
        at_once = {"repl-diskless-sync-delay": "0"}
        primary = stack.enter_context(EmbeddedRedis(port=port, options=at_once))
        replica = stack.enter_context(EmbeddedRedis(port=other, options={**at_once, "replicaof": f"127.0.0.1 {port}"}))
        sentinels = [_start(stack, folder, port) for _ in range(3)]
        made = Watched({port: primary, other: replica}, sentinels)
        until(lambda: all(_knows_all(each) for each in sentinels), "the Sentinels do not find each other")
        yield made


def _start(stack: contextlib.ExitStack, folder: Path, watched_port: int) -> int:
    port = free_port()
    file = folder / f"{port}.conf"
    file.write_text(
        f"port {port}\nbind 127.0.0.1\nlogfile {folder}/{port}.log\ndir {folder}\n"
        f"sentinel monitor {SERVICE} 127.0.0.1 {watched_port} 2\n"
        f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}\n"
        f"sentinel failover-timeout {SERVICE} 3000\n"
    )
    running = subprocess.Popen(child_command([str(find_server()), str(file), "--sentinel"]))
    stack.callback(running.wait)
    stack.callback(running.terminate)
    return port


@contextlib.contextmanager
def _sentinel(port: int) -> Iterator[Any]:
    with contextlib.closing(redis.Redis(port=port, decode_responses=True)) as client:
        yield client


def _knows_all(port: int) -> bool:
    try:
        with _sentinel(port) as sentinel:
            told = sentinel.sentinel_master(SERVICE)
    except redis.ConnectionError:
        return False
    return int(told["num-slaves"]) == 1 and int(told["num-other-sentinels"]) == 2
