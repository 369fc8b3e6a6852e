"""Rows on their way to a sealed batch: all or none, under any interruption the same in the end."""

from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from worker.batches.mappings import MappingTable
from worker.batches.operations import Operation
from worker.batches.plan import BatchPlan, check_plan, difference
from worker.batches.starting import Started, Starting
from worker.callbacks.guard import ReceiverRules
from worker.clock import Clock
from worker.domain.batch import BatchOptions, BatchState
from worker.errors import BatchConflictError, BatchInputError, InvalidRequestError, LedgerUnavailableError
from worker.intake.acceptance import Acceptance, AcceptanceRules
from worker.ledger.batch_records import CHUNK_ROWS
from worker.runtime import Runtime

from .memory_store import MemoryStore
from .support import NOW_MS, Kept, StoppedClock

T = TypeVar("T")
PLAN = BatchPlan("renumber", operation=Operation.BIND)
FULL, REST = CHUNK_ROWS, 7


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"phone_no_a": f"138{number:08}", "expiration": "2026-12-02 12:00:00", **more}


def rows(count: int = 2 * FULL + REST) -> list[dict[str, Any]]:
    return [row(number) for number in range(count)]


BAD = {"phone_no_a": "1.38E+10", "expires_in": "2h"}


@dataclass
class Desk:
    """Starts batches in memory."""

    runtime: Runtime
    store: MemoryStore = field(default_factory=MemoryStore)
    secrets: frozenset[str] = frozenset({"orders"})
    clock: Clock = field(default_factory=StoppedClock)

    def start(self, given: Iterable[Any], plan: BatchPlan = PLAN, sink: Kept | None = None) -> Started:
        rules = AcceptanceRules("FC1", timedelta(seconds=60), ReceiverRules())
        acceptance = Acceptance(rules, self.clock)
        return Starting(self.store, self._ask, self.store.encode, acceptance, self._unknown).start(
            plan, MappingTable(given), sink=sink
        )

    def stored(self, plan: BatchPlan = PLAN) -> list[str]:
        return self.store.held[plan.batch_id].rows

    def _ask(self, work: Coroutine[Any, Any, T], /) -> "Future[T]":
        return self.runtime.submit(work)

    async def _unknown(self, names: Iterable[str]) -> frozenset[str]:
        return frozenset(names) - self.secrets


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    runtime = Runtime("test-loop")
    yield runtime
    runtime.stop()


@pytest.fixture
def desk(runtime: Runtime) -> Desk:
    return Desk(runtime)


def test_good_rows_are_stored_in_order_and_begin(desk: Desk) -> None:
    started = desk.start(rows())
    assert started.batch is not None
    assert (started.batch.state, started.batch.rows, started.is_new) == (BatchState.RUNNING, 2 * FULL + REST, True)
    assert [len(chunk) for chunk in desk.store.held[PLAN.batch_id].chunks.values()] == [FULL, FULL, REST]
    assert [f'"138{number:08}"' in text for number, text in enumerate(desk.stored())] == [True] * (2 * FULL + REST)


def stop_at(number: int, failure: BaseException) -> Callable[[int], None]:
    def fail(put: int) -> None:
        if put == number:
            raise failure

    return fail


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_a_start_that_redis_cut_short_is_completed_by_the_same(desk: Desk, chunk: int) -> None:
    desk.store.before_put = stop_at(chunk, LedgerUnavailableError("away"))
    with pytest.raises(LedgerUnavailableError):
        desk.start(rows())
    assert desk.store.held[PLAN.batch_id].batch.state is BatchState.UPLOADING
    desk.store.before_put = stop_at(-1, LedgerUnavailableError())
    desk.clock = Later()
    started = desk.start(rows())
    assert started.batch is not None
    assert (started.batch.rows, started.is_new) == (2 * FULL + REST, True)


class Later(StoppedClock):
    """A week after: the rows' Expirations have passed."""

    def unix_ms(self) -> int:
        return NOW_MS + 7 * 86_400_000


def ctrl_c_after(count: int) -> Iterator[dict[str, Any]]:
    yield from rows(count)
    raise KeyboardInterrupt


def test_ctrl_c_leaves_what_the_same_start_completes(desk: Desk) -> None:
    with pytest.raises(KeyboardInterrupt):
        desk.start(ctrl_c_after(FULL + 3))
    assert desk.store.held[PLAN.batch_id].batch.state is BatchState.UPLOADING
    assert desk.start(rows()).batch
    assert len(desk.stored()) == 2 * FULL + REST


