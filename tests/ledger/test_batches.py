"""Batches are put into the ledger once, whoever does it and however often."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from benchmarks.batch_input import HEADER, _binds
from tests.batches.feed_bench import BOUND, FeedBench, bind_rows, row
from worker.batches.operations import Operation
from worker.batches.row_codec import RowCodec
from worker.domain.batch import BatchOptions, BatchState, batch_id_for_name
from worker.errors import BatchConflictError, BatchNotFoundError, InvalidRequestError
from worker.ledger.batch_rows import chunk_key, counts_key, outcomes_key
from worker.ledger.keys import ALL_PARTITIONS

ID = batch_id_for_name("b")
TEXTS = [RowCodec.text_of(one) for one in bind_rows(700)]
CHUNKS = [TEXTS[:500], TEXTS[500:]]


@pytest.fixture
def bench(redis: Redis) -> FeedBench:
    return FeedBench(redis)


async def upload(bench: FeedBench, chunks: list[list[str]] = CHUNKS) -> None:
    await bench.batches.create(ID, "b", BatchOptions(), "ada")
    for number, rows in enumerate(chunks):
        await bench.batches.put_chunk(ID, number, rows)


async def test_uploading_twice_at_once_is_one_batch(bench: FeedBench) -> None:
    await asyncio.gather(upload(bench), upload(bench))
    assert (await bench.read(ID)).state is BatchState.UPLOADING
    one, two = await asyncio.gather(bench.batches.seal(ID, 700), bench.batches.seal(ID, 700))
    assert one == two
    assert (one.state, one.rows) == (BatchState.RUNNING, 700)
    await upload(bench)
    assert await bench.batches.seal(ID, 700) == one
    assert await bench.batches.all() == [one]
    await bench.turn(ID)
    await bench.end(bench.told.ids[3])
    lines = [(row.line, outcome.state) async for row, outcome in bench.batches.report(ID)]
    assert lines == [(line, "bound" if line == 5 else "") for line in range(2, 702)]


async def test_other_rows_or_options_are_a_conflict_and_change_nothing(bench: FeedBench) -> None:
    await upload(bench)
    before = await bench.read(ID)
    with pytest.raises(BatchConflictError, match="other options"):
        await bench.batches.create(ID, "b", BatchOptions(window=5), "ada")
    with pytest.raises(BatchConflictError, match="other rows from row 501 on"):
        await bench.batches.put_chunk(ID, 1, TEXTS[:200])
    with pytest.raises(BatchConflictError, match="700 rows in 2 of 2 chunks, not 701"):
        await bench.batches.seal(ID, 701)
    assert await bench.read(ID) == before
    await bench.batches.seal(ID, 700)
    with pytest.raises(BatchConflictError, match="takes no rows any more"):
        await bench.batches.put_chunk(ID, 2, TEXTS[:1])


async def test_a_chunk_that_is_missing_keeps_it_unsealed(bench: FeedBench) -> None:
    await bench.batches.create(ID, "b", BatchOptions(), "ada")
    await bench.batches.put_chunk(ID, 1, CHUNKS[1])
    with pytest.raises(BatchConflictError, match="200 rows in 1 of 2 chunks"):
        await bench.batches.seal(ID, 200)
    await bench.batches.put_chunk(ID, 0, CHUNKS[0])
    assert (await bench.batches.seal(ID, 700)).state is BatchState.RUNNING


async def test_a_batch_without_rows_finishes(bench: FeedBench) -> None:
    await upload(bench, [])
    await bench.batches.seal(ID, 0)
    assert await bench.turn(ID) is None
    assert (await bench.read(ID)).state is BatchState.FINISHED


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (BatchOptions(window=0), "window"),
        (BatchOptions(per_second=-1), "per_second"),
        (BatchOptions(not_before="22:00"), "not_after"),
        (BatchOptions(not_before="22:00", not_after="6:00"), "not_after"),
    ],
)
async def test_options_that_cannot_be_are_named(bench: FeedBench, options: BatchOptions, field: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await bench.batches.create(ID, "b", options, "ada")
    assert [fault.field for fault in refused.value.faults] == [field]
    assert not await bench.batches.all()


async def test_what_is_not_there_says_so(bench: FeedBench) -> None:
    batches = bench.batches
    for ask in (
        lambda: batches.read(ID),
        lambda: batches.put_chunk(ID, 0, TEXTS[:1]),
        lambda: batches.seal(ID, 0),
        lambda: batches.pause(ID, "ada"),
        lambda: batches.retry(ID, None, "ada"),
        lambda: batches.remove(ID),
    ):
        with pytest.raises(BatchNotFoundError):
            await ask()


async def test_a_removal_that_broke_off_goes_on(bench: FeedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    await upload(bench)
    with monkeypatch.context() as patch:
        patch.setattr(bench.batches, "_remove_rows", None)
        with pytest.raises(TypeError):
            await bench.batches.remove(ID)
    assert not await bench.batches.all()
    with pytest.raises(BatchConflictError, match="being removed"):
        await bench.batches.create(ID, "b", BatchOptions(), "ada")
    await bench.batches.remove(ID)
    assert not await bench.client.keys("axn1:*batch*")


async def test_what_people_do_to_it_stands_in_the_audit(bench: FeedBench) -> None:
    await upload(bench)
    await bench.batches.seal(ID, 700)
    await bench.batches.pause(ID, "ada", "lunch")
    await bench.batches.cancel(ID, "bob")
    lines = [(line.by, line.what, line.was, line.now, line.subject) for line in await bench.batches._audit.newest(10)]
    assert sorted(lines) == [
        ("ada", "batch pause", "running", "paused", ID),
        ("bob", "batch cancel", "paused", "cancelled", ID),
    ]


async def bytes_of(bench: FeedBench, keys: list[str]) -> int:
    return sum([await bench.client.memory_usage(key, samples=0) or 0 for key in keys])


async def test_a_row_takes_little_memory_before_its_turn_and_after_its_end(bench: FeedBench) -> None:
    given: Any = list(_binds(2_000))[1:]
    rows = [row(line, dict(zip(HEADER, cells, strict=True)), Operation.BIND) for line, cells in enumerate(given, 2)]
    batch_id = await bench.started(rows, "memory")
    assert await bytes_of(bench, [chunk_key(batch_id, chunk) for chunk in range(4)]) < 60 * 2_000
    while (await bench.read(batch_id)).begun < 2_000:
        await bench.turn(batch_id)
    await bench.end_all(BOUND)
    outcomes = [outcomes_key(partition, batch_id, chunk) for chunk in range(4) for partition in ALL_PARTITIONS]
    assert {await bench.client.object("encoding", key) for key in outcomes} == {"listpack"}
    counts = [counts_key(partition, batch_id) for partition in ALL_PARTITIONS]
    assert await bytes_of(bench, outcomes + counts) < 80 * 2_000
