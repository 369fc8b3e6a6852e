"""`axn pace` shows the pace and orders it."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from worker.local.redis_server import EmbeddedRedis
from worker.pace.keys import account_of

from .conftest import Axn

KEY_ID = "a-key-id"
PREFIX = f"axn1:{{pace:{account_of(KEY_ID)}}}:"
ACTIONS = ["BindAxn", "UnbindSubscription", "UpdateSubscription", "QuerySubsId", "QuerySubscriptionDetail"]


@pytest.fixture(autouse=True)
def account(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_ACCESS_KEY_ID", KEY_ID)


def fill(ledger: "redis.Redis") -> None:
    now_us = time.time_ns() // 1000
    fields: dict[Any, Any] = {
        "seen": now_us, "rate": 4761.9, "minute": now_us // 60_000_000, "sent": 123_456, "sent_before": 123_456,
        "throttled": 99_999, "throttled_before": 0, "unwell": 99_999, "unwell_before": 0,
        "last_cut": now_us - 45_000_000_000, "cut": 4012.3, "pause": now_us + 50_000_000,
    }  # fmt: skip
    ledger.hset(f"{PREFIX}QuerySubscriptionDetail:schedule", mapping=fields)
    waiting: dict[Any, Any] = {f"h:1:{lane}": f"9999:{now_us // 1000}" for lane in ("checkout", "renewal", "batch")}
    ledger.hset(f"{PREFIX}QuerySubscriptionDetail:waiting", mapping=waiting)
    ledger.hset(f"{PREFIX}stop", mapping={"code": "Forbidden.RAM", "next_probe_at": now_us // 1000 + 50_000})
    circuit: dict[Any, Any] = {"opened_at": now_us // 1000 - 5_000, "next_probe_at": now_us // 1000 - 1}
    ledger.hset(f"{PREFIX}circuit:dyplsapi.aliyuncs.com", mapping=circuit)


def test_what_is_unknown_is_a_dash(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn("pace", "show")
    rows = [line.split() for line in ended.out.splitlines()]
    assert (ended.status, ended.err) == (0, "")
    assert [row[0] for row in rows if row and row[0] in ACTIONS] == ACTIONS * 2
    assert ["BindAxn", "50", "-", "-", "-", "-", "-"] in rows
    assert ["BindAxn", "0", "0", "0", "-"] in rows
    assert "good" in ended.out
    assert "circuit closed" in ended.out


def test_json_is_one_line_with_null_for_what_is_unknown(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn("pace", "show", "BindAxn", "--json")
    state = json.loads(ended.out)
    assert (ended.status, ended.err, len(ended.out.splitlines())) == (0, "", 1)
    assert (state["account"], state["stop"], state["circuit"]["is_open"]) == (account_of(KEY_ID), None, False)
    (action,) = state["actions"]
    assert (action["action"], action["traffic"], action["ceiling"]["per_second"]) == ("BindAxn", None, 50)
    assert KEY_ID not in ended.out


def test_the_endpoint_and_the_rates_are_the_settings(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXN_ENDPOINT", "http://127.0.0.1:8080")
    for place, name in enumerate(("BIND_AXN", "UNBIND", "UPDATE", "QUERY")):
        monkeypatch.setenv(f"AXN_PACE__{name}_PER_SECOND", str(place + 1))
    state = json.loads(axn("pace", "show", "--json").out)
    assert state["circuit"]["endpoint"] == "127.0.0.1:8080"
    assert [(action["action"], action["ceiling"]["per_second"]) for action in state["actions"]] == list(
        zip(ACTIONS, (1, 2, 3, 4, 4), strict=True)
    )


def test_a_ceiling_is_set_and_put_back_and_what_is_above_the_setting_is_said(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn("pace", "set", "BindAxn", "800", "--by", "ann")
    assert ended.status == 0
    assert ended.out.startswith("BindAxn: at most 800 calls/s, in place of the setting's 50, 2")
    assert ended.out.endswith("Z by ann\n")
    assert ended.err == "note: this is above the setting; the rate is still cut wherever the provider throttles\n"
    assert ledger.hget(f"{PREFIX}BindAxn:orders", "per_second") == "800"
    assert "BindAxn: at most 800 calls/s" in axn("pace", "show").out
    said = json.loads(axn("pace", "set", "BindAxn", "801", "--json").out)
    assert "the provider throttles" in said["note"]
    assert said["actions"][0]["ceiling"]["per_second"] == 801
    ended = axn("pace", "set", "BindAxn", "default", "--by", "bob")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("BindAxn: at most 50 calls/s, the setting's, 2")
    assert "note" not in json.loads(axn("pace", "set", "BindAxn", "50", "--json").out)


def test_lanes_are_paused_and_resumed_and_whoever_runs_it_is_named(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn("pace", "pause", "--lane=batch", "--lane=renewal", "--action=BindAxn")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("renewal, batch paused, 2")
    assert ended.out.endswith(": BindAxn\n")
    assert "@" in ended.out
    ended = axn("pace", "show", "BindAxn")
    assert ended.out.count("0 paused") == 2
    assert "renewal, batch paused, 2" in ended.out
    said = json.loads(axn("pace", "resume", "--lane=batch", "--json").out)
    assert [lane["is_paused"] for lane in said["actions"][0]["lanes"]] == [False, True, False]
    assert len(said["actions"]) == len(ACTIONS)


def test_without_lane_and_action_all_are_paused(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn("pace", "pause", "--by=ann")
    assert ended.out.startswith("checkout, renewal, batch paused, 2")
    assert ended.out.endswith(f" by ann: {', '.join(ACTIONS)}\n")
    axn("pace", "resume")
    assert "paused" not in axn("pace", "show").out


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("show", "Bind"), f"action: must be one of {', '.join(ACTIONS)}"),
        (("set", "Bind", "8"), f"action: must be one of {', '.join(ACTIONS)}"),
        (("pause", "--action=Bind"), f"action: must be one of {', '.join(ACTIONS)}"),
        (("set", "BindAxn", "0"), "PER_SECOND: must be a number from 0.01 to 100,000; to send nothing use `axn pace"),
        (("set", "BindAxn", "--", "-8"), "PER_SECOND: must be a number from"),
        (("set", "BindAxn", "1e9"), "PER_SECOND: must be a number from"),
        (("set", "BindAxn", "fast"), "PER_SECOND: must be a number of calls per second, or default"),
        (("pause", "--lane=callback"), "--lane: must be one of checkout, renewal, batch"),
        (("resume", "--by=\x1b[2J"), "--by: must be 1 to 100 printable characters"),
        (("show", "--every=2s"), "--every: goes with --watch"),
        (("show", "--watch", "--every=1ms"), "--every: must be at least 100ms"),
        (("show", "--watch", "--every=soon"), "--every: must be a span of time"),
    ],
)
def test_bad_input_ends_with_2_names_the_field_and_changes_nothing(
    axn: Axn, ledger: "redis.Redis", words: tuple[str, ...], fault: str
) -> None:
    ended = axn("pace", *words)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"axn: {fault}")
    said = axn("pace", words[0], "--json", *words[1:])
    assert (said.status, said.err) == (2, "")
    assert json.loads(said.out)["error"].startswith(fault)
    assert ledger.dbsize() == 0


@pytest.mark.parametrize("words", [("show",), ("set", "BindAxn", "8"), ("pause",), ("resume",), ("show", "--watch")])
def test_a_redis_that_is_away_ends_with_1(axn: Axn, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "unix:///nowhere/redis.sock")
    ended = axn("pace", *words)
    assert ended.status == 1
    assert ended.err.startswith("axn: the ledger's Redis cannot be reached")


def test_orders_go_to_no_account_that_nobody_works_for(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AXN_ACCESS_KEY_ID")
    ended = axn("pace", "pause")
    assert (ended.status, ledger.dbsize()) == (2, 0)
    assert ended.err.startswith("axn: AXN_ACCESS_KEY_ID (or ALIBABA_CLOUD_ACCESS_KEY_ID): must be the workers' key id")


@contextlib.contextmanager
def watching(url: str, *words: str, stdout: int = subprocess.PIPE, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`axn pace show --watch` as a process of its own, ended in any case."""
    command = [sys.executable, "-m", "worker.cli", "pace", "show", "--watch", "--every=100ms", *words]
    env = {**os.environ, "AXN_REDIS_URL": url, "AXN_REDIS_TIMEOUT": "1s", **more}
    with subprocess.Popen(command, env=env, stdout=stdout, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_watch_prints_a_line_a_look_outlasts_redis_and_ends_with_0(axn: Axn) -> None:
    with EmbeddedRedis() as server, watching(server.url(0), "--json") as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert looks[0]["at"] < looks[1]["at"]
        os.kill(server.pid, signal.SIGKILL)
        while "error" not in (said := json.loads(process.stdout.readline())):
            assert process.poll() is None
        assert said["error"].startswith("the ledger's Redis cannot be reached")
        server.restart()
        while "error" in json.loads(process.stdout.readline()):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=10)
        assert (process.returncode, complaints) == (0, b"")


