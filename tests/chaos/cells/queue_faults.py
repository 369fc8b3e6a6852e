"""E: messages that come twenty times, too late, too early, broken, or not at all."""

import asyncio
import json
import pickle
from typing import Any

from tests.chaos.bench import Bench, Cell
from tests.chaos.checker import FAULT, WRONG
from tests.chaos.histories import read_producer
from tests.chaos.messages import jobs_message, message
from tests.chaos.orders import Order, Plan
from tests.chaos.system import SystemOptions
from worker.domain.job_ids import job_id_for_key

_QUEUES = ("axn.checkout", "axn.batch")
_COPIES = 20
_PILE_S = 0.5
_RESTORE_S = 3.0
_STRANGERS = 5
_BOUND_WITHIN_S = 20.0
_LARGE_BYTES = 10 << 20
_RESCUES = "3"


async def duplicates(bench: Bench) -> None:
    """Every waiting message twenty times, shuffled; then all messages of the run once more, as if from yesterday."""
    broker, seen = bench.system.broker, set[tuple[str, bytes]]()

    async def copy() -> None:
        workers = list(bench.system.workers.values())
        async with bench.paused(workers[0]), bench.paused(workers[1]):
            await asyncio.sleep(_PILE_S)
            for queue in _QUEUES:
                found: list[Any] = await broker.lrange(queue, 0, -1)
                seen.update((queue, each) for each in found)
                copies = [each for each in found for _ in range(_COPIES)]
                bench.rng.shuffle(copies)
                if copies:
                    await broker.lpush(queue, *copies)

    async def replay() -> None:
        for queue, each in bench.rng.sample(sorted(seen), len(seen)):
            await broker.lpush(queue, each)
        await asyncio.sleep(_PILE_S)

    await bench.run("20 copies of each message", copy)
    await bench.run("yesterday's messages", replay)
    if not seen:
        bench.blame("F0", FAULT, "no message was waiting to be copied")


async def restored_too_early(bench: Bench) -> None:
    """What a visibility timeout shorter than the task does: messages under way are put back into the queue, often.

    The application fixes the timeout at ten minutes and more, so the harness puts them back by hand.
    """
    broker, restored = bench.system.broker, 0

    async def put_back() -> None:
        nonlocal restored
        until = asyncio.get_running_loop().time() + _RESTORE_S
        while asyncio.get_running_loop().time() < until:
            under_way: dict[Any, Any] = await broker.hgetall("unacked")
            for value in under_way.values():
                content, _, routing_key = json.loads(value)
                await broker.lpush(routing_key, json.dumps(content))
                restored += 1
            await bench.sleep(0.05, 0.3)

    for number in (1, 2):
        async with bench.system.provider_fault(kind="latency", latency_ms=400):
            await bench.run(f"unacknowledged messages put back, {number}", put_back)
    if not restored:
        bench.blame("F0", FAULT, "no message was under way to be put back")


async def poison(bench: Bench) -> None:
    """Messages that nobody can read, and a job whose every attempt kills its process: all others go on."""
    broker = bench.system.broker
    huge = message("axn.bind", [{"phone_no_a": "1" * _LARGE_BYTES}], queue="axn.checkout")
    evil = pickle.dumps({"v": 1})
    bad: dict[str, bytes] = {
        "an unknown task": message("axn.nothing", [], queue="axn.checkout"),
        "an unknown version": jobs_message([job_id_for_key("nobody")], version=99),
        "no mapping": message("axn.jobs", ["text"], queue="axn.checkout"),
        "10 MB": huge,
        "pickle": message(
            "axn.jobs", [], queue="axn.checkout", content_type="application/x-python-serialize", body=evil
        ),
        "JSON without a message": b'{"a": 1}',
        "no JSON": b"}{",
    }
    for name, raw in bad.items():

        async def push(raw: bytes = raw) -> None:
            await broker.lpush("axn.checkout", raw)
            await asyncio.sleep(1.0)

        await bench.run(f"poison: {name}", push)
    await _killing_job(bench)


