"""`axn bindings` finds bindings by their names and lists them by their ends, and shows no customer's number."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from worker.domain.binding import names_of
from worker.domain.expiration import wire_expiration
from worker.domain.job_ids import job_id_for_key
from worker.ledger.keys import job_keys
from worker.ledger.registration import digest_of

from .conftest import Axn

A, B, X = "15012345678", "15087654321", "17000000001"

Write = Callable[..., str]


@pytest.fixture
def write(ledger: "redis.Redis") -> Write:
    """Writes a binding's record and its places in the indexes, as the ledger's scripts write them."""

    def written(key: str, hours: float, subs_id: str = "100", **fields: Any) -> str:
        binding_id, ends = job_id_for_key(key), datetime.now(UTC) + timedelta(hours=hours)
        keys = job_keys(binding_id)
        request = {
            "PhoneNoA": A, "PhoneNoB": B, "PoolKey": "FC1", "Expiration": wire_expiration(ends),
            "OutOrderId": f"order-{key}", "OutId": "shop",
        }  # fmt: skip
        record: dict[Any, Any] = {
            "v": "1", "state": "bound", "subs_id": subs_id, "phone_no_x": X, "finished_at": 1,
            "request": json.dumps(request),
        }  # fmt: skip
        ledger.hset(keys.job, mapping=record | fields)
        ledger.zadd(keys.bindings, {binding_id: int(ends.timestamp() * 1000)})
        for name in names_of(subs_id, X, request):
            ledger.hset(keys.binding_index, digest_of(name), binding_id)
        return binding_id

    return written


def test_a_binding_is_shown_by_each_of_its_names(axn: Axn, write: Write) -> None:
    binding_id = write("1", 2)
    for words in (
        [binding_id], ["--subs-id=100"], [f"--phone-no-x={X}"], ["--out-order-id=order-1"], ["--out-id=shop"],
    ):  # fmt: skip
        ended = axn("bindings", "show", "--json", *words)
        assert ended.status == 0, ended
        shown = json.loads(ended.out)
        assert (shown["binding_id"], shown["status"], shown["phone_no_x"]) == (binding_id, "active", X)
        assert (shown["phone_no_a"], shown["phone_no_b"]) == ("150****5678", "150****4321")
        assert A not in ended.digits
    pretty = axn("bindings", "show", binding_id)
    rows = dict(line.rstrip().split(maxsplit=1) for line in pretty.out.splitlines())
    assert (rows["status"], rows["out_order_id"], rows["phone_no_a"]) == ("active", "order-1", "150****5678")
    assert "ended_at" not in rows
    assert A not in pretty.digits


def test_all_that_share_a_name_are_shown(axn: Axn, write: Write) -> None:
    write("1", 2, finished_at=5)
    write("3", 3, "300", finished_at=1, binding="replaced", replaced_by="new", ended_at=7)
    shown = [json.loads(line) for line in axn("bindings", "show", f"--phone-no-x={X}", "--json").out.splitlines()]
    assert [(one["subs_id"], one["status"], one["replaced_by"]) for one in shown] == [
        ("300", "replaced", "new"), ("100", "active", ""),
    ]  # fmt: skip


def test_a_binding_that_is_not_there_is_a_failure_that_names_the_setting(axn: Axn, ledger: "redis.Redis") -> None:
    for words in ([job_id_for_key("x")], ["--out-id=nobody"]):
        ended = axn("bindings", "show", *words)
        assert (ended.status, ended.out) == (1, "")
        assert "AXN_BINDING_KEEP" in ended.err


@pytest.mark.parametrize("words", [[], ["x"], ["--subs-id=1", "--out-id=2"], ["k" * 26, "--out-id=2"]])
def test_bad_input_ends_with_2(axn: Axn, ledger: "redis.Redis", words: list[str]) -> None:
    assert axn("bindings", "show", *words).status == 2
    assert axn("bindings", "list", "--expiring-within=soon").status == 2


def test_the_list_shows_what_ends_next_first_and_no_number(axn: Axn, write: Write) -> None:
    ids = [write(str(hours), hours) for hours in (50, 2.5, 1.5, -1)]
    ended = axn("bindings", "list", "--expiring-within", "24h")
    head, *rows = ended.out.splitlines()
    assert ended.status == 0
    assert head.startswith("id")
    assert [row.split()[:3] for row in rows] == [[ids[2], "active", "1h"], [ids[1], "active", "2h"]]
    assert ended.err == "2 shown; on record 3 active, 1 ended\n"
    assert A not in ended.digits
    every = [json.loads(line)["binding_id"] for line in axn("bindings", "list", "--json").out.splitlines()]
    assert every == [ids[2], ids[1], ids[0]]
    assert len(axn("bindings", "list", "--json", "--limit=1").out.splitlines()) == 1


@pytest.mark.parametrize("command", [["unbind"], ["update", "--out-id=o"]], ids=" ".join)
def test_an_update_or_unbind_names_its_binding_by_the_order(
    axn: Axn, ledger: "redis.Redis", write: Write, command: list[str]
) -> None:
    binding_id = write("1", 2)
    filed = axn(*command, "--out-order-id=order-1")
    assert ledger.hget(job_keys(filed.out.strip()).job, "binding_id") == binding_id
    refused = axn(*command, "--out-order-id=order-2")
    assert refused.status == 2
    assert refused.err.startswith("axn: out_order_id: has no active binding")


def test_a_ledger_that_is_away_is_a_failure(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("AXN_REDIS_TIMEOUT", "200ms")
    ended = axn("bindings", "list", "--json")
    assert (ended.status, "AXN_REDIS_URL" in json.loads(ended.out)["error"]) == (1, True)
