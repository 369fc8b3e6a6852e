"""`axn batch check`."""

import io
import json
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from tests.batches.support import FILES
from worker.batches.checking import BadRow, CheckReport
from worker.batches.rows import Row

from .conftest import Axn

GOOD = "13800000000,2099-12-01 12:00:00,order-1\n"
HEADER = "phone_no_a,expiration,out_order_id\n"
BAD = "1.38E+10,2099-12-01 12:00:00,=order\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AXN_POOL_KEY", "FC1")
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + GOOD + BAD + GOOD, encoding="utf-8")
    return path


def bad_file(file: Path) -> Path:
    return file.with_name("rows.csv.bad.csv")


def test_good_rows_are_counted(axn: Axn, file: Path) -> None:
    file.write_text(HEADER + GOOD, encoding="utf-8")
    ended = axn("batch", "check", str(file), "--op", "bind")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines() == [f"{file}: CSV, comma, ASCII; 1 rows", "good: 1 (bind 1)", "bad: 0"]
    assert not bad_file(file).exists()


def test_bad_rows_are_told_and_kept_for_their_owner(axn: Axn, file: Path) -> None:
    ended = axn("batch", "check", str(file), "--op", "bind")
    assert ended.status == 2
    assert ended.err.startswith("axn: line 3: phone_no_a: is in scientific notation")
    assert f"bad: 2, in {bad_file(file)}" in ended.out
    assert "duplicates: 1 (lines 4 of 2)" in ended.out
    assert "1  row: is a duplicate of an earlier one" in ended.out
    kept = bad_file(file).read_text(encoding="utf-8-sig").splitlines()
    assert kept[0] == "bad_line,bad_reason," + HEADER.strip()
    assert kept[1].startswith('3,"phone_no_a: is in scientific')
    assert kept[1].endswith(",1.38E+10,2099-12-01 12:00:00,'=order")
    assert stat.S_IMODE(os.stat(bad_file(file)).st_mode) == 0o600  # noqa: PTH116 - as the system tells it
    assert "13800000000" not in ended.out + ended.err
    mended = bad_file(file).read_text(encoding="utf-8-sig").replace("1.38E+10", "13800000001")
    bad_file(file).write_text(mended, encoding="utf-8")
    assert axn("batch", "check", str(bad_file(file)), "--op", "bind", "--ignore", "none").status == 0


def test_skip_bad_takes_the_good_rows_for_success(axn: Axn, file: Path) -> None:
    assert axn("batch", "check", str(file), "--op", "bind", "--skip-bad").status == 0
    file.write_text(HEADER + BAD, encoding="utf-8")
    assert axn("batch", "check", str(file), "--op", "bind", "--skip-bad").status == 2


def test_a_dry_run_writes_nothing(axn: Axn, file: Path) -> None:
    ended = axn("batch", "check", str(file), "--op", "bind", "--dry-run")
    assert (ended.status, os.listdir(file.parent)) == (2, [file.name])  # noqa: PTH208 - names


def test_json_tells_all_in_one_line(axn: Axn, file: Path) -> None:
    target = file.with_name("elsewhere.csv")
    ended = axn("batch", "check", str(file), "--op", "bind", "--json", "--bad-to", str(target))
    told = json.loads(ended.out)
    assert (ended.status, ended.err) == (2, "")
    assert {name: told[name] for name in ("rows", "good", "bad", "blank", "duplicates", "by_operation", "error")} == {
        "rows": 3, "good": 1, "bad": 2, "blank": 0, "duplicates": 1, "by_operation": {"bind": 1}, "error": "",
    }  # fmt: skip
    assert told["first_duplicates"] == [{"line": 4, "first_line": 2}]
    assert [row["line"] for row in told["first_bad"]] == [3, 4]
    assert told["first_bad"][0]["faults"][0]["field"] == "phone_no_a"
    assert told["bad_rows_file"] == str(target)
    assert target.exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--op", "delete"], "--op: must be one of bind, rebind"),
        (["--encoding", "latin-1"], "--encoding: must be utf-8 or gb18030"),
        (["--bad-to", "{file}"], "--bad-to: must be another file"),
        (["--bad-to", "{folder}"], "--bad-to: must be another file"),
        (["--ignore", "phone_no_a", "--op", "bind"], "phone_no_a: is required"),
    ],
)
def test_bad_input_ends_with_status_2(axn: Axn, file: Path, words: list[str], why: str) -> None:
    filled = [word.format(file=file, folder=file.parent) for word in words]
    ended = axn("batch", "check", str(file), *filled)
    assert ended.status == 2
    assert why in ended.err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_missing_file_is_bad_input(axn: Axn, file: Path, as_json: bool) -> None:
    ended = axn("batch", "check", f"{file}x", *["--json"] * as_json)
    assert ended.status == 2
    assert "cannot be read: No such file" in (json.loads(ended.out)["error"] if as_json else ended.err)