@pytest.mark.parametrize("state", [BatchState.RUNNING, BatchState.PAUSED, BatchState.FINISHED])
def test_a_batch_that_stands_is_found_whenever_it_is_started_again(desk: Desk, state: BatchState) -> None:
    desk.start(rows())
    held = desk.store.held[PLAN.batch_id]
    held.batch = replace(held.batch, state=state)
    desk.clock = Later()
    started = desk.start(rows())
    assert (started.is_new, started.batch) == (False, held.batch)


@pytest.mark.parametrize(
    "other",
    [
        rows()[1:],
        rows()[:-1],
        rows(FULL),
        [*rows(), row(5_000)],
        [*rows()[:-1], row(2 * FULL + REST - 1, expiration="2026-12-03 12:00:00")],
    ],
    ids=["first gone", "last gone", "last chunk gone", "one more", "one changed"],
)
@pytest.mark.parametrize("is_sealed", [True, False])
def test_other_rows_under_the_same_name_are_refused(desk: Desk, other: list[Any], is_sealed: bool) -> None:
    desk.start(rows())
    held = desk.store.held[PLAN.batch_id]
    if not is_sealed:
        held.batch = replace(held.batch, state=BatchState.UPLOADING)
    with pytest.raises(BatchConflictError, match=r"batch renumber was started with other rows .*another name"):
        desk.start(other)
    assert len(held.rows) == 2 * FULL + REST


def test_other_options_are_refused_by_name(desk: Desk) -> None:
    desk.start(rows())
    slower = replace(PLAN, options=BatchOptions(per_second=50, callback_url="https://h.example"))
    with pytest.raises(BatchConflictError, match=r"per_second none, not 50, finished_url none, not https://h\.example"):
        desk.start(rows(), slower)
    assert difference(PLAN.options, PLAN.options) == ""


def test_a_cancelled_batch_is_not_started_again(desk: Desk) -> None:
    desk.start(rows())
    held = desk.store.held[PLAN.batch_id]
    held.batch = replace(held.batch, state=BatchState.CANCELLED)
    with pytest.raises(BatchConflictError, match="was cancelled; start it under another name"):
        desk.start(rows())


def test_bad_rows_stop_all_and_leave_nothing(desk: Desk) -> None:
    kept = Kept()
    started = desk.start([*rows(FULL + 1), BAD, *rows(3 * FULL)[FULL + 1 :]], sink=kept)
    assert (started.batch, started.report.bad, list(kept.reasons)) == (None, 1, [FULL + 2])
    assert (desk.store.held, desk.store.puts) == ({}, [0])


def test_bad_rows_leave_a_batch_that_stood_before(desk: Desk) -> None:
    with pytest.raises(KeyboardInterrupt):
        desk.start(ctrl_c_after(2 * FULL))
    assert desk.start([*rows(), BAD]).batch is None
    assert len(desk.stored()) == 2 * FULL
    assert desk.start(rows()).batch


def test_bad_rows_may_be_left_out(desk: Desk) -> None:
    skipping = replace(PLAN, skips_bad=True)
    started = desk.start([*rows(3), BAD, row(0), *rows(6)[3:]], skipping)
    assert started.batch is not None
    assert (started.batch.rows, started.report.bad, started.report.duplicates) == (6, 2, 1)
    assert desk.start([BAD], replace(skipping, name="none")).batch is None


def test_no_rows_are_no_batch(desk: Desk) -> None:
    assert desk.start([]).batch is None
    assert desk.store.held == {}


@pytest.mark.parametrize(
    ("given", "plan"),
    [
        ([row(1, callback_url="https://h.example", callback_secret_name="none")], PLAN),
        (rows(1), replace(PLAN, defaults={"callback_url": "https://h.example", "callback_secret_name": "none"})),
        (rows(1), replace(PLAN, options=BatchOptions(callback_url="https://h", callback_secret_name="none"))),
    ],
)
def test_a_secret_that_does_not_exist_begins_nothing(desk: Desk, given: list[Any], plan: BatchPlan) -> None:
    with pytest.raises(BatchInputError, match="there is no secret none"):
        desk.start(given, plan)
    assert all(held.batch.state is BatchState.UPLOADING for held in desk.store.held.values())
    desk.secrets = frozenset({"none"})
    assert desk.start(given, plan).batch


