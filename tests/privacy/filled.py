"""A ledger with a record of every kind, and what is read from it."""

import dataclasses
import json
from typing import Any

from redis.asyncio import Redis

from tests.ledger.support import claimed, new_job, owed
from worker.batches.operations import Operation
from worker.batches.row_codec import RowCodec
from worker.batches.rows import BindRow
from worker.domain.batch import BatchOptions, row_job_id
from worker.domain.binding import BindingName, NameKind
from worker.domain.job import Job, JobKind, JobState, Orphan
from worker.domain.rebinding import RebindMode
from worker.ledger.batch_rows import RowPlace
from worker.ledger.batches import BatchLedger
from worker.ledger.bindings import BindingLedger
from worker.ledger.callback_listing import CallbackListing
from worker.ledger.keys import webhook_id_of
from worker.ledger.ledger import Ledger
from worker.ledger.rebind_record import Rebinding
from worker.ledger.records import AttemptKnowledge, NewJob, Settlement
from worker.ledger.renewals import Renewals
from worker.ledger.seal import Seal

EXPIRATION = "2099-01-01 00:00:00"
A, B, OTHER_A, ROW_A = "13800000001", "13800000002", "13800000003", "13800000004"
X, OLD_X, ORPHAN_X, ROW_X = "17000000001", "17000000002", "17000000003", "17000000004"
NUMBERS = (A, B, OTHER_A, ROW_A, X, OLD_X, ORPHAN_X, ROW_X)
BATCH = "k" + "b" * 25


@dataclasses.dataclass(frozen=True)
class Parts:
    """The ledgers of one Redis, all with the same seal."""

    redis: Redis
    seal: Seal
    result_ttl_ms: int = 600_000
    keep_ms: int = 600_000

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.redis, result_ttl_ms=self.result_ttl_ms, first_look_ms=5_000, seal=self.seal)

    @property
    def bindings(self) -> BindingLedger:
        renewals = Renewals(self.redis, seal=self.seal)
        return BindingLedger(
            self.redis, keep_ms=self.keep_ms, result_ttl_ms=self.result_ttl_ms, renewals=renewals, seal=self.seal
        )

    @property
    def batches(self) -> BatchLedger[Any]:
        return BatchLedger(self.redis, RowCodec.row_of, self.seal)


def row_text() -> str:
    wishes = {"phone_no_a": ROW_A, "expiration": EXPIRATION}
    return RowCodec.text_of(BindRow(line=1, key="row1", operation=Operation.BIND, wishes=wishes))


def jobs() -> dict[str, NewJob]:
    place = RowPlace(BATCH, 0, 0, 0)
    base = {"Expiration": EXPIRATION}
    rebind = Rebinding(RebindMode.NEW_X, "200", OLD_X)
    return {
        "waiting": new_job("waiting", parameters={"PhoneNoA": OTHER_A, **base}),
        "bound": new_job("bound", parameters={"PhoneNoA": A, "PhoneNoB": B, "OutOrderId": "order", **base}),
        "failed": new_job("failed", parameters={"PhoneNoA": A, **base}),
        "rebind": new_job("rebind", kind=JobKind.REBIND, parameters={"PhoneNoA": B}, rebind=rebind),
        "row": new_job(
            "row", job_id=row_job_id(BATCH, "row1", 0), parameters={"PhoneNoA": ROW_A, **base}, batch=str(place)
        ),
    }


async def fill(parts: Parts) -> None:
    """One of each."""
    filed, ledger = jobs(), parts.ledger
    await parts.batches.create(BATCH, "rows", BatchOptions(), "me")
    await parts.batches.put_chunk(BATCH, 0, [row_text()])
    await parts.batches.seal(BATCH, 1)
    for job in filed.values():
        assert await ledger.open(job)
    bound = {"phone_no_x": X, "subs_id": "100", "code": "OK"}
    claim = await claimed(ledger, filed["bound"].job_id)
    callback = dataclasses.replace(
        owed(webhook_id_of(claim.job_id, claim.fence)), body=json.dumps({"type": "t", "data": {"phone_no_x": X}})
    )
    assert await ledger.settle(claim, Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, bound, callback=callback))
    assert await ledger.report_orphan(claim, Orphan(ORPHAN_X, "101", ""), None)
    failed = Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, {"code": "isv.BIND_CONFLICT"})
    assert await ledger.settle(await claimed(ledger, filed["failed"].job_id), failed)
    step = {"old": json.dumps({"PhoneNoA": A, "PhoneNoX": OLD_X}), "request": json.dumps({"PhoneNoA": B})}
    waiting = Settlement(JobState.WAITING, AttemptKnowledge.CLOSED, step)
    assert await ledger.settle(await claimed(ledger, filed["rebind"].job_id), waiting)
    of_row = {"phone_no_x": ROW_X, "subs_id": "102", "code": "OK"}
    row = await claimed(ledger, filed["row"].job_id)
    assert await ledger.settle(row, Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, of_row))


async def read_all(parts: Parts) -> dict[str, Any]:
    """All that it tells of numbers, by whatever way one is read."""
    filed = jobs()
    read: dict[str, Job] = {name: await parts.ledger.read(job.job_id) for name, job in filed.items()}
    rebind = (await parts.ledger.claim_of_ended(filed["rebind"].job_id)).rebind
    (by_x,) = await parts.bindings.look_up([BindingName(NameKind.PHONE_NO_X, X)])
    callback = await CallbackListing(parts.redis, parts.seal).read(webhook_id_of(filed["bound"].job_id, 1))
    rows = [(row.wishes["phone_no_a"], outcome.phone_no_x) async for row, outcome in parts.batches.report(BATCH)]
    return {
        "jobs": read,
        "parameters": {
            name: dict((await parts.ledger.claim_of_ended(job.job_id)).parameters) for name, job in filed.items()
        },
        "rebind": rebind,
        "binding": [(one.binding_id, one.phone_no_x, one.phone_no_a) for one in by_x],
        "named": await parts.ledger.bindings_of([filed["bound"].job_id]),
        "body": callback.body,
        "rows": rows,
    }