def test_bad_rows_that_cannot_be_written_are_a_failure(axn: Axn, file: Path) -> None:
    ended = axn("batch", "check", str(file), "--op", "bind", "--bad-to", str(file.parent / "none" / "bad.csv"))
    assert ended.status == 1
    assert "the bad rows cannot be written: No such file" in ended.err


def test_a_file_without_rows_and_one_that_stops_are_bad(axn: Axn, file: Path) -> None:
    file.write_text(HEADER, encoding="utf-8")
    ended = axn("batch", "check", str(file), "--op", "bind")
    assert (ended.status, "the file has no rows" in ended.err) == (2, True)
    file.write_text(HEADER + GOOD + 'x,"y\nz,w\n', encoding="utf-8")
    ended = axn("batch", "check", str(file), "--op", "bind", "--skip-bad")
    assert (ended.status, "a quote that opens in this row" in ended.err) == (2, True)


def test_standard_input_is_read(axn: Axn, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((HEADER + BAD).encode())))
    ended = axn("batch", "check", "-", "--op", "bind")
    assert (ended.status, "-: CSV, comma" in ended.out, "bad: 1\n" in ended.out) == (2, True, True)
    assert not [path for path in file.parent.iterdir() if "bad" in path.name]


@pytest.mark.parametrize("kind", ["rows.csv", "rows.xlsx"])
def test_a_pipe_is_read_like_standard_input(axn: Axn, file: Path, kind: str) -> None:
    data = (FILES / "numbers.xlsx").read_bytes() if kind == "rows.xlsx" else file.read_bytes()
    pipe = file.parent / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=[data])
    writer.start()
    ended = axn("batch", "check", str(pipe), "--op", "bind", "--ignore", "备注", "--json")
    writer.join()
    told = json.loads(ended.out)
    assert (ended.status, told["rows"], told["bad_rows_file"], told["error"]) == (2, told["rows"], "", "")
    assert told["rows"] == (10 if kind == "rows.xlsx" else 3)


def test_a_folder_is_bad_input(axn: Axn, file: Path) -> None:
    ended = axn("batch", "check", str(file.parent), "--op", "bind")
    assert (ended.status, "cannot be read: Is a directory" in ended.err) == (2, True)


def test_ctrl_c_leaves_nothing(axn: Axn, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add_once(report: CheckReport, row: Row | BadRow) -> None:
        if report.bad:
            raise KeyboardInterrupt
        report.bad += isinstance(row, BadRow)

    monkeypatch.setattr(CheckReport, "add", add_once)
    ended = axn("batch", "check", str(file), "--op", "bind")
    assert (ended.status, ended.err) == (130, "axn: stopped; nothing was written\n")
    assert os.listdir(file.parent) == [file.name]  # noqa: PTH208 - names


def test_the_pool_and_the_receiver_of_rows_that_name_none_may_be_given(
    axn: Axn, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AXN_POOL_KEY")
    file.write_text(HEADER + GOOD, encoding="utf-8")
    assert "pool_key: is required" in axn("batch", "check", str(file), "--op", "bind").err
    assert axn("batch", "check", str(file), "--op", "bind", "--pool-key", "FC1").status == 0
    ended = axn("batch", "check", str(file), "--op", "bind", "--pool-key", "FC1", "--callback-url", "http://h.example")
    assert "callback_url: must" in ended.err
