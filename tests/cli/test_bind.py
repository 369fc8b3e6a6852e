"""`axn bind` files a request, or says what is wrong with it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.ledger.durable_servers import replicated
from worker.domain.job_ids import is_job_id, job_id_for_key
from worker.ledger.keys import job_keys
from worker.local.redis_server import EmbeddedRedis

from .conftest import Axn

A = "15012345678"
GOOD = {"phone-no-a": A, "expires-in": "2h", "pool-key": "FC1"}


def words(**changed: str | None) -> list[str]:
    options = GOOD | {name.replace("_", "-"): value for name, value in changed.items()}
    return ["bind", *(f"--{name}={value}" for name, value in options.items() if value is not None)]


def record_of(ledger: "redis.Redis", job_id: str) -> dict[str, str]:
    return dict(ledger.hgetall(job_keys(job_id).job))  # type: ignore[arg-type, unused-ignore]


BAD: list[tuple[dict[str, str | None], str, str]] = [
    ({"phone_no_a": "150 1234 5678"}, "phone_no_a", "must be digits only"),
    ({"phone_no_a": "+8615012345678"}, "phone_no_a", "must be digits only"),
    ({"phone_no_a": None}, "phone_no_a", "is required"),
    ({"phone_no_b": "150-1234-5678"}, "phone_no_b", "must be digits only"),
    ({"phone_no_x": "9515012345678x"}, "phone_no_x", "must be digits only"),
    ({"expires_in": None}, "expiration", "give either expiration or expires_in"),
    ({"expiration": "2099-01-01 00:00:00"}, "expiration", "give either expiration or expires_in"),
    ({"expires_in": None, "expiration": "2099-02-30 00:00:00"}, "expiration", "must be"),
    ({"expires_in": "10s"}, "expiration", "must be more than 120 s ahead"),
    ({"expires_in": "two hours"}, "expires_in", "must be a span of time"),
    ({"expires_in": "99999999999999d"}, "expires_in", "must be at most 100 years"),
    ({"pool_key": None}, "pool_key", "is required"),
    ({"expect_city": "a\nb"}, "expect_city", "control characters"),
    ({"out_id": "x" * 1025}, "out_id", "must be at most 1024 characters"),
    ({"callback_url": "ftp://15012345678.example/"}, "callback_url", "must be a URL"),
    ({"callback_url": "http://h/"}, "callback_url", "must be https"),
    ({"callback_url": "https://127.0.0.1/"}, "callback_url", "private or special network"),
    ({"callback_url": "https://h:22/"}, "callback_url", "port 22"),
    ({"callback_deadline": "T15012345678"}, "callback_deadline", "must be a span"),
    ({"callback_url": "https://h/", "callback_deadline": "2020-01-01T00:00:00Z"}, "callback_deadline", "must be ahead"),
    ({"callback_order_key": "o"}, "callback_order_key", "is of no use without callback_url"),
    ({"renew_until": "2099-02-30 00:00:00"}, "renew.until", "must be"),
    ({"renew_for": "1h"}, "renew.for", "must be longer than the binding's first length"),
    ({"extend_by": "1h"}, "renew", "must give exactly one of until, for and while"),
    ({"renew_for": "1d", "extend_by": "2h", "renew_lead": "90m"}, "renew.lead", "at most half of extend_by"),
    ({"renew_for": "1d", "if_gone": A}, "renew.if_gone", "must be 'rebind_same_x'"),
    ({"deadline": "T15012345678"}, "deadline", "must be a span"),
    ({"on_doubt": "15012345678"}, "on_doubt", "must be 'hold' or 'rebind'"),
    ({"lane": "15012345678"}, "lane", "must be 'checkout' or 'batch'"),
    ({"idempotency_key": "k" * 257}, "idempotency_key", "must be at most 256 characters"),
    ({"callback_secret_name": A + "/", "callback_url": "https://h/"}, "callback_secret_name", "letters, digits"),
    ({"callback_secret_name": "orders"}, "callback_secret_name", "is of no use without callback_url"),
    ({"durability": A}, "durability", "must be 'accepted', 'fsynced' or 'replicated'"),
    ({"wait": "15012345678x"}, "--wait", "must be a span"),
]


@pytest.mark.parametrize(("changed", "field", "rule"), BAD, ids=[f"{field}-{n}" for n, (_, field, _) in enumerate(BAD)])
def test_bad_input_ends_with_2_and_names_field_and_rule_but_no_number(
    axn: Axn, changed: dict[str, str | None], field: str, rule: str
) -> None:
    ended = axn(*words(**changed))
    assert (ended.status, ended.out) == (2, "")
    assert f"axn: {field}: " in ended.err
    assert rule in ended.err
    assert A not in ended.digits


@pytest.mark.parametrize(("changed", "field", "rule"), BAD, ids=[f"{field}-{n}" for n, (_, field, _) in enumerate(BAD)])
def test_with_json_bad_input_is_one_line_of_json(
    axn: Axn, changed: dict[str, str | None], field: str, rule: str
) -> None:
    ended = axn(*words(**changed), "--json")
    assert (ended.status, ended.err, ended.out.count("\n")) == (2, "", 1)
    said: dict[str, Any] = json.loads(ended.out)
    if field == "--wait":
        assert said["error"].startswith("--wait: must be a span")
    else:
        assert [fault["field"] for fault in said["faults"]] == [field]
        assert rule in said["faults"][0]["rule"]
    assert A not in ended.digits


def test_all_faults_are_named_one_a_line(axn: Axn) -> None:
    ended = axn(*words(phone_no_a="x", expires_in="10s", pool_key=None, lane="x", callback_url="http://h"))
    assert ended.status == 2
    named = [line.split(": ")[1] for line in ended.err.splitlines()]
    assert named == ["phone_no_a", "lane", "expiration", "pool_key", "callback_url"]


def test_an_unknown_option_ends_with_2(axn: Axn) -> None:
    ended = axn(*words(), "--colour=red")
    assert ended.status == 2
    assert "--colour" in ended.err


def test_a_filed_request_prints_its_id_and_waits_in_ledger_and_queue(
    axn: Axn, ledger: "redis.Redis", redis_server: EmbeddedRedis
) -> None:
    ended = axn(*words(out_id="o", expect_city="上海"), "--no-record")
    job_id = ended.out.strip()
    assert (ended.status, ended.err, is_job_id(job_id)) == (0, "", True)
    record = record_of(ledger, job_id)
    sent = json.loads(record["request"])
    assert record["state"] == "accepted"
    assert (sent["PhoneNoA"], sent["ExpectCity"], sent["IsRecordingEnabled"]) == (A, "上海", "false")
    with redis.Redis.from_url(redis_server.url(1), decode_responses=True) as broker:
        assert broker.llen("axn.checkout") == 1


def test_a_kept_binding_s_options_reach_its_record(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn(*words(extend_by="1d", renew_lead="1h", if_gone="report"), "--renew-while-open")
    assert record_of(ledger, ended.out.strip())["renew"] == (
        '{"extend_by":86400000,"lead":3600000,"while":"open","if_gone":"report"}'
    )


def test_with_json_the_id_is_one_line_of_json(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn(*words(idempotency_key="order-1"), "--json")
    assert (ended.status, json.loads(ended.out)) == (0, {"job_id": job_id_for_key("order-1")})


def test_the_pool_key_of_the_settings_is_used(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn(*words(pool_key=None))
    assert json.loads(record_of(ledger, ended.out.strip())["request"])["PoolKey"] == "FC1"


def test_the_same_key_is_the_same_job_and_another_request_is_bad_input(axn: Axn, ledger: "redis.Redis") -> None:
    first, again = axn(*words(idempotency_key="order-1")), axn(*words(idempotency_key="order-1"))
    assert first == again
    other = axn(*words(idempotency_key="order-1", out_id="other"))
    assert (other.status, other.out) == (2, "")
    assert other.err.startswith("axn: idempotency_key: already used with a different request, as job")


def test_a_wait_without_a_worker_ends_with_3_and_shows_the_job(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn(*words(wait="100ms"))
    assert ended.status == 3
    assert "is not finished after 0.1 s; it goes on" in ended.err
    assert "accepted" in ended.out
    assert A not in ended.digits


def test_a_wait_with_json_prints_the_job_as_one_line(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn(*words(wait="100ms", lane="batch"), "--json")
    said = json.loads(ended.out)
    assert (ended.status, ended.err, said["state"], said["lane"]) == (3, "", "accepted", "batch")


def test_a_broker_that_is_away_does_not_matter(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXN_BROKER_URL", "redis+socket:///nowhere/redis.sock?virtual_host=1")
    ended = axn(*words())
    assert ended.status == 0
    assert record_of(ledger, ended.out.strip())["state"] == "accepted"


@pytest.mark.parametrize("url", ["unix:///nowhere/redis.sock?db=0", "redis://127.0.0.1:1/0"])
def test_a_redis_that_is_away_ends_with_1_and_says_so(axn: Axn, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", url)
    ended = axn(*words())
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("axn: the ledger's Redis cannot be reached")
    assert "AXN_REDIS_URL" in ended.err
    said = json.loads(axn(*words(), "--json").out)
    assert said["error"].startswith("the ledger's Redis cannot be reached")


@pytest.mark.parametrize("by_variable", [False, True], ids=["option", "variable"])
def test_a_job_on_disk_is_filed_like_any_other(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch, *, by_variable: bool
) -> None:
    if by_variable:
        monkeypatch.setenv("AXN_DURABILITY", "fsynced")
    ended = axn(*words(durability=None if by_variable else "fsynced"))
    assert (ended.status, ended.err) == (0, "")
    assert record_of(ledger, ended.out.strip())["state"] == "accepted"
    assert ledger.keys("*:durability") != []


def test_a_durability_that_the_server_cannot_give_ends_with_1_and_files_nothing(
    axn: Axn, ledger: "redis.Redis"
) -> None:
    ended = axn(*words(durability="replicated"))
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("axn: durability replicated: 0 of 1 replicas are connected")
    said = json.loads(axn(*words(durability="replicated"), "--json").out)
    assert said["error"].endswith("nothing was filed")
    assert ledger.dbsize() == 0


@pytest.fixture
def hanging_replica(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The ledger's server has a replica that hangs."""
    with replicated() as pair, pair.replica_stopped():
        monkeypatch.setenv("AXN_REDIS_URL", pair.primary.url(0))
        monkeypatch.setenv("AXN_DURABILITY_TIMEOUT", "50ms")
        yield


