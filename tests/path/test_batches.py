"""A batch's whole way, with every part real: from the order system's rows, or the operator's file, to the report."""

import asyncio
import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tasks import BatchState, ReportLine, batch_report, batch_report_async, read_batch, start_batch, start_batch_async
from tests.live import Running
from tests.local.processes import wait_until
from tests.path.test_whole_way import bindings_of, get, post
from worker.batch_producers import remove_batch
from worker.cli.main import app

WAIT_S = 60.0


@pytest.fixture
def name() -> str:
    return f"batch-{uuid4().hex}"


def rows(name: str, count: int) -> list[dict[str, Any]]:
    return [
        {"phone_no_a": f"139{number:08}", "expires_in": "2h", "out_order_id": f"{name}-{number}"}
        for number in range(count)
    ]


def finished(name: str) -> Callable[[], bool]:
    return lambda: read_batch(name).state is BatchState.FINISHED


def events_of(running: Running, batch_id: str) -> list[dict[str, Any]]:
    events = get(running.system.receiver_url + "/_receiver/events")
    return [event for event in events if event["verified"] and event["data"].get("batch_id") == batch_id]


def test_rows_of_a_program_are_done_once_each_and_their_end_is_told(running: Running, name: str) -> None:
    url = running.system.receiver_url + "/axn"
    given = rows(name, 40)
    batch = start_batch(given, name=name, op="bind", finished_url=url, window=20)
    assert (batch.name, batch.rows, batch.state) == (name, 40, BatchState.RUNNING)
    assert start_batch(given, name=name, op="bind", finished_url=url, window=20).batch_id == batch.batch_id
    wait_until(finished(name), WAIT_S)
    ended = read_batch(batch.batch_id)
    assert (ended.by_state, ended.by_code, ended.alive) == ({"bound": 40}, {}, 0)
    lines = list(batch_report(name))
    assert [line.out_order_id for line in lines] == [row["out_order_id"] for row in given]
    for line in lines[::13]:
        (binding,) = bindings_of(running, line.out_order_id)
        assert (line.phone_no_x, line.subs_id) == (binding["PhoneNoX"], binding["SubsId"])
    wait_until(lambda: bool(events_of(running, batch.batch_id)), WAIT_S)
    (event,) = events_of(running, batch.batch_id)
    assert event["type"] == "batch.finished"


async def test_the_twins_do_the_same(running: Running, name: str) -> None:
    both = await asyncio.gather(*(start_batch_async(rows(name, 20), name=name, op="bind") for _ in range(2)))
    assert both[0].batch_id == both[1].batch_id
    await asyncio.to_thread(wait_until, finished(name), WAIT_S)
    lines: list[ReportLine] = [line async for line in batch_report_async(name)]
    assert Counter(line.outcome for line in lines) == {"bound": 20}
    assert [len(bindings_of(running, line.out_order_id)) for line in lines] == [1] * 20
    await asyncio.to_thread(remove_batch, name)


def test_an_operator_s_file_is_followed_to_its_end_and_reported(
    running: Running, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bound = tmp_path / f"{name}.csv"
    first = rows(name, 3)
    bound.write_text("A号码,expires_in,OutOrderId\n" + "".join(",".join(row.values()) + "\n" for row in first))
    assert axn("batch", "start", str(bound), "--op", "bind", "--follow", "--json") == 0
    first_line, *looks = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first_line["good"], first_line["batch"]["rows"], looks[-1]["state"]) == (3, 3, "finished")
    assert axn("batch", "report", bound.name) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out.removeprefix("\ufeff"))))
    unbound = tmp_path / f"{name}.unbind.csv"
    unbound.write_text("SubsId,SecretNo\n" + "".join(f"{row['subs_id']},{row['phone_no_x']}\n" for row in table))
    assert axn("batch", "start", str(unbound), "--op", "unbind", "--follow", "--json") == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["by_state"] == {"unbound": 3}
    assert [binding["live"] for row in first for binding in bindings_of(running, row["out_order_id"])] == [False] * 3


def test_rows_that_fail_are_told_by_code_and_done_anew(
    running: Running, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = {"kind": "business", "code": "isv.INVALID_PARAMETERS", "count": 2, "action": "BindAxn"}
    post(running.system.sandbox_url + "/_sandbox/faults", fault)
    start_batch(rows(name, 5), name=name, op="bind")
    wait_until(finished(name), WAIT_S)
    assert axn("batch", "show", name) == 1
    told = capsys.readouterr().out
    assert "by outcome: bound 3, failed 2" in told
    assert "not done, by code: isv.INVALID_PARAMETERS 2" in told
    failed = [line for line in batch_report(name) if line.outcome == "failed"]
    assert {(line.code, line.tries, line.phone_no_x) for line in failed} == {("isv.INVALID_PARAMETERS", 1, "")}
    assert axn("batch", "retry", name, "--failed", "--code", "isv.OTHER") == 0
    assert axn("batch", "retry", name, "--failed") == 0
    assert capsys.readouterr().out == f"{name}: 0 rows are done anew\n{name}: 2 rows are done anew\n"
    wait_until(finished(name), WAIT_S)
    assert axn("batch", "show", name) == 0
    assert [len(bindings_of(running, line.out_order_id)) for line in batch_report(name)] == [1] * 5


def test_an_empty_pool_pauses_the_batch_and_says_so(
    running: Running, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = {"kind": "business", "code": "isv.NO_AVAILABLE_NUMBER", "count": 3, "action": "BindAxn"}
    post(running.system.sandbox_url + "/_sandbox/faults", fault)
    start_batch(rows(name, 100), name=name, op="bind", window=20)
    wait_until(lambda: read_batch(name).state is BatchState.PAUSED, WAIT_S)
    assert axn("batch", "show", name) == 3
    assert "paused: isv.NO_AVAILABLE_NUMBER: the pool has no free number" in capsys.readouterr().out
    assert axn("batch", "resume", name) == 0
    wait_until(lambda: read_batch(name).ended > 30, WAIT_S)
    assert axn("batch", "cancel", name) == 0


def axn(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        app(list(words))
    return ended.value.code
