"""`axn callbacks` shows what is owed and what was given up, brings it back, and shows no number unasked."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from tests.ledger.callbacks_on_record import (
    DAY_MS,
    HOST,
    A,
    X,
    body_of,
    commands_of_dead,
    commands_of_job,
    commands_of_waiting,
    webhook_id,
)
from worker import producers
from worker.domain.job_ids import job_id_for_key
from worker.ledger.keys import callback_key, job_keys, receiver_key

from .conftest import Axn, Ended

SECRET, OTHER_SECRET = (f"whsec_{base64.b64encode(bytes([number]) * 24).decode()}" for number in (1, 2))
OTHER = {"url": "https://other.example:8443/x", "host": "other.example"}
COMMANDS = [
    ("list",), ("show", webhook_id("1")), ("replay", webhook_id("1")), ("replay", "--host", HOST, "--since", "1h"),
    ("disable", HOST), ("enable", HOST),
]  # fmt: skip


def run(ledger: "redis.Redis", *commands: list[tuple[Any, ...]]) -> None:
    pipeline: Any = ledger.pipeline(transaction=False)
    for command in (command for part in commands for command in part):
        pipeline.execute_command(*command)
    pipeline.execute()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def lines(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.out.splitlines()]


def states(ledger: "redis.Redis", *keys: str) -> list[str | None]:
    return [ledger.hget(callback_key(webhook_id(key)), "state") for key in keys]  # type: ignore[misc]


def test_no_callbacks_are_no_failure(axn: Axn, ledger: "redis.Redis") -> None:
    for options in ((), ("--dead",), ("--waiting", "--json"), ("--host", HOST)):
        ended = axn("callbacks", "list", *options)
        assert (ended.status, ended.out, ended.err) == (0, "", "no callbacks\n")


def test_the_list_shows_what_a_person_needs_newest_dead_first(axn: Axn, ledger: "redis.Redis") -> None:
    at_ms = now_ms()
    run(ledger, commands_of_dead(["1", "2"], at_ms=at_ms - 3 * DAY_MS, last_error=f"[/x] {A}"))
    run(ledger, commands_of_waiting(["3"], look_ms=at_ms + 2 * DAY_MS + 60_000, created_at=None, **OTHER))
    ended = axn("callbacks", "list")
    head, *rows = ended.out.splitlines()
    assert (ended.status, ended.err) == (0, "")
    assert head.split() == ["id", "state", "type", "host", "tries", "age", "next", "error"]
    dead = ["dead", "bind.succeeded", HOST, "2", "3d", "[/x]", "150****5678"]
    assert [row.split() for row in rows] == [
        [webhook_id("2"), *dead],
        [webhook_id("1"), *dead],
        [webhook_id("3"), "waiting", "bind.succeeded", "other.example", "2", "–", "in", "2d", "http.500"],
    ]
    for options, found in (
        (("--dead",), "21"), (("--waiting",), "3"), (("--dead", "--waiting"), "213"), (("--limit=1",), "2"),
        (("--host=Other.example.",), "3"), (("--host=https://other.example:8443/x",), "3"),
        (("--dead", "--host=x"), ""),
    ):  # fmt: skip
        said = lines(axn("callbacks", "list", "--json", *options))
        assert [one["webhook_id"] for one in said] == [webhook_id(key) for key in found], options
        assert all({"body", "log"}.isdisjoint(one) for one in said)


def test_a_dead_one_is_shown_with_its_tries_and_masked(axn: Axn, ledger: "redis.Redis") -> None:
    run(ledger, commands_of_dead(["1"], at_ms=now_ms(), url=f"https://{HOST}/{A}"), commands_of_job("1", "dead"))
    ended = axn("callbacks", "show", webhook_id("1"))
    assert (ended.status, ended.err) == (1, "")
    for told in (
        webhook_id("1"), "dead", "died_at", "kept_until", "170****1111",
        "try 1 of 2  2023-11-14T22:13:20.000Z  connect.timeout  3001 ms",
        "try 2 of 2  2023-11-14T22:13:25.000Z  HTTP 500  12 ms", "  | 150****5678 not served", "  | \\x1b[31m",
    ):  # fmt: skip
        assert told in ended.out
    assert "\x1b" not in ended.out
    assert not {A, X} & {word for word in (A, X) if word in ended.digits}
    said = axn("callbacks", "show", job_id_for_key("1"), "--json")
    (told_in_json,) = lines(said)
    assert (said.status, told_in_json["webhook_id"], told_in_json["state"]) == (1, webhook_id("1"), "dead")
    assert [one["status"] for one in told_in_json["log"]] == [0, 500]
    assert not {A, X} & {word for word in (A, X) if word in said.digits}
    (with_numbers,) = lines(axn("callbacks", "show", webhook_id("1"), "--json", "--show-numbers"))
    assert (with_numbers["body"], with_numbers["url"]) == (body_of(webhook_id("1")), f"https://{HOST}/{A}")


def test_show_ends_as_the_callback_stands(axn: Axn, ledger: "redis.Redis") -> None:
    run(ledger, commands_of_waiting(["1"], look_ms=now_ms()), commands_of_job("2", "delivered"))
    assert axn("callbacks", "show", webhook_id("1")).status == 3
    ended = axn("callbacks", "show", webhook_id("2"), "--json")
    assert (ended.status, lines(ended)[0]["state"], lines(ended)[0]["tries"]) == (0, "delivered", 2)
    missing = axn("callbacks", "show", webhook_id("3"))
    assert (missing.status, missing.out) == (1, "")
    assert missing.err.startswith(
        f"axn: no callback {webhook_id('3')} on record (mistyped, delivered, or given up longer"
    )


def test_ids_are_replayed_and_each_that_is_not_says_why(axn: Axn, ledger: "redis.Redis") -> None:
    run(ledger, commands_of_dead(["1", "2"], at_ms=1), commands_of_job("1", "dead"))
    run(ledger, commands_of_dead(["4"], at_ms=1, **OTHER), commands_of_waiting(["3"], look_ms=9))
    axn("callbacks", "disable", "other.example")
    ended = axn("callbacks", "replay", *(webhook_id(key) for key in "1345"), "--by", "ann")
    assert (ended.status, ended.out, states(ledger, *"1234")) == (1, "", ["waiting", "dead", "waiting", "dead"])
    *refused, total = ended.err.splitlines()
    assert [line.split()[2] for line in refused] == [webhook_id(key) for key in "345"]
    for word, line in zip(
        ("is not given up", "axn callbacks enable", "is not on record"), sorted(refused), strict=True
    ):
        assert any(word in line for line in refused), word
    assert total.startswith("1 replayed, the last of them tried at 2")
    assert total.endswith("; 3 not")
    assert ledger.hget(job_keys(job_id_for_key("1")).job, "callback_state") == "waiting"
    said = axn("callbacks", "replay", webhook_id("2"), "--json")
    (told,) = lines(said)
    assert (said.status, told["webhook_id"], told["outcome"], told["host"]) == (0, webhook_id("2"), "replayed", HOST)
    audit = [line for line in lines(axn("jobs", "audit", "--json")) if line["what"] == "callback replayed"]
    assert [(line["subject"], line["by"]) for line in audit][-1] == (webhook_id("1"), "ann")
    assert "@" in audit[0]["by"]


@pytest.mark.parametrize("form", ["span", "moment"])
def test_a_receiver_s_dead_callbacks_are_replayed_since_a_time(axn: Axn, ledger: "redis.Redis", form: str) -> None:
    at_ms = now_ms()
    run(ledger, commands_of_dead(["1"], at_ms=at_ms - 3 * DAY_MS), commands_of_dead(["2", "3"], at_ms=at_ms - DAY_MS))
    run(ledger, commands_of_dead(["4"], at_ms=at_ms - DAY_MS, **OTHER))
    since = "2d" if form == "span" else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((at_ms - 2 * DAY_MS) / 1000))
    words = ("callbacks", "replay", f"--host={HOST}", f"--since={since}", "--per-second=0.5")
    dry = axn(*words, "--dry-run")
    assert (dry.status, dry.out, dry.err) == (0, "", "2 would be replayed, over 4 s\n")
    assert states(ledger, *"1234") == ["dead"] * 4
    ended = axn(*words, "--json")
    told = lines(ended)
    assert (ended.status, [one["webhook_id"] for one in told]) == (0, [webhook_id("2"), webhook_id("3")])
    assert told[1]["first_try_at"] - told[0]["first_try_at"] == 2_000
    assert states(ledger, *"1234") == ["dead", "waiting", "waiting", "dead"]
    assert axn(*words).err == "0 replayed\n"


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("replay",), "give either IDs, or --host with --since"),
        (("replay", webhook_id("1"), "--host=x", "--since=1h"), "give either IDs, or --host with --since"),
        (("replay", webhook_id("1"), "--since=1h"), "--since, --until: go with --host only"),
        (("replay", "--host=x"), "--since: must be given with --host"),
        (("replay", "--host=x", "--since=yesterday"), "--since: must be a span such as 24h, or a moment"),
        (("replay", "--host=x", "--since=2026-01-01T00:00:00"), "--since: must be a span such as 24h, or a moment"),
        (("replay", "--host=x", "--since=1h", "--until=2999-01-01"), "--until: must be a span such as 24h"),
        (("replay", "--host=x", "--since=1h", "--until=2h"), "since: must not be after until"),
        (("replay", A), "ID: must be a webhook-id"),
        (("show", "x-1"), "ID: must be a webhook-id"),
        (("list", "--host=https://"), "--host: must be a host such as shop.example"),
        (("disable", "a b"), "HOST: must be a host such as shop.example"),
        (("enable", ""), "HOST: must be a host such as shop.example"),
        (("test", "ftp://x"), "URL: must be a URL such as https://shop.example/axn"),
        (("test", "https://me:secret@x/"), "URL: must hold neither a user name"),
    ],
)
def test_bad_input_ends_with_2_and_names_the_field(
    axn: Axn, ledger: "redis.Redis", words: tuple[str, ...], rule: str
) -> None:
    ended = axn("callbacks", *words)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"axn: {rule}")
    assert A not in ended.digits
    said = axn("callbacks", *words, "--json")
    assert (said.status, said.err) == (2, "")
    assert lines(said)[0]["error"].startswith(rule)


@pytest.mark.parametrize("per_second", ["0", "-1", "x"])
def test_a_pace_that_is_none_ends_with_2(axn: Axn, per_second: str) -> None:
    ended = axn("callbacks", "replay", "--host=x", "--since=1h", f"--per-second={per_second}")
    assert (ended.status, ended.out) == (2, "")
    assert "--per-second" in ended.err


def test_a_receiver_is_disabled_and_enabled_and_what_waits_is_counted(axn: Axn, ledger: "redis.Redis") -> None:
    run(ledger, commands_of_dead(["1", "2"], at_ms=now_ms()), commands_of_dead(["3"], at_ms=1, **OTHER))
    ended = axn("callbacks", "disable", f"https://{HOST.upper()}:8443/axn", "--by", "ann")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(f"{HOST} is disabled since 2")
    assert ledger.hget(receiver_key(HOST), "disabled_by") == "ann"
    refused = axn("callbacks", "replay", f"--host={HOST}", "--since=1h", "--json")
    assert (refused.status, states(ledger, "1")) == (1, ["dead"])
    assert f"run `axn callbacks enable {HOST}` first" in lines(refused)[0]["error"]
    ended = axn("callbacks", "enable", HOST, "--by", "bob")
    first, second = ended.out.splitlines()
    assert first.startswith(f"{HOST} is enabled (was disabled since 2")
    assert first.endswith("by ann)")
    assert second.startswith(f"2 of its callbacks were given up: axn callbacks replay --host {HOST} --since 2")
    assert axn(*second.partition(": ")[2].split()[1:]).status == 0
    again = lines(axn("callbacks", "enable", HOST, "--json"))[0]
    assert again == {"host": HOST, "dead": 2, "was_disabled_at": 0, "was_disabled_by": ""}
    assert lines(axn("callbacks", "disable", "::1", "--json"))[0]["host"] == "::1"
    told = [(line["what"], line["by"], line["subject"]) for line in lines(axn("jobs", "audit", "--json"))]
    assert {("receiver disabled", "ann", HOST), ("receiver enabled", "bob", HOST)} <= set(told)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_redis_that_is_away_ends_with_1(axn: Axn, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "unix:///nowhere/redis.sock")
    ended = axn("callbacks", *words, "--json")
    assert (ended.status, ended.err) == (1, "")
    assert lines(ended)[0]["error"].startswith("the ledger's Redis cannot be reached")


def start(ledger: "redis.Redis", count: int, *words: str) -> "subprocess.Popen[bytes]":
    """`axn …` as a process of its own, with so many dead callbacks before it."""
    run(ledger, commands_of_dead([str(number) for number in range(count)], at_ms=1))
    return subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )


REPLAY = ("callbacks", "replay", f"--host={HOST}", "--since=36500d", "--per-second=100000", "--json")


@pytest.mark.parametrize("meets", ["Ctrl-C", "a reader that goes away"])
def test_a_replay_that_is_stopped_leaves_each_callback_whole(axn: Axn, ledger: "redis.Redis", meets: str) -> None:
    count = 2_000
    with start(ledger, count, *REPLAY) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        if meets == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            process.stdout.close()
        told = process.stderr.read().decode()
        status = process.wait(20)
    left = sum(ledger.zcard(job_keys(job_id_for_key(str(n))).dead_callbacks) for n in _one_per_partition())
    waiting = sum(1 for state in states(ledger, *(str(n) for n in range(count))) if state == "waiting")
    looks = sum(ledger.zcard(job_keys(job_id_for_key(str(n))).timetable) for n in _one_per_partition())
    assert (left + waiting, looks) == (count, waiting)
    if meets == "Ctrl-C":
        assert (status, "the same command goes on with the rest" in told) == (130, True)
        assert 0 < waiting < count
        assert axn(*REPLAY).status == 0
    else:
        assert (status, told.count("\n"), waiting) == (0, 1, count)
    assert axn("callbacks", "list", "--dead").err == "no callbacks\n"


def _one_per_partition() -> list[int]:
    keys: dict[str, int] = {}
    number = 0
    while len(keys) < 16:
        keys.setdefault(job_keys(job_id_for_key(str(number))).timetable, number)
        number += 1
    return list(keys.values())


@contextmanager
def receiving(secret: str, *options: str) -> Iterator[str]:
    """`axn receiver` with this secret, as a process of its own: its URL."""
    command = [sys.executable, "-m", "worker.cli", "receiver", f"--secret={secret}", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.terminate()


def test_a_ping_is_signed_and_its_answer_decides_the_exit_status(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ALLOW_HTTP", "1"), ("ALLOW_NETS", "127.0.0.0/8"), ("PORTS", ""), ("SECRET", SECRET)):
        monkeypatch.setenv(f"AXN_CALLBACK_{name}", value)
    with receiving(SECRET) as url:
        ended = axn("callbacks", "test", f"{url}/axn")
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.startswith("delivered: HTTP 204, ")
        monkeypatch.setenv("AXN_CALLBACK_SECRET", OTHER_SECRET)
        producers.close()
        ended = axn("callbacks", "test", f"{url}/axn", "--json")
        (told,) = lines(ended)
        assert (ended.status, told["status"], told["error"]) == (1, 401, "http.401")
        assert "it does not take the signature" in told["meaning"]
    away = axn("callbacks", "test", f"{url}/axn")
    assert (away.status, away.err) == (
        1,
        "axn: connect.refused: nothing listens there, or the network does not lead there\n",
    )


def test_a_ping_is_signed_with_the_keys_that_are_named(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ALLOW_HTTP", "1"), ("ALLOW_NETS", "127.0.0.0/8"), ("PORTS", ""), ("SECRET", OTHER_SECRET)):
        monkeypatch.setenv(f"AXN_CALLBACK_{name}", value)
    assert axn("callbacks", "rotate", "--name=orders", f"--secret={SECRET}").status == 0
    assert axn("callbacks", "rotate", HOST, f"--secret={SECRET}").status == 0
    with receiving(SECRET) as url:
        statuses = [
            axn("callbacks", "test", url, *of).status for of in ((), ("--secret-of=orders",), ("--secret-of", HOST))
        ]
    assert statuses == [1, 0, 0]
    unknown = axn("callbacks", "test", url, "--secret-of=other.example")
    assert (unknown.status, unknown.err.startswith("axn: --secret-of: neither a named secret nor")) == (2, True)


def test_without_a_secret_nothing_is_sent(axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_CALLBACK_ALLOW_NETS", "127.0.0.0/8")
    ended = axn("callbacks", "test", "https://127.0.0.1/axn")
    assert (ended.status, ended.err.startswith("axn: no_secret: ")) == (1, True)
