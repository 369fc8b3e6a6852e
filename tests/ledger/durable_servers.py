"""Servers that can, or cannot, give a durability."""

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from worker.local.redis_server import EmbeddedRedis

#: The server sends its data to a new replica at once, not after gathering others for five seconds.
_AT_ONCE = {"repl-diskless-sync-delay": "0"}


def server_without_waitaof() -> Path:
    """A Redis older than 7.2, such as Debian's; skips where none is installed."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server is installed")
    with EmbeddedRedis(Path(found)) as server, redis.Redis.from_url(server.url(), decode_responses=True) as client:
        major, minor = client.info("server")["redis_version"].split(".")[:2]
        if (int(major), int(minor)) >= (7, 2):
            pytest.skip("the redis-server installed has WAITAOF")
    return Path(found)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class Replicated:
    """A primary and its replica."""

    primary: EmbeddedRedis
    replica: EmbeddedRedis

    @contextlib.contextmanager
    def replica_stopped(self) -> Iterator[None]:
        """The replica hangs: its connection stands, and nothing is read from it."""
        os.kill(self.replica.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.replica.pid, signal.SIGCONT)


@contextlib.contextmanager
def replicated(server: Path | None = None) -> Iterator[Replicated]:
    """Both running, the replica in step."""
    port = free_port()
    with (
        EmbeddedRedis(server, port=port, options=_AT_ONCE) as primary,
        EmbeddedRedis(server, options={"replicaof": f"127.0.0.1 {port}"}) as replica,
        redis.Redis.from_url(primary.url(), decode_responses=True) as client,
    ):
        deadline = time.monotonic() + 20
        while client.wait(1, 100) < 1:
            assert time.monotonic() < deadline, "the replica does not come up"
        yield Replicated(primary, replica)
