"""`axn unbind` and `axn update` file a change of a binding, or say what is wrong with it."""

import json
from typing import Any

import pytest
import redis

from worker.domain.job_ids import is_job_id, job_id_for_key
from worker.ledger.keys import job_keys

from .conftest import Axn

A = "15012345678"
X = "17000000001"
NAMED = ("--subs-id=100", f"--phone-no-x={X}")
OF_BOTH: list[list[str]] = [["unbind"], ["update", "--out-id=o"]]
of_both = pytest.mark.parametrize("command", OF_BOTH, ids=["unbind", "update"])


def record_of(ledger: "redis.Redis", job_id: str) -> dict[str, str]:
    return dict(ledger.hgetall(job_keys(job_id).job))  # type: ignore[arg-type, unused-ignore]


def sent_by(ledger: "redis.Redis", job_id: str) -> dict[str, str]:
    sent: dict[str, str] = json.loads(record_of(ledger, job_id)["request"])
    return sent


def bound(axn: Axn, ledger: "redis.Redis") -> str:
    job_id = axn("bind", f"--phone-no-a={A}", "--expires-in=2h", "--pool-key=FC2").out.strip()
    ledger.hset(job_keys(job_id).job, mapping={"state": "bound", "subs_id": "200", "phone_no_x": "17000000002"})
    return job_id


@of_both
def test_a_change_of_a_named_binding_is_filed(axn: Axn, ledger: "redis.Redis", command: list[str]) -> None:
    ended = axn(*command, *NAMED)
    job_id = ended.out.strip()
    assert (ended.status, ended.err, is_job_id(job_id)) == (0, "", True)
    record = record_of(ledger, job_id)
    assert (record["kind"], record["state"], record["subs_id"]) == (command[0], "accepted", "100")
    assert "is_confirmed" not in record
    assert sent_by(ledger, job_id)["PoolKey"] == "FC1"


@of_both
def test_a_change_of_a_bind_job_takes_the_binding_from_its_record(
    axn: Axn, ledger: "redis.Redis", command: list[str]
) -> None:
    job_id = axn(command[0], bound(axn, ledger), *command[1:]).out.strip()
    sent, record = sent_by(ledger, job_id), record_of(ledger, job_id)
    assert (sent["SubsId"], sent["PoolKey"], record["is_confirmed"]) == ("200", "FC2", "1")


@of_both
def test_every_option_reaches_the_job(axn: Axn, ledger: "redis.Redis", command: list[str]) -> None:
    options = (
        "--confirmed",
        "--product-type=AXN_170",
        "--lane=batch",
        "--deadline=30s",
        "--callback-url=https://h/axn",
    )
    ended = axn(*command, *NAMED, *options, "--idempotency-key=k", "--json")
    job_id = job_id_for_key("k")
    assert (ended.status, json.loads(ended.out)) == (0, {"job_id": job_id})
    record = record_of(ledger, job_id)
    assert (record["is_confirmed"], record["lane"], record["callback_url"]) == ("1", "batch", "https://h/axn")
    assert int(record["deadline_at"]) == int(record["accepted_at"]) + 30_000
    sent = sent_by(ledger, job_id)
    assert (sent["ProductType"], "PoolKey" in sent) == ("AXN_170", False)


@pytest.mark.parametrize(
    ("option", "operate_type", "sent"),
    [
        (f"--phone-no-a={A}", "updateNoA", {"PhoneNoA": A}),
        (f"--phone-no-b={A}", "updateNoB", {"PhoneNoB": A}),
        ("--expiration=2099-01-01 00:00:00", "updateExpire", {"Expiration": "2099-01-01 00:00:00"}),
        ("--expires-in=2h", "updateExpire", {}),
        ("--group-id=7", "updateAxgGroup", {"GroupId": "7"}),
        ("--call-restrict=CONTROL_CLEAR_DISABLE", "updateCallRestrict", {"CallRestrict": "CONTROL_CLEAR_DISABLE"}),
        ("--call-display-type=1", "updateCallDisplayType", {"CallDisplayType": "1"}),
        ("--out-id=o", "updateOutId", {"OutId": "o"}),
        ("--record", "updateIsRecordingEnabled", {"IsRecordingEnabled": "true"}),
        ("--no-record", "updateIsRecordingEnabled", {"IsRecordingEnabled": "false"}),
    ],
)
def test_each_aspect_has_its_option(
    axn: Axn, ledger: "redis.Redis", option: str, operate_type: str, sent: dict[str, str]
) -> None:
    parameters = sent_by(ledger, axn("update", *NAMED, "--pool-key=FC3", option).out.strip())
    assert parameters["OperateType"] == operate_type
    assert {**parameters, **sent, "PoolKey": "FC3", "PhoneNoX": X, "SubsId": "100"} == parameters


