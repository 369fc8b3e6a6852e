"""`axn callbacks rotate` prints a new key once; `axn callbacks secrets` lists all and shows none."""

import io
import json
import sys
from typing import Any

import pytest
import redis

from worker import producers
from worker.callbacks.signature import Ed25519Key, HmacKey, fingerprint_of, parse_secret

from .conftest import Axn

OWN = HmacKey(bytes(range(32)))


def rotated(axn: Axn, *words: str) -> dict[str, Any]:
    ended = axn("callbacks", "rotate", *words, "--json")
    assert (ended.status, ended.err, ended.out.count("\n")) == (0, "", 1), ended
    made: dict[str, Any] = json.loads(ended.out)
    return made


def listed(axn: Axn) -> list[dict[str, Any]]:
    return [json.loads(line) for line in axn("callbacks", "secrets", "--json").out.splitlines()]


def test_a_new_key_is_the_one_thing_on_standard_output(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn("callbacks", "rotate", "Shop.example")
    secret = ended.out.strip()
    fingerprint = fingerprint_of(parse_secret(secret))
    assert ended.status == 0
    assert ended.out == f"{secret}\n"
    assert f"shop.example: key {fingerprint} signs within 5 s" in ended.err
    assert "key AXN_CALLBACK_SECRET signs until 20" in ended.err
    again = axn("callbacks", "rotate", "shop.example", "--grace", "1h")
    assert f"key {fingerprint} signs until" in again.err
    assert secret not in again.out + again.err


def test_an_ed25519_key_comes_with_what_the_receiver_gets(axn: Axn, ledger: "redis.Redis") -> None:
    made = rotated(axn, "--name", "orders", "--ed25519")
    key = parse_secret(made["secret"])
    assert isinstance(key, Ed25519Key)
    assert (made["owner"], made["kind"], made["public_key"]) == ("orders", "name", key.public_key)
    assert axn("callbacks", "rotate", "--name", "orders", "--ed25519").out.splitlines()[1].startswith("whpk_")


@pytest.mark.parametrize("from_stdin", [False, True])
def test_ones_own_key_is_taken_and_not_printed(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch, from_stdin: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{OWN.secret}\n"))
    made = rotated(axn, "shop.example", "--secret", "-" if from_stdin else OWN.secret)
    assert (made["secret"], made["fingerprint"]) == ("", fingerprint_of(OWN))
    again = axn("callbacks", "rotate", "shop.example", "--secret", OWN.secret)
    assert (again.status, again.err) == (1, "axn: this is shop.example's newest key already\n")


def test_the_list_names_every_live_key_and_shows_none(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    assert axn("callbacks", "secrets").err.startswith("no keys: set AXN_CALLBACK_SECRET")
    monkeypatch.setenv("AXN_CALLBACK_SECRET", OWN.secret)
    producers.close()  # the next command reads the settings anew, as a process of its own would
    made = [rotated(axn, "shop.example", "--grace", "2h"), rotated(axn, "--name", "orders", "--ed25519")]
    made.append(rotated(axn, "shop.example", "--grace", "90m"))
    rows = listed(axn)
    assert [(row["owner"], row["kind"], row["signature"]) for row in rows] == [
        ("AXN_CALLBACK_SECRET", "default", "v1"),
        ("shop.example", "host", "v1"),
        ("shop.example", "host", "v1"),
        ("shop.example", "host", ""),
        ("orders", "name", "v1a"),
    ]
    prints = [
        fingerprint_of(OWN),
        made[2]["fingerprint"],
        made[0]["fingerprint"],
        "AXN_CALLBACK_SECRET",
        made[1]["fingerprint"],
    ]
    assert [row["fingerprint"] for row in rows] == prints
    assert [round((row["retires_at"] - rows[1]["created_at"]) / 60_000) for row in rows if row["retires_at"]] == [
        90,
        90,
    ]
    table = axn("callbacks", "secrets").out
    assert all(text in table for text in (*prints, "1h", "host", "orders", "v1a"))
    shown = table + json.dumps(rows)
    assert not [one for one in (OWN.secret, *(one["secret"] for one in made)) if one[6:] in shown]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either HOST or --name"),
        (["shop.example", "--name", "orders"], "give either HOST or --name"),
        (["https://shop.example/axn"], "HOST: must be a host alone, such as shop.example"),
        (["--name", "a b"], "--name: must be 1 to 64 letters"),
        (["shop.example", "--grace", "8d"], "--grace: must be at most 7d"),
        (["shop.example", "--grace", "soon"], "--grace: must be a span of time"),
        (["shop.example", "--secret", "whsec_QUJD"], "--secret: must be whsec_"),
        (["shop.example", "--secret", OWN.secret, "--ed25519"], "give either --secret or --ed25519"),
    ],
)
def test_bad_input_ends_with_2_and_says_what_would_be_right(
    axn: Axn, ledger: "redis.Redis", words: list[str], said: str
) -> None:
    ended = axn("callbacks", "rotate", *words)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"axn: {said}")
    assert json.loads(axn("callbacks", "rotate", *words, "--json").out)["error"].startswith(said)
    assert ledger.dbsize() == 0


def test_without_the_extra_an_ed25519_key_says_what_to_install(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    ended = axn("callbacks", "rotate", "shop.example", "--ed25519")
    assert (ended.status, ended.out, ledger.dbsize()) == (2, "", 0)
    assert "pip install 'axn-bind-worker[ed25519]'" in ended.err


def test_where_redis_is_away_it_is_said_that_nobody_knows(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "redis://127.0.0.1:1/0")
    ended = axn("callbacks", "rotate", "shop.example")
    assert (ended.status, ended.out) == (1, "")
    assert "cannot be reached" in ended.err
    assert "whether the key was made is not known: look at `axn callbacks secrets`, and rotate again" in ended.err
    assert axn("callbacks", "secrets").status == 1
