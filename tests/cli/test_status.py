"""`axn status` tells what there is, and by its exit status whether anybody works."""

import json

import pytest
import redis

from worker.observation.presence import PRESENCES_KEY

from .conftest import Axn


@pytest.fixture
def account(ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> "redis.Redis":
    monkeypatch.setenv("AXN_ACCESS_KEY_ID", "testid")
    return ledger


def tell_of_a_worker(ledger: "redis.Redis") -> None:
    seconds, _ = ledger.time()
    told = {"release": "1", "lanes": ["checkout"], "in_flight": 4, "lag_ms": 1, "faults": ["it is stopping"]}
    ledger.hset(PRESENCES_KEY, "host:1:abc", f"{seconds * 1000} {json.dumps(told | {'started_at': seconds * 1000})}")


def test_without_a_worker_it_says_so_in_words_and_status(axn: Axn, account: "redis.Redis") -> None:
    ended = axn("status")
    assert ended.status == 3
    assert "no worker is there" in ended.out


def test_lanes_counts_pace_and_workers_are_shown(axn: Axn, account: "redis.Redis") -> None:
    tell_of_a_worker(account)
    axn("bind", "--phone-no-a", "13800000000", "--expires-in", "1h")
    ended = axn("status")
    assert ended.status == 0
    for told in (
        "checkout",
        "unfinished jobs and callbacks: 1",
        "in doubt: 0",
        "BindAxn",
        "host:1:abc",
        "it is stopping",
    ):
        assert told in ended.out


def test_programs_get_one_line_of_json(axn: Axn, account: "redis.Redis") -> None:
    tell_of_a_worker(account)
    axn("bind", "--phone-no-a", "13800000000", "--expires-in", "1h")
    told = json.loads(axn("status", "--json").out)
    assert told["queues"]["checkout"]["messages"] == 1
    assert (told["unfinished"], told["workers"][0]["in_flight"]) == (1, 4)
    assert told["account"]["actions"][0]["action"] == "BindAxn"


def test_what_is_missing_is_named(axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> None:
    assert "AXN_ACCESS_KEY_ID" in axn("status").err
    monkeypatch.setenv("AXN_ACCESS_KEY_ID", "testid")
    monkeypatch.setenv("AXN_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("AXN_REDIS_TIMEOUT", "100ms")
    assert axn("status").status == 1
    assert axn("top", "--every", "1ms").status == 2
