"""All that a ledger is asked for, on the Redis under test."""

import json
from uuid import uuid4

from typer.testing import CliRunner

from tasks import (
    BatchState,
    JobState,
    RebindRequest,
    UnbindRequest,
    UpdateRequest,
    batch_report,
    read_batch,
    start_batch,
    submit,
    submit_many,
)
from tests.local.processes import wait_until
from tests.redis_topologies.support import WAIT_S, Shop
from worker.batch_producers import remove_batch
from worker.cli.main import app

MANY = 40
"""Enough to be in all partitions."""
COMMANDS = (
    ["status"],
    ["jobs", "--state", "failed"],
    ["jobs", "--state", "waiting"],
    ["jobs", "audit"],
    ["bindings", "list"],
    ["callbacks", "list"],
    ["callbacks", "list", "--dead"],
    ["pace", "show"],
    ["batch", "list"],
)
"""Listings and looks that together read every index."""


def axn(*words: str) -> str:
    """What the command prints; it must succeed."""
    ended = CliRunner().invoke(app, list(words))
    assert ended.exit_code == 0, (words, ended.output, ended.exception)
    return str(ended.output)


def go_the_whole_way(shop: Shop) -> None:
    """Bind one and many, update, rebind, unbind, a batch; list it all."""
    order = uuid4().hex
    first = submit(shop.request(order))
    many = [row.job_id for row in submit_many(shop.request(f"{order}-{n}") for n in range(MANY))]
    bound = shop.ended([first, *many])
    assert {job.state for job in bound} == {JobState.BOUND}
    assert len({job.phone_no_x for job in bound}) == len(bound)
    shop.await_callbacks([first, *many])
    changes = [
        row.job_id
        for row in submit_many(
            [
                UpdateRequest(bind_job_id=many[0], out_id="new"),
                RebindRequest(bind_job_id=many[1], phone_no_a="13900005678"),
                UnbindRequest(bind_job_id=many[2]),
            ]
        )
    ]
    assert all(job.state.is_success for job in shop.ended(changes))
    _play_a_batch(shop, order)
    for command in COMMANDS:
        axn(*command)
    axn("bindings", "show", many[0])
    axn("pace", "set", "BindAxn", "150")
    axn("pace", "set", "BindAxn", "default")
    listed = {json.loads(line)["job_id"] for line in axn("jobs", "--json", "--limit", "1000").splitlines()}
    assert {first, *many, *changes} <= listed


def _play_a_batch(shop: Shop, order: str) -> None:
    rows = [{"phone_no_a": f"139{n:08}", "expires_in": "2h", "out_order_id": f"{order}-row-{n}"} for n in range(30)]
    start_batch(rows, name=order, op="bind", window=20)
    wait_until(lambda: read_batch(order).state is BatchState.FINISHED, WAIT_S)
    assert read_batch(order).by_state == {"bound": 30}
    assert {line.outcome for line in batch_report(order)} == {"bound"}
    remove_batch(order)
