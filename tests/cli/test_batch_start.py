"""`axn batch start`, against a real Redis that no worker looks at."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from worker.batches.checking import BadRow, CheckReport
from worker.batches.rows import Row
from worker.domain.batch import batch_id_for_name
from worker.steps import ENVIRONMENT, EXIT_CRASHED

from .conftest import Axn

HEADER = "phone_no_a,expiration,out_order_id\n"
BAD = "1.38E+10,2099-12-01 12:00:00,order-bad\n"
NAME = "rows.csv"
ID = batch_id_for_name(NAME)


def good(count: int) -> str:
    return "".join(f"138{number:08},2099-12-01 12:00:00,order-{number}\n" for number in range(count))


@pytest.fixture
def file(tmp_path: Path, ledger: "redis.Redis") -> Path:
    path = tmp_path / NAME
    path.write_text(HEADER + good(1_203), encoding="utf-8")
    return path


def record(ledger: "redis.Redis", name: str = NAME) -> dict[str, str]:
    """A batch's own hash; empty where there is none."""
    keys = list(ledger.scan_iter(f"axn1:*:batch:{batch_id_for_name(name)}"))
    return ledger.hgetall(keys[0]) if keys else {}  # type: ignore[return-value]


def test_a_file_is_stored_and_begun_once(axn: Axn, file: Path, ledger: "redis.Redis") -> None:
    ended = axn("batch", "start", str(file), "--op", "bind", "--rate", "50", "--by", "ops")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"started: {NAME} ({ID}): running, 0 of 1,203 rows ended\n"
    stored = record(ledger)
    assert (stored["state"], stored["rows"], stored["chunks"], stored["created_by"]) == ("running", "1203", "3", "ops")
    again = axn("batch", "start", str(file), "--op", "bind", "--rate", "50")
    assert (again.status, again.out) == (0, f"was started before: {NAME} ({ID}): running, 0 of 1,203 rows ended\n")
    assert record(ledger) == stored


def test_bad_rows_begin_nothing_unless_they_are_left_out(axn: Axn, file: Path, ledger: "redis.Redis") -> None:
    file.write_text(HEADER + good(600) + BAD + good(700).split("order-599\n")[1], encoding="utf-8")
    ended = axn("batch", "start", str(file), "--op", "bind")
    assert (ended.status, list(ledger.scan_iter("*batch*"))) == (2, [])
    assert "axn: line 602: phone_no_a: is in scientific notation" in ended.err
    assert ended.err.endswith("axn: nothing is begun; mend the rows, or leave them out with --skip-bad\n")
    bad = file.with_name("rows.csv.bad.csv")
    assert bad.exists()
    bad.unlink()
    ended = axn("batch", "start", str(file), "--op", "bind", "--skip-bad")
    assert (ended.status, record(ledger)["rows"]) == (0, "700")
    assert f"axn: 1 bad rows are left out, they are in {bad}\n" in ended.err
    assert bad.exists()


def test_a_name_stands_for_one_file_and_one_set_of_options(axn: Axn, file: Path, ledger: "redis.Redis") -> None:
    axn("batch", "start", str(file), "--op", "bind")
    stored = record(ledger)
    ended = axn("batch", "start", str(file), "--op", "bind", "--window", "10")
    assert (ended.status, "started with other options: window 2000, not 10" in ended.err) == (2, True)
    file.write_text(HEADER + good(1_204), encoding="utf-8")
    ended = axn("batch", "start", str(file), "--op", "bind")
    assert (ended.status, record(ledger)) == (2, stored)
    assert f"axn: batch {NAME} was started with other rows" in ended.err
    assert axn("batch", "start", str(file), "--op", "bind", "--name", "second", "--window", "10").status == 0
    assert record(ledger, "second")["rows"] == "1204"


def test_ctrl_c_leaves_what_the_same_command_completes(
    axn: Axn, file: Path, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    add = CheckReport.add

    def add_some(report: CheckReport, row: Row | BadRow) -> None:
        add(report, row)
        if report.good == 1_100:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CheckReport, "add", add_some)
        ended = axn("batch", "start", str(file), "--op", "bind")
    assert (ended.status, ended.err) == (130, "axn: stopped; run the same command again to go on\n")
    assert record(ledger)["state"] == "uploading"
    told = axn("batch", "show", NAME)
    assert (told.status, "rows are stored, none is begun; the same start again goes on" in told.out) == (3, True)
    assert axn("batch", "start", str(file), "--op", "bind").out.startswith("started: ")
    assert record(ledger)["rows"] == "1203"