BAD: list[tuple[list[str], str, str]] = [
    (["unbind", "--pool-key=FC1"], "bind_job_id", "is required (or out_order_id, or subs_id and phone_no_x)"),
    (["unbind", "x"], "bind_job_id", "must be the 26 letters and digits"),
    (["unbind", "k" * 26, *NAMED], "bind_job_id", "give either bind_job_id, or out_order_id, or subs_id"),
    (["unbind", "--subs-id=100", "--pool-key=FC1"], "phone_no_x", "is required"),
    (["unbind", "--subs-id=15012345678x", f"--phone-no-x={X}", "--pool-key=FC1"], "subs_id", "must be digits only"),
    (["unbind", *NAMED], "pool_key", "is required"),
    (["unbind", *NAMED, "--pool-key=FC1", "--wait=soon"], "--wait", "must be a span"),
    (["unbind", *NAMED, "--pool-key=FC1", "--durability=later"], "durability", "must be"),
    (["update", *NAMED, "--out-id=o", "--pool-key=FC1", "--durability=later"], "durability", "must be"),
    (["update", *NAMED, "--pool-key=FC1"], "request", "give exactly one of phone_no_a"),
    (
        ["update", *NAMED, "--pool-key=FC1", "--out-id=o", "--record"],
        "request",
        "(given: out_id, is_recording_enabled)",
    ),
    (["update", *NAMED, "--pool-key=FC1", "--phone-no-a=150 1234 5678"], "phone_no_a", "must be digits only"),
    (["update", *NAMED, "--pool-key=FC1", "--expires-in=10s"], "expiration", "must be more than 120 s ahead"),
]


@pytest.mark.parametrize(("words", "field", "rule"), BAD, ids=[f"{field}-{n}" for n, (_, field, _) in enumerate(BAD)])
def test_bad_input_ends_with_2_and_names_field_and_rule_but_no_number(
    axn: Axn, words: list[str], field: str, rule: str
) -> None:
    ended = axn(*words)
    assert (ended.status, ended.out) == (2, "")
    assert f"axn: {field}: " in ended.err
    assert rule in ended.err
    assert A not in ended.digits
    said: dict[str, Any] = json.loads(axn(*words, "--json").out)
    assert said["error"].startswith("--wait") or [fault["field"] for fault in said["faults"]] == [field]


@of_both
def test_a_bind_job_that_has_bound_nothing_is_bad_input(axn: Axn, ledger: "redis.Redis", command: list[str]) -> None:
    job_id = axn("bind", f"--phone-no-a={A}", "--expires-in=2h").out.strip()
    ended = axn(command[0], job_id, *command[1:])
    assert (ended.status, ended.err) == (
        2, f"axn: bind_job_id: this job is accepted, not bound (given: {job_id})\n",
    )  # fmt: skip
    unknown = axn(command[0], "k" * 26, *command[1:])
    assert unknown.status == 2
    assert unknown.err.startswith("axn: bind_job_id: no such job in the ledger")


@of_both
def test_a_wait_without_a_worker_ends_with_3_and_shows_the_job_and_its_kind(
    axn: Axn, ledger: "redis.Redis", command: list[str]
) -> None:
    ended = axn(*command, *NAMED, "--wait=100ms")
    assert ended.status == 3
    assert "is not finished after 0.1 s; it goes on" in ended.err
    assert [word for word in (command[0], "accepted", "100", X) if word not in ended.out] == []


@pytest.mark.parametrize(("command", "state"), [(OF_BOTH[0], "unbound"), (OF_BOTH[1], "updated")])
def test_what_was_asked_for_and_done_ends_with_0(
    axn: Axn, ledger: "redis.Redis", command: list[str], state: str
) -> None:
    job_id = axn(*command, *NAMED, "--idempotency-key=k").out.strip()
    ledger.hset(job_keys(job_id).job, "state", state)
    ended = axn(*command, *NAMED, "--idempotency-key=k", "--wait=5s", "--json")
    said = json.loads(ended.out)
    assert (ended.status, said["kind"], said["state"], said["phone_no_x"]) == (0, command[0], state, X)
    assert axn("job", "show", job_id).status == 0


@of_both
def test_a_redis_that_is_away_ends_with_1(axn: Axn, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "unix:///nowhere/redis.sock")
    for named in (NAMED, ("k" * 26,)):
        ended = axn(*command, *named, *(["--pool-key=FC1"] if named is NAMED else []))
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith("axn: the ledger's Redis cannot be reached")
