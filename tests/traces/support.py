"""A worker's parts that are traced, and the spans that come of it."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from redis.asyncio import Redis

from tests.attempt.bench import Bench
from worker.attempt.attempt import Attempts
from worker.ledger.records import NewJob
from worker.otel_traces import OtelTracer
from worker.scrubbing import Scrubber


class Kept:
    """A tracer whose spans are kept."""

    def __init__(self, *, share: float = 1.0, secrets: Sequence[str] = ()) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = OtelTracer(self.provider, Scrubber(secrets), is_ours=True)

    def spans(self) -> list[ReadableSpan]:
        """In the order in which they began."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == name]


class TracedBench(Bench):
    """One worker's attempts, traced, at jobs that were filed in a trace."""

    def __init__(self, redis: Redis, kept: Kept) -> None:
        super().__init__(redis)
        self.kept = kept
        self.ledger._traces = kept.tracer

    def attempts(self) -> Attempts:
        attempts = super().attempts()
        provider = dataclasses.replace(attempts.provider, traces=self.kept.tracer)
        return dataclasses.replace(attempts, provider=provider, traces=self.kept.tracer)

    async def opened(self, **overrides: Any) -> NewJob:
        with self.kept.tracer.root("filed"):
            return await super().opened(**overrides)


def told_of(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes by our names."""
    return {name.removeprefix("axn."): value for name, value in (span.attributes or {}).items()}


def parent_of(span: ReadableSpan, spans: Sequence[ReadableSpan]) -> str:
    """The name of the span that it is a part of; empty for none."""
    parent = span.parent
    return next((one.name for one in spans if parent and one.context and one.context.span_id == parent.span_id), "")


def as_sent(span: ReadableSpan) -> dict[str, Any]:
    """All of it that leaves but ids, moments and the resource, which are OpenTelemetry's own."""
    told: dict[str, Any] = json.loads(span.to_json())
    for own in ("context", "parent_id", "start_time", "end_time", "resource"):
        del told[own]
    for event in told["events"]:
        del event["timestamp"]
    return told
