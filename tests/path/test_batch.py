"""A batch through the real worker: bound, changed and ended by rows that name their bindings in all ways."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from tests.batches.feed_bench import row
from tests.live import Running
from worker.batches.assembly import build_batches
from worker.batches.operations import Operation
from worker.batches.row_codec import RowCodec
from worker.batches.rows import Row
from worker.domain.batch import Batch, BatchOptions, RowOutcome, batch_id_for_name
from worker.redis_scripts import connect

WAIT_S = 30.0


async def done(redis: Redis, rows: Sequence[Row], options: BatchOptions) -> tuple[Batch, list[RowOutcome]]:
    """The batch of these rows when it has finished, with their outcomes."""
    batches, name = build_batches(redis), uuid4().hex
    batch_id = batch_id_for_name(name)
    await batches.create(batch_id, name, options, "tester")
    await batches.put_chunk(batch_id, 0, [RowCodec.text_of(one) for one in rows])
    batch = await batches.seal(batch_id, len(rows))
    deadline = time.monotonic() + WAIT_S
    while not batch.state.is_end:
        assert time.monotonic() < deadline, batch
        await asyncio.sleep(0.05)
        batch = await batches.read(batch_id)
    return batch, [outcome async for _, outcome in batches.report(batch_id)]


async def play(url: str, callback_url: str) -> tuple[Batch, list[RowOutcome], list[RowOutcome]]:
    redis = connect(url, timeout_ms=2000)
    try:
        orders = uuid4().hex
        expires = {"expiration": "2099-12-01 12:00:00"}
        binds = [
            row(n, {"phone_no_a": f"1390000{n:04}", **expires, "out_order_id": f"{orders}-{n}"}, Operation.BIND)
            for n in range(2, 8)
        ]
        bound, outcomes = await done(redis, binds, BatchOptions(callback_url=callback_url))
        assert bound.by_state == {"bound": 6}
        by_job = [{"bind_job_id": outcome.job_id} for outcome in outcomes]
        by_number = {"subs_id": outcomes[5].subs_id, "phone_no_x": outcomes[5].phone_no_x, "pool_key": "FC123456"}
        changes = [
            row(2, {**by_job[0], "phone_no_a": "13900008888"}, Operation.MOVE_A),
            row(3, {**by_job[1], "phone_no_b": "13900007777"}, Operation.MOVE_B),
            row(4, {**by_job[2], "expires_in": "48h"}, Operation.SET_EXPIRATION),
            row(5, {**by_job[3], "is_recording_enabled": "true"}, Operation.SET_RECORDING),
            row(6, {"out_order_id": f"{orders}-6", "out_id": "mine"}, Operation.SET_OUT_ID),
            row(7, by_number, Operation.UNBIND),
            row(8, {"bind_job_id": "0" * 26}, Operation.UNBIND),
        ]
        _, changed = await done(redis, changes, BatchOptions())
        return bound, outcomes, changed
    finally:
        await redis.aclose()


def finished_events(running: Running, batch_id: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(running.system.receiver_url + "/_receiver/events", timeout=10) as answer:
        events = json.load(answer)
    return [event for event in events if event["verified"] and event["data"].get("batch_id") == batch_id]


def test_every_kind_of_row_comes_to_its_end_and_the_batch_tells(running: Running) -> None:
    bound, outcomes, changed = asyncio.run(
        play(running.system.env["AXN_REDIS_URL"], running.system.receiver_url + "/axn")
    )
    assert len({outcome.phone_no_x for outcome in outcomes}) == 6
    assert [outcome.state for outcome in changed] == [*["updated"] * 5, "unbound", "refused"]
    assert changed[6].code == "request.invalid"
    assert [outcome.subs_id for outcome in changed[:6]] == [outcome.subs_id for outcome in outcomes]
    deadline = time.monotonic() + WAIT_S
    while not (events := finished_events(running, bound.batch_id)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [event["data"]["by_state"] for event in events] == [{"bound": 6}]
