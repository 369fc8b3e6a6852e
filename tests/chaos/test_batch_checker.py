"""Each promise of a batch is seen to be broken by a history made for it, and kept by the nearest one that is right."""

import json
from dataclasses import replace

import pytest

from tests.chaos.batch_checker import (
    CANCELLED,
    NEW_X,
    SAME_X,
    BatchEvidence,
    EffectEvidence,
    PlannedRow,
    RowEnd,
    Told,
    check_batch,
    check_effects,
)
from tests.chaos.histories import SandboxBinding

ORDER, X1, X2, A1, A2, T1, T2 = "o1", "17000000001", "17000000002", "13800000001", "13800000002", "t1", "t2"
OLD = SandboxBinding(ORDER, X1, "1", is_live=True, phone_no_a=A1, expires=T1)
NEW = SandboxBinding(ORDER, X2, "2", is_live=True, phone_no_a=A1, expires=T1)
SAME = replace(NEW, phone_no_x=X1)
NEW2 = replace(NEW, phone_no_x="17000000003", subs_id="3")
ENDED = replace(OLD, is_live=False)

BIND = PlannedRow(2, "bind", ORDER)
REBIND = PlannedRow(2, "rebind", ORDER, OLD, NEW_X)
REBIND_SAME = replace(REBIND, mode=SAME_X)
MOVE = PlannedRow(2, "move-a", ORDER, OLD, phone_no_a=A2)
SET = PlannedRow(2, "set-expiration", ORDER, OLD, expires=T2)
UNBIND = PlannedRow(2, "unbind", ORDER, OLD)


def end(row: PlannedRow, outcome: str, made: SandboxBinding | None = None, **more: str) -> RowEnd:
    told = {"phone_no_x": made.phone_no_x, "subs_id": made.subs_id} if made else {}
    return RowEnd(row.line, row.op, outcome, job_id="job1", **{**told, **more})


def effects(row: PlannedRow, ends: list[RowEnd], *made: SandboxBinding, orphans: int = 0) -> set[tuple[str, str]]:
    found = check_effects(EffectEvidence([row], {row.order: ends}, made, {"job1": orphans}))
    return {(one.invariant, one.kind) for one in found}


REBOUND = end(REBIND, "bound", NEW, old_phone_no_x=X1)
REBOUND_SAME = end(REBIND_SAME, "bound", SAME, old_phone_no_x=X1)
BY_REBIND = "rebind"


@pytest.mark.parametrize(
    ("row", "ends", "made", "orphans"),
    [
        (BIND, [end(BIND, "bound", NEW)], [NEW], 0),
        (BIND, [end(BIND, "in_doubt")], [NEW], 0),
        (BIND, [end(BIND, "in_doubt")], [], 0),
        (BIND, [RowEnd(2, "bind")], [], 0),
        (replace(BIND, on_doubt=BY_REBIND), [end(BIND, "bound", NEW)], [NEW, NEW2], 1),
        (replace(REBIND, on_doubt=BY_REBIND), [end(REBIND, "in_doubt")], [OLD, NEW, NEW2], 1),
        (REBIND, [REBOUND], [ENDED, NEW], 0),
        (REBIND, [end(REBIND, "old_left_bound", NEW, old_phone_no_x=X1)], [OLD, NEW], 0),
        (REBIND, [end(REBIND, "in_doubt")], [OLD, NEW], 0),
        (REBIND, [end(REBIND, "in_doubt")], [OLD], 0),
        (REBIND, [], [OLD], 0),
        (REBIND_SAME, [REBOUND_SAME], [ENDED, SAME], 0),
        (MOVE, [end(MOVE, "updated")], [replace(OLD, phone_no_a=A2)], 0),
        (MOVE, [], [OLD], 0),
        (SET, [end(SET, "updated")], [replace(OLD, expires=T2)], 0),
        (UNBIND, [end(UNBIND, "unbound")], [ENDED], 0),
        (UNBIND, [RowEnd(2, "unbind"), end(UNBIND, "unbound")], [ENDED], 0),
    ],
)
def test_a_row_with_its_one_effect_keeps_every_promise(
    row: PlannedRow, ends: list[RowEnd], made: list[SandboxBinding], orphans: int
) -> None:
    assert not effects(row, ends, *made, orphans=orphans)


TWICE, LOST, UNTRUE = ("I2", "doubled"), ("I2", "lost"), ("I3", "wrong")
UNJUSTIFIED = ("I1", "wrong")


