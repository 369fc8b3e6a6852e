"""A worker process of its own, with a Redis that may be broken, and a way to the broker on which bytes can get lost."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from tests.broker.black_hole import BlackHole
from tests.local.processes import wait_until
from worker import producers
from worker.domain.bind_request import BindRequest
from worker.domain.job import Job
from worker.local.redis_server import EmbeddedRedis

A = "13900001234"
READY_WITHIN_S = 20.0


class WorkerUnderTest:
    """A checkout worker, started again where a test has found it ended."""

    def __init__(self, env: Mapping[str, str], server: EmbeddedRedis, way: BlackHole, log: Path) -> None:
        self.env = dict(env)
        self.server = server
        self.way = way
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def start(self, *command: str) -> None:
        command = command or (
            sys.executable,
            "-m",
            "worker.cli",
            "worker",
            "--lanes",
            "checkout",
            "--log-level",
            "debug",
        )
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        wait_until(lambda: "axn worker ready" in self.log or not self.is_running, READY_WITHIN_S)
        assert self.is_running, self.log

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ends_after(self, number: signal.Signals) -> int:
        """How it ends after this signal."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(20)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """While the block lasts, the worker does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def redis(self, database: int = 0) -> "redis.Redis":
        return redis.Redis(unix_socket_path=str(self.server.socket_path), db=database)

    def send(self, entry: bytes | str) -> None:
        """Put a raw entry on the worker's queue."""
        with self.redis(1) as client:
            client.lpush("axn.checkout", entry)

    def set_aside(self) -> list[dict[str, Any]]:
        """What the worker could not read, newest first."""
        with self.redis(1) as client:
            return [json.loads(entry) for entry in cast("list[bytes]", client.lrange("axn1:poison_messages", 0, -1))]

    def under_way(self) -> int:
        """Messages that the worker holds."""
        with self.redis(1) as client:
            return cast("int", client.hlen("unacked"))

    def submit(self) -> str:
        return producers.submit(BindRequest(phone_no_a=A, expires_in="2h"))

    def does_a_job(self, within_s: float = 10.0) -> Job:
        """Submit a job and wait for its end."""
        began_s = time.monotonic()
        job = producers.wait(self.submit(), within_s)
        assert time.monotonic() - began_s < within_s
        assert job.is_bound
        return job


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    command = [sys.executable, "-m", "worker.cli", "sandbox", "--json"]
    command += ["--pool", "FC1=3000@上海", "--access-key", "testid:testsecret", "--latency-ms", "1"]
    sandbox = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert sandbox.stdout is not None
    try:
        yield str(json.loads(sandbox.stdout.readline())["url"])
    finally:
        sandbox.terminate()
        sandbox.wait()
        sandbox.stdout.close()


@pytest.fixture(scope="session")
def one_worker(sandbox_url: str) -> Iterator[WorkerUnderTest]:
    with EmbeddedRedis() as server, BlackHole(server.socket_path) as way, tempfile.TemporaryDirectory() as folder:
        before = dict(os.environ)
        os.environ.update({
            "AXN_REDIS_URL": server.url(0),
            "AXN_BROKER_URL": f"redis://127.0.0.1:{way.port}/1",
            "AXN_ENDPOINT": sandbox_url,
            "AXN_ACCESS_KEY_ID": "testid",
            "AXN_ACCESS_KEY_SECRET": "testsecret",
            "AXN_POOL_KEY": "FC1",
            "AXN_PACE__BIND_AXN_PER_SECOND": "200",
            "AXN_FIRST_LOOK": "1s",
        })  # fmt: skip
        producers.close()  # whoever used them before in this process had another system
        worker = WorkerUnderTest(os.environ, server, way, Path(folder) / "worker.log")
        try:
            yield worker
        finally:
            producers.close()
            worker.stop()
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture
def worker(one_worker: WorkerUnderTest) -> WorkerUnderTest:
    """It runs, and nothing is left of earlier tests: an acknowledgement lost in an outage leaves its record behind."""
    if not one_worker.is_running:
        one_worker.start()
    with one_worker.redis(1) as client:
        client.delete("axn1:poison_messages", "unacked", "unacked_index")
    return one_worker
