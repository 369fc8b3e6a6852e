"""G: renewals against a person's changes of the same bindings, while workers die in the midst of both."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.bench import Bench, Cell
from tests.chaos.checker import DOUBLED, FAULT, LOST, WRONG
from tests.chaos.system import ChaosSystem, SystemOptions
from worker.domain.expiration import parse_expiration, unix_ms
from worker.domain.job import JobKind, Lane
from worker.domain.job_ids import PARTITION_COUNT, job_id_for_key, partition_of
from worker.domain.renewal import RenewalPolicy
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.keys import job_keys, timetable_key
from worker.ledger.ledger import Ledger
from worker.ledger.records import NewJob
from worker.ledger.renewal_keys import renewal_member, renewals_due_key, renewals_key, renewals_lease_key
from worker.ledger.renewals import Renewals
from worker.provider.nonce import new_seed
from worker.renewals.telling import wire_of

STEPS = ("renewal.sending+5", "renewal.answered", "renewal.settled")
_EXTENSION_MS = 86_400_000
_MOST_BINDINGS = 60
_WORDS = 3
_HOUR_MS = 3_600_000
_DUE_AGAIN_S = 0.5
_ALL_SAID_WITHIN_S = 60.0
_QUIET_WITHIN_S = 60.0
_SOON_MS = 1_800_000
"""Well before any binding's next period: all ends are set at least four hours ahead."""


@dataclass
class Spoken:
    """What a person said of a binding: its last end, and whether it was ended after that."""

    binding_id: str
    subs_id: str
    phone_no_x: str
    pool_key: str
    is_ended: bool
    word: int = 0


async def renewed_and_changed(bench: Bench, steps: Sequence[str] = STEPS) -> None:
    """Bindings come due again and again; a person sets their ends and unbinds every third; the worker dies."""
    system = bench.system
    history = await bench.run("bound, to be kept", _nothing)
    renewals = Renewals(system.ledger)
    spoken = await _kept(renewals, [job_id for job_id, _ in history.accepted.values()][:_MOST_BINDINGS])
    if not spoken:
        bench.blame("F0", FAULT, "nothing was bound that could be kept")
        return
    is_said = asyncio.Event()
    due = asyncio.create_task(_make_due(system, [one.binding_id for one in spoken], is_said))
    deaths = asyncio.create_task(_die(bench, steps))
    try:
        await asyncio.gather(*(_say(bench, number, one) for number, one in enumerate(spoken)), deaths)
    finally:
        is_said.set()
        await due
    await _judge(bench, renewals, spoken)
    bench.unbound = {one.subs_id for one in spoken if one.is_ended}


async def _nothing() -> None:
    pass


async def _kept(renewals: Renewals, job_ids: Sequence[str]) -> list[Spoken]:
    policy = RenewalPolicy(extend_by_ms=_EXTENSION_MS)
    kept = [job_id for job_id in job_ids if await renewals.keep(job_id, policy) is not None]
    found = await renewals.read(kept)
    return [
        Spoken(one.binding_id, one.subs_id, one.phone_no_x, one.pool_key, is_ended=number % 3 == 0)
        for number, one in enumerate(found)
        if isinstance(one, KeptBinding)
    ]


async def _make_due(system: ChaosSystem, binding_ids: Sequence[str], is_over: asyncio.Event) -> None:
    """All that is still kept is due, time and again."""
    while not is_over.is_set():
        pipeline = system.ledger.pipeline(transaction=False)
        for binding_id in binding_ids:
            partition = partition_of(binding_id)
            pipeline.zadd(renewals_key(partition), {binding_id: 1}, xx=True)
            pipeline.zadd(timetable_key(partition), {renewal_member(partition): 1}, xx=True)
        await pipeline.execute()
        await asyncio.sleep(_DUE_AGAIN_S)


async def _die(bench: Bench, steps: Sequence[str]) -> None:
    worker = bench.system.workers["batch"]
    for step in steps:
        await bench.arm(worker, f"{step}:{bench.rng.randint(2, 8)}")
        await bench.crashed(worker, worker.deaths)