def test_in_a_terminal_of_80_columns_a_watch_redraws_in_place_and_cuts_nothing_off(
    axn: Axn, ledger: "redis.Redis", redis_server: EmbeddedRedis
) -> None:
    fill(ledger)
    ours, theirs = pty.openpty()
    shown = b""
    with (
        open(ours, "rb", buffering=0) as screen,  # noqa: PTH123 - a descriptor, no path
        watching(redis_server.url(0), stdout=theirs, COLUMNS="80", LINES="40", TERM="xterm") as process,
    ):
        os.close(theirs)
        while shown.count(b"last cut") < 3:
            shown += screen.read(4096)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # what Linux says once the other side is closed
            while more := screen.read(4096):
                shown += more
        assert (process.wait(timeout=10), process.stderr and process.stderr.read()) == (0, b"")
    assert shown.count(b"\x1b[1A") > 10, "it goes up and draws over the last look"
    assert shown.rstrip().endswith(b"\x1b[?25h"), "the cursor is shown again"
    look = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode().partition("account")[2].partition("account")[0])
    assert "STOPPED" in look
    assert "…" not in look
    rows = [line.split() for line in look.splitlines() if line.startswith("QuerySubscriptionDetail ")]
    assert rows[0][1:3] == ["50", "4,762"]
    assert all(len(count) > 5 for count in rows[0][4:]), "as wide as they get"
    assert rows[1][1:] == ["9,999", "9,999", "9,999", "12h", "ago", "to", "4,012"]
    assert max(len(line) for line in look.splitlines()[1:]) <= 80
