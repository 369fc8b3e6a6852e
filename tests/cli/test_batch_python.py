"""`tasks.start_batch` and its kin, against a real Redis that no worker looks at."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from tasks import (
    BadRowsError,
    BatchConflictError,
    BatchInputError,
    BatchNotFoundError,
    BatchState,
    InvalidRequestError,
    batch_report,
    batch_report_async,
    read_batch,
    start_batch,
    start_batch_async,
)

GOOD = {"phone_no_a": "13800000000", "expires_in": "2h"}
BAD = {"phone_no_a": "1.38E+10", "expires_in": "2h"}


def test_bad_rows_are_named_by_index_and_field(ledger: "redis.Redis") -> None:
    with pytest.raises(BadRowsError) as bad:
        start_batch([GOOD, BAD, GOOD], name="bad", op="bind")
    assert bad.value.count == 2
    assert [fault.field for fault in bad.value.faults] == ["[1].phone_no_a", "[2].row"]
    assert str(bad.value).startswith("2 bad rows, nothing is begun: [1].phone_no_a: is in scientific notation")
    assert str(bad.value).endswith("; [2].row: is a duplicate of [0]")
    assert ledger.keys("*batch*") == []


def test_of_many_bad_rows_the_first_are_named(ledger: "redis.Redis") -> None:
    with pytest.raises(BadRowsError) as bad:
        start_batch([BAD] * 50, name="bad", op="bind")
    assert (bad.value.count, len(bad.value.faults)) == (50, 20)
    assert str(bad.value).endswith("; and 30 more")


@pytest.mark.parametrize(
    ("given", "options", "error", "why"),
    [
        ([], {}, BatchInputError, "there are no rows; nothing is begun"),
        ([GOOD], {"op": "bound"}, InvalidRequestError, "op: must be one of bind"),
        ([GOOD], {"window": 0}, InvalidRequestError, "window: must be a whole number from 1"),
        ([GOOD], {"per_second": 0.5}, InvalidRequestError, "per_second: must be a whole number"),
        ([GOOD], {"name": ""}, InvalidRequestError, "name: is required"),
    ],
)
def test_what_cannot_be_started_is_told(
    ledger: "redis.Redis", given: list[Any], options: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        start_batch(given, **{"name": "none", "op": "bind", **options})
    assert ledger.keys("*batch*") == []


async def as_they_come(rows: list[dict[str, str]]) -> AsyncIterator[dict[str, str]]:
    for row in rows:
        await asyncio.sleep(0)
        yield row


async def test_rows_of_a_loop_are_drawn_to_the_last(ledger: "redis.Redis") -> None:
    rows = [GOOD | {"phone_no_a": f"138{number:08}"} for number in range(1_203)]
    assert (await start_batch_async(as_they_come(rows), name="drawn", op="bind")).rows == 1_203
    lines = [line.line async for line in batch_report_async("drawn")]
    assert lines == list(range(1, 1_204))


async def test_a_batch_is_started_once_and_read_by_its_name(ledger: "redis.Redis") -> None:
    batch = start_batch(iter([GOOD]), name="one", op="bind")
    assert await start_batch_async([GOOD], name="one", op="bind") == batch
    assert await start_batch_async(as_they_come([GOOD]), name="one", op="bind") == batch
    assert read_batch("one") == read_batch(batch.batch_id) == batch
    assert (batch.state, batch.rows) == (BatchState.RUNNING, 1)
    assert [(line.line, line.op, line.outcome) for line in batch_report("one")] == [(1, "bind", "")]
    with pytest.raises(BatchConflictError, match="other rows"):
        start_batch([GOOD, GOOD | {"phone_no_a": "13800000001"}], name="one", op="bind")
    with pytest.raises(BatchNotFoundError, match="no batch two"):
        read_batch("two")
    with pytest.raises(BatchNotFoundError, match="no batch two"):
        list(batch_report("two"))