@pytest.mark.usefixtures("hanging_replica")
def test_a_durability_that_is_not_confirmed_ends_with_3_and_tells_the_jobs_id(axn: Axn) -> None:
    ended = axn(*words(durability="replicated", idempotency_key="order-1"))
    assert (ended.status, ended.out.strip()) == (3, job_id_for_key("order-1"))
    assert ended.err.startswith("axn: durability replicated not confirmed: 0 of 1 replicas had it within 0.05 s")
    again = axn(*words(durability="replicated", idempotency_key="order-1"), "--json")
    said = json.loads(again.out)
    assert (again.status, again.err, said["job_id"]) == (3, "", job_id_for_key("order-1"))
    assert "is filed all the same" in said["error"]
    shown = axn("job", "show", said["job_id"], "--json")
    assert json.loads(shown.out)["state"] == "accepted"


BAD_SETTINGS = [("AXN_LEASE", "1s"), ("AXN_SIGNATURE", "v9"), ("AXN_REDIS_URL", "localhost"), ("AXN_TICK", "soon"),
    ("AXN_DURABILITY", "sure"), ("AXN_DURABILITY_TIMEOUT", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("variable", "value"), BAD_SETTINGS)
def test_a_bad_setting_ends_with_2_and_is_named(
    axn: Axn, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    for command in (words(), ["job", "show", "k" * 26], ["worker"]):
        ended = axn(*command)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.startswith(f"axn: {variable}")
        assert "must be" in ended.err


def test_a_bad_setting_is_no_traceback_in_a_process_of_its_own(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_LEASE", "1s")
    ended = subprocess.run([sys.executable, "-m", "worker.cli", *words()], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("axn: AXN_LEASE")
