"""`axn renewals close` ends what was kept while an order was open."""

import json
from typing import Any

import pytest
import redis

from tasks import close_order_async
from worker.domain.binding import BindingName, NameKind
from worker.domain.job_ids import job_id_for_key, partition_of
from worker.ledger.keys import binding_index_key, bindings_key, job_keys
from worker.ledger.registration import digest_of
from worker.ledger.renewal_keys import renewals_key

from .conftest import Axn

ID = job_id_for_key("kept")
FAR = 4_070_880_000_000


@pytest.fixture
def kept(ledger: "redis.Redis") -> "redis.Redis":
    """A binding that is kept while order-42 is open."""
    request = {
        "PhoneNoA": "15012345678",
        "PoolKey": "FC1",
        "Expiration": "2099-01-01 08:00:00",
        "OutOrderId": "order-42",
    }
    record: Any = {
        "v": "1", "state": "bound", "kind": "bind", "subs_id": "100", "phone_no_x": "17000001111",
        "request": json.dumps(request), "renew": '{"while":"open"}', "renew_seed": "s", "finished_at": "1",
    }  # fmt: skip
    partition = partition_of(ID)
    ledger.hset(job_keys(ID).job, mapping=record)
    ledger.zadd(bindings_key(partition), {ID: FAR})
    ledger.hset(binding_index_key(partition), digest_of(BindingName(NameKind.OUT_ORDER_ID, "order-42")), ID)
    ledger.zadd(renewals_key(partition), {ID: FAR - 1})
    return ledger


def test_it_says_what_it_did_and_does_it_once(axn: Axn, kept: "redis.Redis") -> None:
    for _ in range(2):
        ended = axn("renewals", "close", "--out-order-id", "order-42")
        assert (ended.status, ended.out) == (0, f"{ID}  renewed no more\n")
    assert kept.zscore(renewals_key(partition_of(ID)), ID) is None
    ended = axn("renewals", "close", "--out-order-id", "order-42", "--unbind", "--json")
    told = json.loads(ended.out)
    assert (told["closed"], list(told["unbind_jobs"])) == ([ID], [ID])
    assert kept.hget(job_keys(told["unbind_jobs"][ID]).job, "kind") == "unbind"


def test_an_order_without_kept_bindings_is_no_failure(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn("renewals", "close", "--out-order-id", "order-43")
    assert (ended.status, ended.out, ended.err) == (
        0, "", "no bindings of this order are kept; one that is still being bound will not be, either\n",
    )  # fmt: skip


def test_bad_input_and_a_redis_that_is_away_are_said(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = axn("renewals", "close", "--out-order-id", "")
    assert (ended.status, ended.err[:40]) == (2, "axn: out_order_id: must be 1 to 1024 cha")


def test_without_redis_it_ends_with_1(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "redis://127.0.0.1:1/0")
    ended = axn("renewals", "close", "--out-order-id", "o", "--json")
    assert ended.status == 1
    assert "cannot be reached" in json.loads(ended.out)["error"]


async def test_coroutines_have_a_twin(axn: Axn, kept: "redis.Redis") -> None:
    assert (await close_order_async("order-42")).closed == (ID,)
