"""Every attempt at a job, whoever makes it and why, is a span of the trace in which the job was filed."""

from collections import Counter

import pytest
from opentelemetry import trace
from redis.asyncio import Redis

from tests.attempt.bench import AMBIGUOUS, DONE, THROTTLED, WRONG, Bench, FakeProvider
from tests.delivery.support import deliver_when_due, delivering, owing
from tests.ledger.support import callback_record_of, claimed, ledger_of, record_of
from tests.provider.loopback import always, answer, serving
from tests.traces.support import Kept, TracedBench, parent_of, told_of


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def bench(redis: Redis, kept: Kept) -> TracedBench:
    return TracedBench(redis, kept)


async def test_an_attempt_s_parts_are_its_spans(bench: TracedBench, kept: Kept) -> None:
    bench.provider = FakeProvider(DONE)
    job = await bench.opened()
    assert await bench.attempt(job) == "bound"
    spans = kept.spans()
    told = {span.name: told_of(span) for span in spans}
    assert {span.name: parent_of(span, spans) for span in spans} == {
        "filed": "", "axn.attempt": "filed", "axn.claim": "axn.attempt", "axn.permit": "axn.attempt",
        "BindAxn": "axn.attempt", "axn.settle": "axn.attempt",
    }  # fmt: skip
    expected = {"job_id": job.job_id, "lane": "checkout", "kind": "bind", "attempt": 1, "fence": 1, "rescues": 0}
    assert told["axn.attempt"] == expected
    assert told["BindAxn"] == {"action": "BindAxn", "verdict": "done", "code": "OK", "request_id": "request-1"}
    assert told["axn.settle"] == {"state": "bound", "code": "OK"}
    (attempt,), (claim,) = kept.named("axn.attempt"), kept.named("axn.claim")
    assert attempt.start_time is not None
    assert claim.start_time is not None
    assert attempt.start_time <= claim.start_time <= attempt.start_time + 10**7
    assert all(span.status.status_code is not trace.StatusCode.ERROR for span in spans)


async def test_retries_and_rescues_are_spans_of_the_same_trace(bench: TracedBench, kept: Kept) -> None:
    bench.provider = FakeProvider(THROTTLED, AMBIGUOUS, DONE)
    job = await bench.opened()
    await bench.attempt(job)
    await bench.attempt(job)
    await bench.attempt(job)
    other = await bench.opened(key="2")
    await claimed(bench.ledger, other.job_id)  # by a worker that dies
    bench.provider = FakeProvider(WRONG)
    await bench.attempt(other)
    attempts = kept.named("axn.attempt")
    assert [told_of(span)["fence"] for span in attempts] == [1, 2, 3, 2]
    assert told_of(attempts[-1])["rescues"] == 1
    traces = Counter(span.context.trace_id for span in attempts if span.context)
    assert sorted(traces.values()) == [1, 3]
    (filed, _) = kept.named("filed")
    assert filed.context
    assert traces[filed.context.trace_id] == 3
    failed = [span.name for span in kept.spans() if span.status.status_code is trace.StatusCode.ERROR]
    assert failed.count("BindAxn") == 3
    assert failed.count("axn.settle") == 1


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_who_files_a_job_decides_and_writes_nothing_for_one_that_is_not_traced(
    redis: Redis, share: float
) -> None:
    kept = Kept(share=share)
    bench = TracedBench(redis, kept)
    bench.provider = FakeProvider(DONE)
    job = await bench.opened()
    assert ("trace" in await record_of(redis, job.job_id)) == bool(share)
    await bench.attempt(job)
    (claim,) = bench.courier.started
    assert bool(claim.trace) == bool(share)
    assert ("trace" in await callback_record_of(redis, claim.webhook_id)) == bool(share)
    assert bool(kept.spans()) == bool(share)


async def test_a_job_of_a_producer_without_traces_is_not_traced_by_a_worker_with_them(
    bench: TracedBench, kept: Kept, redis: Redis
) -> None:
    bench.ledger = ledger_of(redis)
    bench.provider = FakeProvider(DONE)
    job = await Bench.opened(bench)
    await bench.attempt(job)
    assert kept.spans() == []


async def test_a_call_outside_an_attempt_is_no_span_also_in_a_task_begun_in_one(
    bench: TracedBench, kept: Kept, redis: Redis
) -> None:
    with kept.tracer.root("over"):
        context = trace.get_current_span()
    with trace.use_span(context, end_on_exit=False):  # as in a task that outlives it
        assert kept.tracer.here() == ""
        with kept.tracer.step("late"):
            pass
    assert [span.name for span in kept.spans()] == ["over"]


async def test_every_try_of_a_callback_is_a_span_of_its_job_s_trace(redis: Redis, kept: Kept) -> None:
    with kept.tracer.root("filed"):
        trace_ = kept.tracer.here()
    async with (
        serving(always(answer(b"no", status=500))) as receiver,
        delivering(redis, traces=kept.tracer) as delivery,
    ):
        job_id, webhook_id = await owing(redis, receiver.url, trace=trace_)
        _, untraced = await owing(redis, receiver.url, key="2")
        await deliver_when_due(redis, delivery, webhook_id)
        await deliver_when_due(redis, delivery, untraced)
        await deliver_when_due(redis, delivery, webhook_id)
        assert [request.headers.get("traceparent") for request in receiver.requests] == [None] * 3
    tries = kept.named("axn.callback")
    assert [told_of(span)["tries"] for span in tries] == [1, 2]
    assert told_of(tries[0]) == {
        "job_id": job_id, "webhook_id": webhook_id, "host": "127.0.0.1", "tries": 1, "status": 500,
        "result": tries[0].status.description,
    }  # fmt: skip
    assert {parent_of(span, kept.spans()) for span in tries} == {"filed"}