async def _killing_job(bench: Bench) -> None:
    worker = bench.system.workers["checkout"]
    killer = bench.book.one(on_doubt="hold")
    orders: list[Order] = [killer, *bench.book.make(bench.jobs_per_run - 1)]
    # Not once it is claimed: there it would also crash with the claim that finds it to be poison.
    worker.every_env["AXN_STEPS_CRASH"] = f"attempt.sending@{job_id_for_key(killer.order)}"

    async def nothing() -> None:
        await asyncio.sleep(0)

    await bench.kill(worker)
    await bench.run(
        "a job that kills each worker", nothing, orders=orders, may_end={killer.order: frozenset({"failed"})}
    )
    worker.every_env.clear()


async def _bound_jobs(bench: Bench) -> list[str]:
    history = read_producer(bench.system.history_of(str(bench.runs)))
    records = await bench.system.records([job_id for job_id, _ in history.accepted.values()])
    return [job_id for job_id, record in records.items() if record and record.state == "bound"]


async def strays(bench: Bench) -> None:
    """Messages of jobs without a record, and records without a message."""
    system, vanished = bench.system, set[str]()

    async def delete_records() -> None:
        strangers = [job_id_for_key(f"nobody-{number}") for number in range(_STRANGERS)]
        await system.broker.lpush("axn.checkout", jobs_message(strangers))
        until = asyncio.get_running_loop().time() + _BOUND_WITHIN_S
        while not (bound := await _bound_jobs(bench)) and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        if not bound:
            bench.blame("F0", FAULT, "no job was bound whose record could be deleted")
        for job_id in bound[:_STRANGERS]:
            vanished.add(job_id)
            await system.delete_record(job_id)
            await system.broker.lpush("axn.checkout", jobs_message([job_id]))
        await asyncio.sleep(_PILE_S)

    async def delete_messages() -> None:
        workers = list(system.workers.values())
        for _ in range(2):
            async with bench.paused(workers[0]), bench.paused(workers[1]):
                await asyncio.sleep(_PILE_S)
                await system.broker.delete(*_QUEUES)
            await asyncio.sleep(0.1)

    await bench.run("records deleted", delete_records, vanished=lambda: vanished)
    await bench.run("messages deleted", delete_messages)


async def same_keys(bench: Bench) -> None:
    """Four producers submit the same orders at once; a fifth comes with other bodies under the same keys."""
    system = bench.system
    orders = bench.book.make(bench.jobs_per_run)
    others = [Order(order.order, order.request | {"phone_no_a": "13700000000"}) for order in orders]

    async def submit_the_same() -> None:
        plan = Plan(len(orders) / 2.0, list(orders))
        producers = [await system.start_producer(plan, f"same-{number}") for number in range(3)]
        await asyncio.gather(*(asyncio.wait_for(each.is_done.wait(), 60) for each in producers))

    async def submit_others() -> None:
        producer = await system.start_producer(Plan(len(others) / 2.0, others), "other")
        await asyncio.wait_for(producer.is_done.wait(), 60)

    history = await bench.run("the same orders from four producers", submit_the_same, orders=orders)
    for number in range(3):
        _compare(bench, history.accepted, read_producer(system.history_of(f"same-{number}")).accepted)
    await bench.run("other bodies under the same keys", submit_others)
    refused = read_producer(system.history_of("other")).refused
    for order in others:
        if refused.get(order.order) != "IdempotencyConflictError":
            bench.blame("E5", WRONG, f"order {order.order}: another body under its key was not refused as a conflict")


def _compare(bench: Bench, one: dict[str, Any], other: dict[str, Any]) -> None:
    for order in one:
        if other.get(order, ("",))[0] != one[order][0]:
            bench.blame("E5", WRONG, f"order {order}: the same key and body is not the same job")


CELLS = (
    Cell("E1", "messages 20 times, shuffled, stale", duplicates, runs=2),
    Cell("E2", "messages restored while under way", restored_too_early, runs=2),
    Cell(
        "E3", "poison messages, a job that kills", poison, runs=8, weight=0.5,
        options=SystemOptions(tuning={"AXN_RESCUES": _RESCUES}),
    ),
    Cell("E4", "message without record, and the reverse", strays, runs=2),
    Cell("E5", "same key at once; another body", same_keys, runs=2),
)  # fmt: skip