def test_rows_get_what_they_leave_empty_where_they_have_a_use_for_it(desk: Desk) -> None:
    defaults = {"pool_key": "FC9", "callback_url": "https://h.example", "callback_secret_name": "orders"}
    given = [{"op": "bind", **row(1, callback_url="https://own.example")}, {"op": "unbind", "out_order_id": "o"}]
    plan = replace(PLAN, operation=None, defaults=defaults)
    assert desk.start(given, plan).batch
    bind, unbind = desk.stored(plan)
    assert '"pool_key": "FC9"' in bind
    assert "https://own.example" in bind
    assert '"callback_secret_name": "orders"' in bind
    assert "https://h.example" in unbind
    assert "FC" not in unbind


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("13800000000", "row: must be a mapping"),
        ({1: "13800000000"}, "row: must be a mapping"),
        (row(1, phone_a="1"), "phone_a: is no known column; did you mean phone_no_a?"),
        (row(1, PhoneNoA="13800000000"), "phone_no_a: is given twice, also as PhoneNoA"),
        (row(1, out_id=object()), "out_id: must be text, a number"),
        (row(1, out_id=["13800000000"]), "out_id: must be text, a number"),
        (
            {**row(1), "expiration": datetime(2026, 12, 2)},  # noqa: DTZ001 - the fault
            "expiration: must be text, a number, true or false, or a time",
        ),
        ({"phone_no_a": 13800000000, "expires_in": "2h"}, "phone_no_a: must be text, in quotes"),
    ],
)
def test_mappings_that_are_no_rows_are_told(desk: Desk, given: Any, why: str) -> None:
    kept = Kept()
    assert desk.start([given], sink=kept).batch is None
    assert kept.reasons[1].startswith(why)
    assert "13800000000" not in kept.reasons[1]


def test_moments_spans_and_flags_are_taken_as_programs_have_them(desk: Desk) -> None:
    moment = datetime(2026, 12, 2, 4, tzinfo=UTC)
    given = [
        {"PhoneNoA": "13800000001", "expiration": moment, "is_recording_enabled": True},
        {"phone_no_a": "13800000002", "expires_in": timedelta(hours=2), "deadline": timedelta(minutes=5)},
    ]
    assert desk.start(given).batch
    first, second = desk.stored()
    assert '"expiration": "2026-12-02T04:00:00+00:00", "is_recording_enabled": true' in first
    assert '"expires_in": 7200.0, "deadline": 300.0' in second


@pytest.mark.parametrize(
    ("plan", "fields"),
    [
        (BatchPlan(""), ["name"]),
        (BatchPlan("k" * 26), ["name"]),
        (BatchPlan("a\nb"), ["name"]),
        (BatchPlan(" a"), ["name"]),
        (BatchPlan("n" * 129), ["name"]),
        (BatchPlan("n", BatchOptions(per_second=-1, window=0)), ["per_second", "window"]),
        (BatchPlan("n", BatchOptions(not_before="01:00")), ["not_after"]),
        (BatchPlan("n", BatchOptions(not_after="01:00")), ["not_before"]),
        (BatchPlan("n", BatchOptions(not_before="1:00", not_after="24:00")), ["not_before", "not_after"]),
        (BatchPlan("n", BatchOptions(not_before="01:00", not_after="01:00")), ["not_after"]),
        (BatchPlan("n", BatchOptions(callback_url="http://h.example")), ["finished_url"]),
        (BatchPlan("n", defaults={"callback_url": "https://10.0.0.1/"}), ["callback_url"]),
        (BatchPlan("n", defaults={"callback_secret_name": "orders"}), ["callback_secret_name"]),
        (BatchPlan("n", BatchOptions(callback_url="https://h.example", callback_secret_name="-")),
         ["callback_secret_name"]),
        (BatchPlan("2026-11.csv", BatchOptions(50, 1, "22:00", "06:00", "https://h.example", "orders")), []),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plan_is_named(plan: BatchPlan, fields: list[str]) -> None:
    try:
        check_plan(plan, ReceiverRules())
        found = []
    except InvalidRequestError as invalid:
        found = [fault.field for fault in invalid.faults]
    assert found == fields
