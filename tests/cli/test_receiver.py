"""`axn receiver` as a process of its own, and what it prints."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from .conftest import Axn

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PHONE, SUBS_ID = "13800001111", "1000000768798832"
DATA: dict[str, Any] = {"phone_no_x": PHONE, "subs_id": SUBS_ID, "message": f"of {PHONE}", "count": int(PHONE)}


def call(url: str, data: object = DATA, *, webhook_id: str = "k1-1", secret: str = SECRET) -> int:
    body = json.dumps({"type": "bind.succeeded", "data": data})
    now = datetime.now(UTC)
    headers = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, now, body),
    }
    return httpx.post(url, content=body, headers=headers, trust_env=False).status_code


@contextmanager
def running(*words: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "worker.cli", "receiver", "--secret", SECRET, *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "COLUMNS": "40"}
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://[\d.:]+", process.stdout.readline())
            assert found
            yield found[0], process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]") -> list[str]:
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    return out.splitlines()


def test_each_call_is_a_line_numbers_masked_and_ctrl_c_ends_with_the_counts() -> None:
    with running("--fail", "0.5", "--seed", "1", "--slow", "1ms") as (url, process):
        statuses = [call(url) for _ in range(6)]
        call(url, {"x": "\x1b[31m" + PHONE, "deep": [[PHONE]]}, webhook_id="k2-1", secret="whsec_" + "QUJD" * 8)
        call(url, {"x": "\x1b[31m" + PHONE, "deep": [[PHONE]]}, webhook_id="k3-1")
        lines = ended(process)
    assert {204, 500} == set(statuses)
    assert len(lines) == 9
    for number, (status, line) in enumerate(zip(statuses, lines, strict=False), start=1):
        assert re.match(rf"\d\d:\d\d:\d\d\.\d+ verified bind\.succeeded k1-1, call {number} → {status} ", line)
    assert '"phone_no_x":"138****1111","subs_id":"1000000768798832","message":"of 138****1111"' in lines[0]
    assert "not verified: No matching signature found k2-1, call 1 → 401" in lines[6]
    assert "138****1111" in lines[7]
    assert PHONE not in "".join(lines)
    assert "\x1b" not in "".join(lines)
    assert re.fullmatch(r"received 8, verified \d, refused 1, events \d, duplicates \d, bodies differ 0", lines[8])


def test_with_json_each_call_is_a_line_of_json_with_numbers_if_asked_for() -> None:
    with running("--json", "--show-numbers", "--retry-after", "5") as (url, process):
        assert call(url, {**DATA, "half": "\ud800"}) == 503
        call(url, secret="whsec_" + "QUJD" * 8)
        first, second, counts = [json.loads(line) for line in ended(process)]
    assert first["at"] > 1_700_000_000_000
    assert first | {"at": 0} == {
        "at": 0, "webhook_id": "k1-1", "call": 1, "verified": True, "refusal": "", "status": 503,
        "type": "bind.succeeded", "has_other_body": False, "data": {**DATA, "half": "?"},
    }  # fmt: skip
    assert (second["verified"], second["refusal"], second["data"]) == (False, "No matching signature found", None)
    assert counts["stats"]["received"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--secret: at least one is needed"),
        (["--secret", "whsec_"], "--secret: secret number 1 is empty or not base64"),
        (["--secret", "whpk_QUJD"], "--secret: secret number 1 must hold the 32 bytes"),
        (["--secret", SECRET, "--fail", "1.1"], "--fail: 1.1 is not between 0 and 1"),
        (["--secret", SECRET, "--status", "99"], "--status: 99 is not between 200 and 599"),
        (["--secret", SECRET, "--slow", "soon"], "--slow: must be a span of time"),
        (["--secret", SECRET, "--redirect", "http://h/", "--status", "200"], "--status: 200 is no redirect"),
    ],
)
def test_bad_input_ends_with_2_and_names_the_option(axn: Axn, words: list[str], said: str) -> None:
    refused = axn("receiver", *words)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith(f"axn: {said}")
