"""`axn job show` tells where a job stands."""

import json

import pytest
import redis

from worker.domain.job_ids import job_id_for_key
from worker.ledger.keys import job_keys

from .conftest import Axn

A = "15012345678"


def file_job(axn: Axn, key: str = "order-1") -> str:
    ended = axn("bind", f"--phone-no-a={A}", "--expires-in=2h", f"--idempotency-key={key}", "--out-id=o-1")
    return ended.out.strip()


def test_an_unknown_job_ends_with_1(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn("job", "show", "k" * 26)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == f"axn: no job {'k' * 26} in the ledger (mistyped, or finished longer ago than AXN_RESULT_TTL)\n"


@pytest.mark.parametrize("malformed", ["x", "K" * 26, A, "k" * 27, "../" + "0" * 23])
def test_a_malformed_id_ends_with_2_without_repeating_it(axn: Axn, malformed: str) -> None:
    ended = axn("job", "show", malformed)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "axn: ID: must be the 26 letters and digits that `axn bind` printed\n"


@pytest.mark.parametrize("both", [[], ["k" * 26, "--idempotency-key=order-1"]])
def test_either_an_id_or_a_key_must_be_given(axn: Axn, both: list[str]) -> None:
    ended = axn("job", "show", *both)
    assert (ended.status, ended.err) == (2, "axn: give either a job's ID or --idempotency-key\n")


def test_an_accepted_job_is_shown_and_ends_with_3(axn: Axn, ledger: "redis.Redis") -> None:
    job_id = file_job(axn)
    ended = axn("job", "show", job_id)
    assert (ended.status, ended.err) == (3, "")
    assert [word for word in (job_id, "accepted", "checkout", "o-1", "Z") if word not in ended.out] == []
    assert A not in ended.digits


def test_a_job_is_found_by_its_idempotency_key(axn: Axn, ledger: "redis.Redis") -> None:
    file_job(axn, "order-7")
    ended = axn("job", "show", "--idempotency-key=order-7", "--json")
    said = json.loads(ended.out)
    assert (ended.status, said["job_id"], said["state"]) == (3, job_id_for_key("order-7"), "accepted")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("bound", 0), ("failed", 1), ("expired", 1), ("cancelled", 1), ("in_doubt", 1), ("waiting", 3),
        ("submitting", 3),
    ],
)  # fmt: skip
def test_the_exit_status_tells_the_state(axn: Axn, ledger: "redis.Redis", state: str, status: int) -> None:
    job_id = file_job(axn)
    ledger.hset(job_keys(job_id).job, mapping={"state": state, "phone_no_x": "17000000001", "next_at": 1})
    ended = axn("job", "show", job_id, "--json")
    said = json.loads(ended.out)
    assert (ended.status, said["state"], said["phone_no_x"]) == (status, state, "17000000001")


def test_a_redis_that_is_away_ends_with_1(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "unix:///nowhere/redis.sock")
    ended = axn("job", "show", "k" * 26, "--json")
    assert (ended.status, ended.err) == (1, "")
    assert json.loads(ended.out)["error"].startswith("the ledger's Redis cannot be reached")
