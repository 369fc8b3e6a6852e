"""On the ways on which errors are reported, no span shows a number, a key, a token, a signed string or a body."""

from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from tests import test_error_reports as errors
from tests.attempt.bench import FakeProvider
from tests.delivery.support import deliver_when_due, delivering, owing
from tests.provider.loopback import always, answer, serving
from tests.traces.support import Kept, TracedBench, as_sent, told_of
from worker.callbacks.results import TryResult
from worker.domain.job import Lane
from worker.domain.job_ids import is_job_id
from worker.domain.outcome import Outcome, Verdict

SECRETS = (errors.KEY_SECRET, errors.CALLBACK_KEY, "the-key-id")


async def callback_fails(bench: TracedBench) -> None:
    with bench.kept.tracer.root("filed"):
        trace = bench.kept.tracer.here()
    async with (
        serving(always(answer(errors.NASTY.encode(), status=500))) as receiver,
        delivering(bench.redis, traces=bench.kept.tracer) as delivery,
    ):
        _, webhook_id = await owing(bench.redis, f"{receiver.url}/path-1?q={errors.NUMBER}", trace=trace)
        await deliver_when_due(bench.redis, delivery, webhook_id)


async def code_is_nasty(bench: TracedBench) -> None:
    bench.provider = FakeProvider(Outcome(Verdict.WRONG_REQUEST, errors.NASTY, errors.NASTY, errors.NASTY))
    job = await bench.opened()
    await bench.attempts().work_on(Lane.CHECKOUT, [job.job_id])


@pytest.mark.parametrize(
    "drive",
    [
        errors.attempt_breaks_off, errors.account_is_refused, errors.record_is_broken, errors.job_fails_as_expected,
        errors.redis_is_away, callback_fails, code_is_nasty,
    ],
)  # fmt: skip
async def test_nothing_leaks(redis: Redis, drive: Callable[[TracedBench], Awaitable[None]]) -> None:
    kept = Kept(secrets=SECRETS)
    await drive(TracedBench(redis, kept))
    spans = kept.spans()
    assert spans
    for span in spans:
        told = as_sent(span)
        for id_ in ("axn.job_id", "axn.webhook_id"):
            if id_ in told["attributes"]:
                assert is_job_id(told["attributes"].pop(id_).partition("-")[0])
        if errors.UUID.fullmatch(told["attributes"].get("axn.request_id", "")):
            del told["attributes"]["axn.request_id"]
        assert errors.leaks_in(told, span.name) == []


async def test_an_exception_is_told_by_its_type(redis: Redis) -> None:
    kept = Kept()
    await errors.attempt_breaks_off(TracedBench(redis, kept))
    (attempt,) = kept.named("axn.attempt")
    assert (told_of(attempt)["error"], attempt.status.description) == ("RuntimeError", "RuntimeError")
    assert attempt.events == ()


def test_a_secret_of_the_settings_is_hidden_wherever_it_stands() -> None:
    kept = Kept(secrets=SECRETS)
    with kept.tracer.root("axn.submit", note=f"with {errors.KEY_SECRET}", count=13_900_001_234) as span:
        span.tell(result=TryResult(errors.NASTY).error, empty="", nothing=None)
        span.fail(errors.NASTY)
    (span_,) = kept.spans()
    told = as_sent(span_)
    assert errors.leaks_in(told, "span") == []
    assert set(told_of(span_)) == {"note", "count", "result"}
