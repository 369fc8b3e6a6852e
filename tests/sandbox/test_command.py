"""`axn sandbox`: its options reach the sandbox, and it says how to use it."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from worker.cli.sandbox import official_clients

from .conftest import PHONE_A, POOL
from .official_clients import AlibabaCloudClient, LegacyClient, in_shanghai

AXN = Path(sys.executable).with_name("axn")
Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run() -> Iterator[Run]:
    """Start `axn sandbox` with these options."""
    started: list[subprocess.Popen[str]] = []

    def run_one(*options: str) -> "subprocess.Popen[str]":
        started.append(subprocess.Popen([AXN, "sandbox", *options], stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run_one
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_switches_reach_the_sandbox(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "record"
    options = ["--pool", f"{POOL}=2@上海", "--strict-city", POOL, "--same-a", "refuse", "--for-sale", "7@北京"]
    process = run("--json", *options, "--no-magic-numbers", "--record", str(file))
    url = json.loads(first_line(process))["url"]
    wish = {"PoolKey": POOL, "Expiration": in_shanghai(hours=1)}
    for client in (AlibabaCloudClient(url, "testsecret"), LegacyClient(url, "testsecret")):
        with urllib.request.urlopen(urllib.request.Request(f"{url}/_sandbox/reset", method="POST")) as answer:
            assert answer.status == 200
        codes = [
            client.call("BindAxn", **wish, **changes)["Code"]
            for changes in (
                {"PhoneNoA": PHONE_A, "ExpectCity": "北京"},
                {"PhoneNoA": PHONE_A},
                {"PhoneNoA": PHONE_A},
                {"PhoneNoA": "19900002002"},
            )
        ]
        assert codes == ["isv.NO_AVAILABLE_NUMBER", "OK", "isv.NO_AVAILABLE_NUMBER", "OK"]
        remain = client.call("QuerySecretNoRemain", City="北京", SpecId=1)["SecretRemainDTO"]
        assert remain["Amount"] == 7
    assert len(file.read_text(encoding="utf-8").splitlines()) == 10


def test_it_says_how_to_point_the_official_clients_at_it(run: Run) -> None:
    process = run()
    url = first_line(process).split()[2]
    address = urlsplit(url)
    assert process.stdout is not None
    said = "".join(process.stdout.readline() for _ in range(3))
    assert said == official_clients(url) + "\n"
    assert f'endpoint="{address.netloc}", protocol="HTTP"' in said
    assert f'port={address.port}) and request.set_endpoint("127.0.0.1")' in said


@pytest.mark.parametrize(
    "options", [["--same-a", "x"], ["--strict-city", "FC0"], ["--limit", "Bind=1"], ["--for-sale", "x"]]
)
def test_a_switch_that_makes_no_sense_ends_the_command(options: list[str]) -> None:
    ran = subprocess.run([AXN, "sandbox", *options], capture_output=True, text=True, timeout=20, check=False)
    assert ran.returncode != 0
    assert "Traceback" not in ran.stderr
