"""`axn jobs resolve` ends a doubt and leaves a line in the audit."""

import json
from typing import Any

import pytest
import redis

from worker.domain.job_ids import job_id_for_key
from worker.ledger.keys import job_keys

from .conftest import Axn
from .test_jobs import write

X, SUBS_ID = "17000001111", "1000000768798832"
DOUBT: dict[str, Any] = {
    "attempts": 1,
    "open": 1,
    "fence": 2,
    "seed": "s",
    "code": "SignatureNonceUsed",
    "finished_at": 5,
}


def in_doubt(ledger: "redis.Redis", key: str = "1") -> str:
    return write(ledger, key, "in_doubt", **DOUBT)


def test_a_job_found_bound_is_bound_and_the_audit_tells_who_said_so(axn: Axn, ledger: "redis.Redis") -> None:
    job_id = in_doubt(ledger)
    ended = axn("jobs", "resolve", job_id, "--bound-as", X, SUBS_ID, "--by", "ann", "--json")
    job = json.loads(ended.out)
    assert (ended.status, job["state"], job["phone_no_x"], job["subs_id"]) == (0, "bound", X, SUBS_ID)
    assert job["resolved_by"] == "ann"
    line = json.loads(axn("jobs", "audit", "--json").out)
    assert (line["job_id"], line["by"], line["what"], line["now"]) == (job_id, "ann", "bound-as", "bound")
    assert X not in json.dumps(line)
    assert axn("jobs", "--state=in_doubt").err == "no jobs\n"


def test_without_json_the_job_and_the_audit_line_are_shown(axn: Axn, ledger: "redis.Redis") -> None:
    job_id = in_doubt(ledger)
    ended = axn("jobs", "resolve", job_id, "--not-bound", "--by", "ann")
    assert "resolved.not_bound" in ended.out
    assert ended.err == f"audit: job {job_id} is failed, resolved by ann\n"
    head, row = axn("jobs", "audit").out.splitlines()
    assert head.split() == ["at", "by", "job", "what", "was", "now", "subject"]
    assert row.split()[1:] == ["ann", job_id, "not-bound", "in_doubt", "failed"]


@pytest.mark.parametrize(("words", "orphans"), [(("--rebind",), "1"), (("--not-bound", "--rebind"), None)])
def test_a_job_to_be_bound_anew_waits_for_a_worker(
    axn: Axn, ledger: "redis.Redis", words: tuple[str, ...], orphans: str | None
) -> None:
    job_id = in_doubt(ledger)
    assert axn("jobs", "resolve", job_id, *words).status == 0
    assert ledger.hget(job_keys(job_id).job, "state") == "waiting"
    assert ledger.hget(job_keys(job_id).job, "possible_orphans") == orphans
    assert ledger.zscore(job_keys(job_id).timetable, f"checkout:{job_id}") is not None


def test_whoever_runs_it_is_named_where_nobody_is(axn: Axn, ledger: "redis.Redis") -> None:
    axn("jobs", "resolve", in_doubt(ledger), "--not-bound")
    assert "@" in json.loads(axn("jobs", "audit", "--json").out)["by"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ((), "give either --bound-as"),
        (("--bound-as", X, SUBS_ID, "--rebind"), "give either --bound-as"),
        (("--bound-as", "+86 1", SUBS_ID), "--bound-as X: must be digits only"),
        (("--bound-as", X, "abc"), "--bound-as SUBSID: must be digits only"),
    ],
)
def test_bad_input_ends_with_2_and_names_the_option(
    axn: Axn, ledger: "redis.Redis", words: tuple[str, ...], fault: str
) -> None:
    ended = axn("jobs", "resolve", in_doubt(ledger), *words)
    assert ended.status == 2
    assert fault in ended.err
    assert ledger.hget(job_keys(job_id_for_key("1")).job, "state") == "in_doubt"


def test_what_is_not_an_id_ends_with_2(axn: Axn, ledger: "redis.Redis") -> None:
    assert ledger.ping()
    assert axn("jobs", "resolve", "none", "--not-bound").status == 2


def test_what_is_not_in_doubt_ends_with_1_and_says_what_it_is(axn: Axn, ledger: "redis.Redis") -> None:
    job_id = write(ledger, "1", "bound", subs_id="1", attempts=1, fence=1)
    ended = axn("jobs", "resolve", job_id, "--not-bound")
    assert (ended.status, ended.err) == (
        1,
        f"axn: job {job_id} is bound: only a job in doubt can be resolved\n",
    )


def test_an_unknown_job_ends_with_1(axn: Axn, ledger: "redis.Redis") -> None:
    assert ledger.ping()
    ended = axn("jobs", "resolve", job_id_for_key("none"), "--not-bound", "--json")
    assert ended.status == 1
    assert "no job" in json.loads(ended.out)["error"]


@pytest.mark.parametrize("words", [("resolve", job_id_for_key("1"), "--not-bound"), ("audit",)])
def test_a_redis_that_is_away_ends_with_1(axn: Axn, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "redis://127.0.0.1:1/0")
    ended = axn("jobs", *words)
    assert ended.status == 1
    assert ended.err.startswith("axn: the ledger's Redis cannot be reached")