def test_a_dry_run_only_checks(axn: Axn, file: Path, ledger: "redis.Redis") -> None:
    ended = axn("batch", "start", str(file), "--op", "bind", "--dry-run")
    assert (ended.status, "good: 1203 (bind 1203)" in ended.out, ledger.dbsize()) == (0, True, 0)
    file.write_text(HEADER + BAD, encoding="utf-8")
    assert axn("batch", "start", str(file), "--op", "bind", "--dry-run").status == 2
    assert [path.name for path in file.parent.iterdir()] == [NAME]


def test_standard_input_needs_a_name(
    axn: Axn, file: Path, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--name: is required with standard input" in axn("batch", "start", "-", "--op", "bind").err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert axn("batch", "start", "-", "--op", "bind", "--name", "piped").status == 0
    assert record(ledger, "piped")["rows"] == "1203"


def test_json_tells_the_file_and_the_batch_in_one_line(axn: Axn, file: Path) -> None:
    told = json.loads(axn("batch", "start", str(file), "--op", "bind", "--json").out)
    assert (told["good"], told["bad"], told["is_new"]) == (1203, 0, True)
    assert (told["batch"]["batch_id"], told["batch"]["state"], told["batch"]["rows"]) == (ID, "running", 1203)
    file.write_text(HEADER + BAD, encoding="utf-8")
    ended = axn("batch", "start", str(file), "--op", "bind", "--json", "--name", "bad")
    assert (ended.status, ended.err, json.loads(ended.out)["bad"]) == (2, "", 1)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--rate", "-1"], "--rate: must be a whole number from 0"),
        (["--not-before", "01:00"], "--not-after: give both hours or none"),
        (["--finished-url", "http://h.example"], "--finished-url: must be https://"),
        (["--callback-url", "https://10.0.0.1"], "--callback-url: leads into a private"),
        (["--callback-secret-name", "orders"], "--callback-secret-name: is of no use without"),
        (["--finished-url", "https://h.example", "--callback-secret-name", "none"], "there is no secret none"),
        (["--name", ID], "--name: must not have the form of an id"),
        (["--op", "bound"], "--op: must be one of bind"),
        (["--encoding", "latin-1"], "--encoding: must be"),
    ],
)
def test_bad_options_are_named_and_nothing_is_stored(
    axn: Axn, file: Path, ledger: "redis.Redis", words: list[str], why: str
) -> None:
    ended = axn("batch", "start", str(file), "--op", "bind", *words)
    assert (ended.status, ledger.keys("*batch*")) == (2, [])
    assert f"axn: {why}" in ended.err.replace("callback_secret_name: ", "", 1)


def test_without_redis_nothing_is_lost(axn: Axn, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("AXN_REDIS_TIMEOUT", "100ms")
    ended = axn("batch", "start", str(file), "--op", "bind")
    assert (ended.status, ended.err.endswith("; run the same command again to go on\n")) == (1, True)
    assert [path.name for path in file.parent.iterdir()] == [NAME]


@pytest.mark.parametrize(("crash", "state"), [("batch.stored:2", "uploading"), ("batch.sealed", "running")])
def test_a_start_that_is_killed_is_completed_by_the_same_command(
    axn: Axn, file: Path, ledger: "redis.Redis", crash: str, state: str
) -> None:
    env = {**os.environ, "AXN_ENVIRONMENT": ENVIRONMENT, "AXN_STEPS_CRASH": crash}
    command = [sys.executable, "-m", "worker.cli", "batch", "start", str(file), "--op", "bind"]
    assert subprocess.run(command, env=env, check=False, timeout=60).returncode == EXIT_CRASHED
    assert record(ledger)["state"] == state
    told = axn("batch", "start", str(file), "--op", "bind").out
    assert told.startswith("started: " if state == "uploading" else "was started before: ")
    stored = record(ledger)
    assert (stored["state"], stored["rows"], stored["chunks"]) == ("running", "1203", "3")
