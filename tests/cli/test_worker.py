"""`axn worker` refuses to start where it could not work."""

import subprocess
import sys
import threading
from itertools import takewhile

import pytest
import redis

from worker.ledger.formats import FORMATS_KEY
from worker.local.redis_server import EmbeddedRedis

from .conftest import Axn


def test_without_credentials_it_ends_with_2_and_names_them(axn: Axn) -> None:
    ended = axn("worker")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("axn: AXN_ACCESS_KEY_ID and AXN_ACCESS_KEY_SECRET")
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in ended.err


@pytest.mark.parametrize("one", ["AXN_ACCESS_KEY_ID", "AXN_ACCESS_KEY_SECRET"])
def test_half_of_the_credentials_is_not_enough(axn: Axn, monkeypatch: pytest.MonkeyPatch, one: str) -> None:
    monkeypatch.setenv(one, "half-of-it")
    ended = axn("worker")
    assert ended.status == 2
    assert "AXN_ACCESS_KEY_SECRET" in ended.err
    assert "half-of-it" not in ended.err


def test_a_malformed_callback_secret_ends_with_2_without_showing_it(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "id"), ("ACCESS_KEY_SECRET", "s3cr3t"), ("CALLBACK_SECRET", "whsec_%%%")):
        monkeypatch.setenv(f"AXN_{name}", value)
    ended = axn("worker")
    assert ended.status == 2
    assert "AXN_CALLBACK_SECRET" in ended.err
    assert "%%%" not in ended.err
    assert "s3cr3t" not in ended.err


@pytest.mark.parametrize("lanes", ["", "x", "checkout,x", "checkout,,batch", "axn.checkout", "Checkout"])
def test_an_unknown_lane_ends_with_2_and_the_lanes_are_named(axn: Axn, lanes: str) -> None:
    ended = axn("worker", f"--lanes={lanes}")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "axn: --lanes: must be some of checkout, batch, renewal, callback\n"


def test_an_unknown_log_level_ends_with_2(axn: Axn) -> None:
    ended = axn("worker", "--log-level=loud")
    assert (ended.status, ended.err) == (2, "axn: --log-level: must be debug, info, warning or error\n")


def test_a_worker_tells_of_a_redis_that_could_lose_jobs_and_starts_all_the_same(
    axn: Axn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedRedis(options={"maxmemory-policy": "allkeys-lru"}) as server:
        for name, value in (
            ("ACCESS_KEY_ID", "id"), ("ACCESS_KEY_SECRET", "s3cr3t"), ("REDIS_URL", server.url(0)),
            ("BROKER_URL", server.broker_url(1)),
        ):  # fmt: skip
            monkeypatch.setenv(f"AXN_{name}", value)
        command = [sys.executable, "-m", "worker.cli", "worker", "--lanes", "batch"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
            assert started.stdout is not None
            guard = threading.Timer(60, started.kill)
            guard.start()
            lines = list(takewhile(lambda line: line != "axn worker ready\n", started.stdout))
            started.terminate()
            rest = started.stdout.read()
            guard.cancel()
    assert started.returncode == 0, rest
    told = [line for line in lines if "the ledger's Redis" in line]
    assert len(told) == 1
    assert "WARNING" in told[0]
    assert "maxmemory-policy is allkeys-lru" in told[0]


def test_a_worker_that_is_too_old_for_its_ledger_names_the_release_to_run(
    axn: Axn, monkeypatch: pytest.MonkeyPatch, ledger: "redis.Redis"
) -> None:
    monkeypatch.setenv("AXN_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AXN_ACCESS_KEY_SECRET", "s3cr3t")
    ledger.hset(FORMATS_KEY, mapping={"job": 99, "job:by": "42.0"})
    command = [sys.executable, "-m", "worker.cli", "worker", "--lanes", "batch"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    ledger.delete(FORMATS_KEY)
    assert ended.returncode == 1
    assert "axn: the ledger holds what this release cannot read: job 99 (this release reads 1)" in ended.stderr
    assert "run release 42.0 or newer" in ended.stderr
    assert "axn worker ready" not in ended.stdout
