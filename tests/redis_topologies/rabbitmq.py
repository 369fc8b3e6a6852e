"""A RabbitMQ of one's own on loopback, from Debian's package."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.ledger.durable_servers import free_port
from worker.local.child import child_command, kill_group
from worker.local.redis_server import new_folder

#: Debian's wrapper at /usr/sbin changes to its own user and folder.
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_READY_WITHIN_S = 60


class RabbitMQ:
    """Runs while its `with` block lasts."""

    def __init__(self) -> None:
        if not SERVER.exists() or shutil.which("epmd") is None:
            pytest.skip("RabbitMQ is not installed: apt-get install rabbitmq-server")
        self.port, self._dist_port, self._epmd_port = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._folder = new_folder()
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        mapper = [shutil.which("epmd") or "", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._stack.enter_context(_child(mapper, self._env()))
        self._server = self._stack.enter_context(contextlib.ExitStack())
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """On the data that are there."""
        running = self._server.enter_context(_child([str(SERVER)], self._env()))
        deadline = time.monotonic() + _READY_WITHIN_S
        while not self._listens():
            assert running.poll() is None, "RabbitMQ ended at its start"
            assert time.monotonic() < deadline, "RabbitMQ does not come up"
            time.sleep(0.1)

    def stop(self) -> None:
        """Its durable queues and messages stay."""
        self._server.close()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.settimeout(2)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return bool(connection.recv(8))
        return False

    def _env(self) -> dict[str, str]:
        folder = str(self._folder)
        return {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"axn{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": folder,
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONFIG_FILE": f"{folder}/none",
        }


@contextlib.contextmanager
def _child(command: list[str], env: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    running = subprocess.Popen(
        child_command(command), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(15)
        kill_group(running.pid)
        running.wait()
