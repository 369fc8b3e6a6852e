"""A real worker process answers /metrics, /live and /ready."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.observation.test_ops import NAME, expressions
from worker.local.redis_server import EmbeddedRedis

_WITHIN_S = 20.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except urllib.error.URLError:  # it does not listen yet
        return 0, ""


@pytest.fixture
def port(redis_server: EmbeddedRedis) -> Iterator[int]:
    """Of a worker of the checkout lane."""
    port = free_port()
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith(("AXN_", "ALIBABA_CLOUD_"))},
        "AXN_REDIS_URL": redis_server.url(4), "AXN_BROKER_URL": redis_server.broker_url(5),
        "AXN_ACCESS_KEY_ID": "testid", "AXN_ACCESS_KEY_SECRET": "testsecret", "AXN_ENDPOINT": "http://127.0.0.1:1",
        "AXN_LISTEN": f"127.0.0.1:{port}",
    }  # fmt: skip
    command = [sys.executable, "-m", "worker.cli", "worker", "--lanes", "checkout", "--log-level", "warning"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("axn worker ready" in line for line in process.stdout)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(_WITHIN_S) == 0


def test_it_is_alive_and_soon_ready_and_tells_its_metrics(port: int) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while get(port, "ready")[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    status, text = get(port, "ready")
    assert (status, json.loads(text)) == (200, {"ok": True, "faults": []})
    assert get(port, "live")[0] == 200
    status, text = get(port, "metrics")
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert status == 200
    assert told["axn_redis_up"] == told['axn_pace_ceiling_per_second{action="BindAxn"}'].replace("50.0", "1.0") == "1.0"
    assert told['axn_queue_messages{lane="checkout"}'] == "0.0"
    families = {family.name: family.type for family in text_string_to_metric_families(text)}
    parts = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    served = {f"{name}{part}" for name, kind in families.items() for part in parts[kind]}
    asked = {name for expression in expressions() for name in NAME.findall(expression)}
    assert asked
    assert asked <= served, "the dashboard and the alerts ask for what a worker tells"
    now_and_always = {
        "axn_renewals_late",
        "axn_batch_idle_seconds",
        "axn_bindings_first_unrenewed_end_timestamp_seconds",
    }
    assert now_and_always <= set(told)
    assert {'axn_jobs_in_flight{lane="renewal"}', 'axn_bindings_ending_unrenewed{why="pace"}'} <= set(told)