async def _say(bench: Bench, number: int, one: Spoken) -> None:
    """Some ends, each with a second of its own so that it can be told from renewals; then, perhaps, the end."""
    for turn in range(_WORDS):
        word = (time.time_ns() // 1_000_000 + (4 + turn) * _HOUR_MS) // 1000 * 1000
        one.word = word + (number * 10 + turn + 1) * 1000
        operation = {"OperateType": "updateExpire", "Expiration": wire_of(one.word), "PhoneNoX": one.phone_no_x}
        await _done(bench, one, JobKind.UPDATE, f"{turn}", operation)
        await bench.sleep(0.0, 1.0)
    if one.is_ended:
        await _done(bench, one, JobKind.UNBIND, "end", {"SecretNo": one.phone_no_x})


async def _done(bench: Bench, one: Spoken, kind: JobKind, key: str, parameters: dict[str, str]) -> None:
    system = bench.system
    ledger = Ledger(system.ledger, result_ttl_ms=_HOUR_MS, first_look_ms=100)
    job_id = job_id_for_key(f"{one.binding_id}:{key}")
    named = {"SubsId": one.subs_id, "PoolKey": one.pool_key}
    job = NewJob(
        job_id=job_id, lane=Lane.CHECKOUT, parameters=named | parameters, digest=job_id, seed=new_seed(), kind=kind,
        is_confirmed=True, binding_id=one.binding_id,
    )  # fmt: skip
    await ledger.open(job)
    deadline = time.monotonic() + _ALL_SAID_WITHIN_S
    while (state := await system.ledger.hget(job_keys(job_id).job, "state")) not in ("updated", "unbound"):  # type: ignore[misc, unused-ignore]
        if state == "failed" or time.monotonic() > deadline:
            bench.blame("G3", LOST, f"a person's {kind.value} ended as {state!r}", job_id)
            return
        await asyncio.sleep(0.1)


async def _judge(bench: Bench, renewals: Renewals, spoken: Sequence[Spoken]) -> None:
    """When all is quiet: the last word holds, on both sides, and each renewal was counted once."""
    await _until_quiet(bench)
    at_provider = {one["SubsId"]: one for one in (await bench.system.ask_sandbox("GET", "bindings"))["bindings"]}
    counted = 0
    for one, kept in zip(spoken, await renewals.read([one.binding_id for one in spoken]), strict=True):
        shown = at_provider[one.subs_id]
        if not isinstance(kept, KeptBinding):
            bench.blame("G3", LOST, "its record is gone", one.binding_id)
            continue
        counted += kept.number
        if one.is_ended:
            if shown["live"] or kept.is_active:
                bench.blame("G3", WRONG, "was unbound by a person, and is there again", one.binding_id)
            continue
        ends_at = unix_ms(parse_expiration(shown["ExpireDate"]))
        if ends_at != kept.expires_at:
            bench.blame("G3", WRONG, f"ends {shown['ExpireDate']}, the record says {kept.expiration}", one.binding_id)
        if (ends_at - one.word) % _EXTENSION_MS or ends_at < one.word:
            bench.blame("G3", WRONG, f"ends {shown['ExpireDate']}, which follows from no last word", one.binding_id)
        if (ends_at - one.word) // _EXTENSION_MS > kept.number:
            bench.blame("G3", DOUBLED, "was extended more often than was counted", one.binding_id)
    bench.figures |= {"kept": len(spoken), "renewals": counted}
    if 3 * counted < len(spoken):
        bench.blame("F0", FAULT, f"only {counted} renewals of {len(spoken)} bindings: nothing was mixed")


async def _until_quiet(bench: Bench) -> None:
    """Until nothing is due, put off for a moment, or held by a process that died."""
    deadline = time.monotonic() + _QUIET_WITHIN_S
    while await _is_any_to_be_seen_to(bench.system):
        if time.monotonic() > deadline:
            bench.blame("G3", LOST, "renewals that had come due were not made")
            return
        await asyncio.sleep(0.2)


async def _is_any_to_be_seen_to(system: ChaosSystem) -> bool:
    soon = time.time_ns() // 1_000_000 + _SOON_MS
    pipeline = system.ledger.pipeline(transaction=False)
    for partition in range(PARTITION_COUNT):
        pipeline.zcard(renewals_due_key(partition))
        pipeline.exists(renewals_lease_key(partition))
        pipeline.zcount(renewals_key(partition), 0, soon)
    return any(await pipeline.execute())


CELLS = (
    Cell(
        "G3",
        "renewals against changes, killed in the midst",
        renewed_and_changed,
        runs=1,
        options=SystemOptions(
            tuning={"AXN_RENEWAL__LEASE": "2s", "AXN_PACE__UPDATE_PER_SECOND": "500", "AXN_DOUBT__READ_LAG": "1s"}
        ),
        weight=0.3,
    ),
)
