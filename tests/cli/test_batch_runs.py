"""`axn batch` on batches that were started: look, order, report, remove."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rich.console import Console

from worker.batch_producers import cancel_batch, pause_batch
from worker.batches.report import COLUMNS, ReportFormat, ReportLine, write_report
from worker.cli.batch_run_view import RateMeter, batch_as_dict, batch_view, exit_of_batch
from worker.cli.output import Exit
from worker.domain.batch import Batch, BatchOptions, BatchState, batch_id_for_name

from .conftest import Axn

NAME = "rows.csv"
ID = batch_id_for_name(NAME)
UNBIND = "op,SubsId,SecretNo,out_order_id\n"
TEXT = (
    "op,phone_no_a,expires_in,out_order_id\nbind,13800000000,2h,=order\nunbind,,,order-1\n"
    "rebind,,,order-2\nbind,13800000001,2h,\n"
)


@pytest.fixture
def started(axn: Axn, tmp_path: Path, ledger: "redis.Redis") -> str:
    """The name of a batch of four rows."""
    file = tmp_path / NAME
    file.write_text(TEXT, encoding="utf-8")
    assert axn("batch", "start", str(file)).status == 0
    return NAME


@pytest.mark.parametrize("by", [NAME, ID])
def test_a_batch_is_shown_by_its_name_and_by_its_id(axn: Axn, started: str, by: str) -> None:
    ended = axn("batch", "show", by)
    assert (ended.status, ended.err) == (3, "")
    assert ended.out.splitlines()[0].split() == [NAME, ID, "running"]
    assert "0 under way, 4 not begun" in ended.out
    told = json.loads(axn("batch", "show", by, "--json").out)
    assert {name: told[name] for name in ("state", "rows", "ended", "per_second", "seconds_left")} == {
        "state": "running", "rows": 4, "ended": 0, "per_second": 0.0, "seconds_left": None,
    }  # fmt: skip


def test_a_batch_is_paused_resumed_cancelled_and_removed(axn: Axn, started: str) -> None:
    ended = axn("batch", "pause", started, "--reason", "numbers run short", "--by", "ops")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"{NAME} ({ID}): paused (numbers run short (by ops)), 0 of 4 rows ended\n"
    assert "paused: numbers run short (by ops)" in axn("batch", "show", started).out
    assert "numbers run short" in axn("batch", "list").out
    assert json.loads(axn("batch", "resume", ID, "--json").out)["state"] == "running"
    removed = axn("batch", "rm", started)
    assert (removed.status, "cancel it first" in removed.err) == (2, True)
    assert axn("batch", "cancel", started).status == 0
    assert axn("batch", "show", started, "--follow").status == 1
    assert axn("batch", "resume", started).status == 2
    assert (axn("batch", "rm", started).out, axn("batch", "show", started).status) == (f"{NAME}: removed\n", 1)


def test_all_batches_are_listed(axn: Axn, started: str, tmp_path: Path) -> None:
    assert axn("batch", "start", str(tmp_path / NAME), "--name", "second").status == 0
    lines = axn("batch", "list").out.splitlines()
    assert lines[0].split()[:4] == ["name", "id", "state", "rows"]
    assert {tuple(line.split()[:6]) for line in lines[1:]} == {
        (NAME, ID, "running", "4", "0", "0"), ("second", batch_id_for_name("second"), "running", "4", "0", "0"),
    }  # fmt: skip
    told = [json.loads(line)["name"] for line in axn("batch", "list", "--json").out.splitlines()]
    assert sorted(told) == [NAME, "second"]


def test_an_empty_ledger_has_no_batches(axn: Axn, ledger: "redis.Redis") -> None:
    ended = axn("batch", "list")
    assert (ended.status, ended.out, ended.err) == (0, "", "no batches\n")


@pytest.mark.parametrize(
    "words", [["show"], ["show", "--follow"], ["pause"], ["resume"], ["cancel"], ["retry", "--failed"], ["report"],
              ["rm"]], ids=" ".join,
)  # fmt: skip
def test_an_unknown_batch_is_told_as_it_was_named(axn: Axn, ledger: "redis.Redis", words: list[str]) -> None:
    ended = axn("batch", words[0], "none.csv", *words[1:])
    assert (ended.status, ended.err) == (
        1, "axn: no batch none.csv in the ledger (mistyped or removed); `axn batch list` lists all\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["retry", NAME], "--failed: is required"),
        (["retry", NAME, "--failed"], "rows can be tried anew when it has finished"),
        (["show", NAME, "--every", "1s"], "--every: goes with --follow"),
        (["show", NAME, "--follow", "--every", "1ms"], "--every: must be at least 100ms"),
        (["report", NAME, "--format", "xml"], "--format: must be csv or jsonl"),
    ],
)
def test_bad_input_ends_with_status_2(axn: Axn, started: str, words: list[str], why: str) -> None:
    ended = axn("batch", *words)
    assert (ended.status, why in ended.err) == (2, True)


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_ends_the_following_and_not_the_batch(
    axn: Axn, started: str, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    def stop(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", stop)
    ended = axn("batch", "show", started, "--follow", *["--json"] * as_json)
    assert ended.status == 130
    assert ended.err == f"axn: the batch goes on; `axn batch show {NAME} --follow` shows it again\n"
    assert json.loads(axn("batch", "show", started, "--json").out)["state"] == "running"


def test_the_report_has_every_row_in_order_with_whole_numbers(axn: Axn, started: str) -> None:
    ended = axn("batch", "report", started)
    assert (ended.status, ended.err, ended.out[0]) == (0, "", "\ufeff")
    rows = list(csv.DictReader(io.StringIO(ended.out[1:])))
    assert [(row["line"], row["op"], row["outcome"], row["out_order_id"]) for row in rows] == [
        ("2", "bind", "", "'=order"), ("3", "unbind", "", "order-1"), ("4", "rebind", "", "order-2"),
        ("5", "bind", "", ""),
    ]  # fmt: skip
    told = [json.loads(line) for line in axn("batch", "report", started, "--format", "jsonl").out.splitlines()]
    assert [list(line) for line in told] == [list(COLUMNS)] * 4
    assert told[0]["out_order_id"] == "=order"


def test_cells_of_the_report_are_harmless_and_whole() -> None:
    line = ReportLine(
        2, "ab12", "rebind", "failed", "17000000001", "1000000768798832", "17000000002", "isv.X", "@=message", 3,
        "+1", "k" * 26,
    )  # fmt: skip
    written = io.StringIO(newline="")
    assert list(write_report([line], written, ReportFormat.CSV)) == [1]
    assert written.getvalue().splitlines()[1] == (
        "2,ab12,rebind,failed,17000000001,1000000768798832,17000000002,isv.X,'@=message,3,'+1," + "k" * 26
    )


def batch(state: BatchState = BatchState.RUNNING, **more: Any) -> Batch:
    given: dict[str, Any] = {"options": BatchOptions(), "rows": 1_000, "begun": 600, "alive": 100, **more}
    return Batch("k" * 26, NAME, state, **given)


def shown(one: Batch, per_second: float = 0.0) -> list[str]:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    console.print(batch_view(one, per_second))
    out: str = console.file.getvalue()  # type: ignore[attr-defined]
    return [line.rstrip() for line in out.splitlines()]


def test_a_running_batch_is_shown_with_all_that_an_operator_asks() -> None:
    options = BatchOptions(50, 2_000, "01:00", "06:00", "https://shop.example/end")
    by_state, by_code = {"bound": 400, "failed": 90, "refused": 10}, {"isv.X": 90, "order.unknown": 10}
    lines = shown(batch(options=options, by_state=by_state, by_code=by_code), 2.5)
    assert lines[0] == f"{NAME}  {'k' * 26}  running"
    assert lines[1].endswith(" 50.0%  500 of 1,000 rows ended")
    assert lines[2:] == [
        "100 under way, 400 not begun; 2 rows/s, 0:03:20 left",
        "by outcome: bound 400, failed 90, refused 10",
        "not done, by code: isv.X 90, order.unknown 10",
        "limits: 50 rows/s, 2,000 rows under way, begun from 01:00 to 06:00",
        "(Asia/Shanghai)",
        "its end is told at https://shop.example/end",
    ]


def test_a_pause_is_told_with_its_reason_and_without_a_time_left() -> None:
    lines = shown(batch(BatchState.PAUSED, reason="isv.NO_AVAILABLE_NUMBER: add numbers"), 5.0)
    assert lines[2] == "100 under way, 400 not begun; 5 rows/s"
    assert lines[-1] == "paused: isv.NO_AVAILABLE_NUMBER: add numbers"


@pytest.mark.parametrize(
    ("one", "status"),
    [
        (batch(), Exit.NOT_FINISHED),
        (batch(BatchState.PAUSED), Exit.NOT_FINISHED),
        (batch(BatchState.CANCELLED), Exit.NOT_FINISHED),
        (batch(BatchState.CANCELLED, alive=0), Exit.FAILED),
        (batch(BatchState.FINISHED, alive=0, by_state={"bound": 600, "unbound": 300, "updated": 100}), Exit.DONE),
        (batch(BatchState.FINISHED, alive=0, by_state={"bound": 999, "in_doubt": 1}), Exit.FAILED),
        (batch(BatchState.FINISHED, alive=0, by_state={"bound": 999, "refused": 1}), Exit.FAILED),
    ],
)
def test_the_exit_status_tells_how_a_batch_stands(one: Batch, status: Exit) -> None:
    assert exit_of_batch(one) is status


def test_the_rate_is_that_of_the_last_looks_and_at_first_the_average() -> None:
    meter = RateMeter()
    looks: list[tuple[float, int, float]] = [(100, 500, 50.0), (101, 560, 60.0), (102, 620, 60.0), (140, 620, 0.0)]
    for at_s, ended, rate in looks:
        seen = batch(by_state={"bound": ended}, began_at=1_000)
        assert meter.per_second(seen, at_s=at_s, now_ms=11_000) == rate, at_s
    assert RateMeter().per_second(batch(by_state={"bound": 500}), at_s=1, now_ms=11_000) == 0.0
    done = batch(BatchState.FINISHED, by_state={"bound": 1_000}, began_at=1_000, finished_at=6_000)
    assert RateMeter().per_second(done, at_s=1, now_ms=99_000) == 200.0
    assert batch_as_dict(batch(by_state={"bound": 500}), 50.0)["seconds_left"] == 10


def test_a_following_in_a_terminal_redraws_until_the_end(
    axn: Axn, started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pauses between the looks are those in which the batch's state changes."""
    changes: Iterator[Callable[[], object]] = iter(
        [lambda: pause_batch(started, by="ops", reason="short"), lambda: cancel_batch(started, by="ops")]
    )
    monkeypatch.setattr(time, "sleep", lambda _seconds: next(changes)())
    monkeypatch.setenv("FORCE_COLOR", "1")
    ended = axn("batch", "show", started, "--follow")
    assert ended.status == 1
    states = [state for state in ("running", "paused: short (by ops)", "cancelled") if state in ended.out]
    assert states == ["running", "paused: short (by ops)", "cancelled"]
