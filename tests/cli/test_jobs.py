"""`axn jobs` lists jobs and shows no customer's number."""

import json
from typing import Any

import pytest
import redis

from worker.domain.job_ids import job_id_for_key, partition_of
from worker.ledger.keys import job_keys

from .conftest import Axn

A = "15012345678"


def write(ledger: "redis.Redis", key: str, state: str, at: int = 1, **fields: Any) -> str:
    """A job's record and its place in the state's index, as the ledger's scripts write them."""
    job_id = job_id_for_key(key)
    request = json.dumps({"PhoneNoA": A, "OutOrderId": f"order-{key}"})
    record: dict[Any, Any] = {
        "v": "1",
        "state": state,
        "lane": "checkout",
        "kind": "bind",
        "accepted_at": at,
        "request": request,
    }
    ledger.hset(job_keys(job_id).job, mapping=record | fields)
    if state in ("in_doubt", "failed"):
        ledger.zadd(f"axn1:{{p{partition_of(job_id):02d}}}:{state}", {f"checkout:{job_id}": at})
    return job_id


def test_no_jobs_are_no_failure(axn: Axn, ledger: "redis.Redis") -> None:
    for words in (["jobs"], ["jobs", "--state=in_doubt"], ["jobs", "--json"]):
        ended = axn(*words)
        assert (ended.status, ended.out, ended.err) == (0, "", "no jobs\n")


def test_the_table_shows_what_a_person_needs_and_no_number(axn: Axn, ledger: "redis.Redis") -> None:
    job_id = write(ledger, "1", "in_doubt", kind="update", attempts=3, code="no.answer", message=f"no answer about {A}")
    ended = axn("jobs")
    head, row = ended.out.splitlines()
    assert (ended.status, ended.err) == (0, "")
    assert head.split() == ["id", "state", "kind", "lane", "code", "age", "attempts", "out_order_id", "message"]
    assert row.split()[:5] == [job_id, "in_doubt", "update", "checkout", "no.answer"]
    assert row.split()[5].endswith("d")
    assert row.split()[6:] == ["3", "order-1", "no", "answer", "about", "150****5678"]
    assert A not in ended.digits


def test_a_row_is_one_line_however_narrow_the_screen(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    job_id = write(ledger, "1", "failed", message="a long sentence [of] what the provider said " * 5)
    _, row = axn("jobs").out.splitlines()
    assert row.startswith(f"{job_id}  failed")
    assert row.count("[of] what the provider said") == 5


def test_with_json_each_job_is_one_line_with_the_fields_of_job_show(axn: Axn, ledger: "redis.Redis") -> None:
    ids = [write(ledger, key, "failed", at=int(key), message=f"refused {A}", code="x") for key in ("1", "2", "3")]
    ended = axn("jobs", "--state=failed", "--json")
    said = [json.loads(line) for line in ended.out.splitlines()]
    shown = json.loads(axn("job", "show", ids[2], "--json").out)
    assert (ended.status, ended.err) == (0, "")
    assert [one["job_id"] for one in said] == ids[::-1]
    assert said[0] == shown | {"message": "refused 150****5678"}
    assert A not in ended.digits


def test_options_choose_by_state_code_kind_and_limit(axn: Axn, ledger: "redis.Redis") -> None:
    poison = write(ledger, "1", "failed", 1, code="poison")
    unbind = write(ledger, "2", "failed", 2, code="x", kind="unbind")
    doubt = write(ledger, "3", "in_doubt", 3, code="poison")

    def ids(*options: str) -> list[str]:
        return [json.loads(line)["job_id"] for line in axn("jobs", "--json", *options).out.splitlines()]

    assert ids() == [doubt, unbind, poison]
    assert ids("--state=failed") == [unbind, poison]
    assert ids("--state=failed", "--limit=1") == [unbind]
    assert ids("--code=poison") == [doubt, poison]
    assert ids("--state=failed", "--code=poison") == [poison]
    assert ids("--kind=unbind") == [unbind]
    assert ids("--state=bound") == []


def test_a_job_just_filed_is_listed_as_accepted(axn: Axn, ledger: "redis.Redis") -> None:
    filed = axn("bind", f"--phone-no-a={A}", "--expires-in=2h", "--out-order-id=o-1").out.strip()
    ended = axn("jobs", "--state=accepted")
    assert ended.out.splitlines()[1].split() == [filed, "accepted", "bind", "checkout", "0s", "0", "o-1"]
    assert A not in ended.digits


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ("--state=doubtful", "--state: must be one of accepted, submitting, waiting, bound"),
        (f"--state={A}", "--state: must be one of accepted"),
        ("--kind=renew", "--kind: must be one of bind, update, unbind, rebind"),
    ],
)
def test_bad_input_ends_with_2_and_names_field_and_values(axn: Axn, option: str, rule: str) -> None:
    ended = axn("jobs", option)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"axn: {rule}")
    assert A not in ended.digits
    said = axn("jobs", option, "--json")
    assert (said.status, said.err) == (2, "")
    assert json.loads(said.out)["error"].startswith(rule)


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_bad_limit_ends_with_2(axn: Axn, limit: str) -> None:
    ended = axn("jobs", f"--limit={limit}")
    assert (ended.status, ended.out) == (2, "")
    assert "--limit" in ended.err


def test_a_redis_that_is_away_ends_with_1(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "unix:///nowhere/redis.sock")
    ended = axn("jobs", "--json")
    assert (ended.status, ended.err) == (1, "")
    assert json.loads(ended.out)["error"].startswith("the ledger's Redis cannot be reached")