@pytest.mark.parametrize(
    ("row", "ends", "made", "broken"),
    [
        (BIND, [end(BIND, "bound", NEW)], [NEW, NEW2], TWICE),
        (replace(BIND, on_doubt=BY_REBIND), [end(BIND, "bound", NEW)], [NEW, NEW2], TWICE),
        (BIND, [end(BIND, "bound", NEW), replace(end(BIND, "bound", NEW), job_id="job2")], [NEW], TWICE),
        (BIND, [end(BIND, "bound", NEW2)], [NEW], UNTRUE),
        (BIND, [end(BIND, "bound", NEW)], [replace(NEW, is_live=False)], UNTRUE),
        (BIND, [], [NEW], UNTRUE),
        (BIND, [end(BIND, "failed")], [], UNJUSTIFIED),
        (replace(BIND, on_doubt=BY_REBIND), [end(BIND, "in_doubt")], [], UNJUSTIFIED),
        (replace(REBIND, on_doubt=BY_REBIND), [end(REBIND, "in_doubt")], [OLD, NEW], UNJUSTIFIED),
        (REBIND, [REBOUND], [OLD, NEW], TWICE),
        (REBIND, [REBOUND], [ENDED, NEW, NEW2], TWICE),
        (REBIND, [REBOUND], [ENDED], LOST),
        (REBIND, [end(REBIND, "in_doubt")], [ENDED], LOST),
        (REBIND, [end(REBIND, "in_doubt")], [ENDED, NEW], LOST),
        (REBIND, [replace(REBOUND, subs_id="9")], [ENDED, NEW], UNTRUE),
        (REBIND, [replace(REBOUND, old_phone_no_x=X2)], [ENDED, NEW], UNTRUE),
        (REBIND, [], [ENDED, NEW], UNTRUE),
        (REBIND, [end(REBIND, "failed", code="rebind.restored")], [OLD], UNJUSTIFIED),
        (REBIND_SAME, [end(REBIND_SAME, "bound", NEW, old_phone_no_x=X1)], [ENDED, NEW], UNTRUE),
        (REBIND_SAME, [end(REBIND_SAME, "in_doubt")], [OLD], UNJUSTIFIED),
        (MOVE, [end(MOVE, "updated")], [OLD], UNTRUE),
        (MOVE, [end(MOVE, "updated")], [replace(ENDED, phone_no_a=A2)], LOST),
        (MOVE, [end(MOVE, "updated")], [replace(OLD, phone_no_a=A2), NEW], TWICE),
        (MOVE, [], [replace(OLD, phone_no_a=A2)], UNTRUE),
        (SET, [end(SET, "updated")], [replace(OLD, phone_no_a=A2, expires=T2)], UNTRUE),
        (SET, [end(SET, "in_doubt")], [OLD], UNJUSTIFIED),
        (UNBIND, [end(UNBIND, "unbound")], [OLD], UNTRUE),
        (UNBIND, [], [ENDED], UNTRUE),
        (UNBIND, [end(UNBIND, "unbound")], [ENDED, NEW], TWICE),
    ],
)
def test_a_broken_effect_is_seen(
    row: PlannedRow, ends: list[RowEnd], made: list[SandboxBinding], broken: tuple[str, str]
) -> None:
    assert broken in effects(row, ends, *made)


ROWS = [replace(BIND, given_order=ORDER), replace(MOVE, line=3)]
REPORT = [end(BIND, "bound", NEW, out_order_id=ORDER), replace(end(MOVE, "updated"), line=3)]
SHOWN = {"state": "finished", "alive": 0, "rows": 2, "by_state": {"bound": 1, "updated": 1}}


def event(**data: object) -> bytes:
    told = {"name": "n", "rows": 2, "by_state": {"bound": 1, "updated": 1}, **data}
    return json.dumps({"type": "batch.finished", "data": told}).encode()


TOLD = Told("id-0", event(), 200)
BATCH = BatchEvidence("n", ROWS, REPORT, SHOWN, [TOLD])
OPEN = [REPORT[0], RowEnd(3, "move-a")]
HALF = {**SHOWN, "state": "cancelled", "by_state": {"bound": 1}}


@pytest.mark.parametrize(
    "evidence",
    [
        BATCH,
        replace(BATCH, told=[replace(TOLD, status=503), TOLD]),
        replace(BATCH, told=[TOLD, TOLD]),
        BatchEvidence("n", ROWS, OPEN, HALF, [], CANCELLED),
    ],
)
def test_a_batch_that_tells_what_came_of_it_keeps_every_promise(evidence: BatchEvidence) -> None:
    assert not check_batch(evidence)


@pytest.mark.parametrize(
    ("evidence", "broken"),
    [
        (replace(BATCH, shown={**SHOWN, "state": "running"}), ("I1", "lost")),
        (replace(BATCH, shown={**SHOWN, "alive": 1}), ("I1", "lost")),
        (replace(BATCH, report=REPORT[::-1]), ("I10", "wrong")),
        (replace(BATCH, report=REPORT[:1]), ("I10", "wrong")),
        (replace(BATCH, report=[*REPORT, REPORT[1]]), ("I10", "wrong")),
        (replace(BATCH, report=[replace(REPORT[0], out_order_id="o2"), REPORT[1]]), ("I10", "wrong")),
        (replace(BATCH, report=OPEN), ("I10", "lost")),
        (replace(BATCH, shown={**SHOWN, "by_state": {"bound": 2}}), ("I10", "wrong")),
        (replace(BATCH, shown={**SHOWN, "rows": 3}), ("I10", "wrong")),
        (replace(BATCH, told=[]), ("I4", "lost")),
        (replace(BATCH, told=[replace(TOLD, status=503)]), ("I4", "lost")),
        (replace(BATCH, told=[TOLD, replace(TOLD, webhook_id="id-1")]), ("I4", "doubled")),
        (replace(BATCH, told=[TOLD, replace(TOLD, body=event(version=1))]), ("I4", "doubled")),
        (replace(BATCH, told=[replace(TOLD, body=event(by_state={"bound": 2}))]), ("I4", "wrong")),
        (BatchEvidence("n", ROWS, OPEN, HALF, [TOLD], CANCELLED), ("I4", "wrong")),
    ],
)
def test_a_batch_that_tells_otherwise_is_seen(evidence: BatchEvidence, broken: tuple[str, str]) -> None:
    assert broken in {(one.invariant, one.kind) for one in check_batch(evidence)}
