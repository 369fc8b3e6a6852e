"""Spans by OpenTelemetry, the extra `otel`. Only this module imports it.

Where the process has a tracer provider of its own (an order system that is traced, `opentelemetry-instrument`), spans
go there, and its sampler decides. Otherwise they go over OTLP/HTTP, as the standard OTEL_… variables say.

Attributes are fields of ours under `axn.`, scrubbed here: an exporter sends them to others. An exception is told by its
type, never by its text.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_TRACES_SAMPLER
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker import __version__
from worker.errors import SettingsError
from worker.logs import get_log, is_known_id, masked_field
from worker.scrubbing import Scrubber, secrets_of
from worker.settings import Settings
from worker.tracing import TRACEPARENT, UNTRACED, Span

_log = get_log(__name__)
_SERVICE = "axn-bind-worker"
_LONGEST_GOODBYE_S = 3.0
_NS_PER_MS = 1_000_000
_MOST_SEEN = 1_024
_SHORT = 100
"""Codes, hosts and small numbers come again and again: looking through one takes as long as a span."""
_OF_FEW_VALUES = frozenset({"lane", "kind", "state", "action", "verdict", "error"})
"""Fields whose values are words of this program: they are not looked through."""
_W3C = TraceContextTextMapPropagator()


class _OtelSpan:
    """One of ours, under way."""

    def __init__(self, span: trace.Span, scrubbed: Callable[[str], str]) -> None:
        self._span = span
        self._scrubbed = scrubbed

    def tell(self, **fields: object) -> None:
        """See `Span.tell`."""
        if self._span.is_recording():
            told = {f"axn.{name}": self._safe(name, value) for name, value in fields.items() if value not in ("", None)}
            self._span.set_attributes(told)

    def _safe(self, name: str, value: object) -> str | int | float | bool:
        if is_known_id(name, str(value)):
            return str(masked_field(name, value))
        if name in _OF_FEW_VALUES:
            return str(value)
        text = str(value)
        safe = self._scrubbed(text)
        return value if isinstance(value, int | float) and safe == text else safe

    def fail(self, code: str) -> None:
        """See `Span.fail`."""
        if self._span.is_recording():
            self._span.set_status(trace.StatusCode.ERROR, self._scrubbed(code))


class OtelTracer:
    """Makes spans.

    Args:
        provider: of the process, or made for this tracer.
        is_ours: the latter: it is closed with this tracer.
        now_ns: Unix time, as the provider's spans have it.
    """

    def __init__(
        self,
        provider: trace.TracerProvider,
        scrubber: Scrubber,
        *,
        is_ours: bool,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._provider = provider
        self._is_ours = is_ours
        self._tracer = provider.get_tracer("axn", __version__)
        self._now_ns = now_ns
        self._seen = lru_cache(_MOST_SEEN)(scrubber.text)
        self._scrub = scrubber.text

    def here(self) -> str:
        """See `Tracer.here`."""
        span = trace.get_current_span()
        context = span.get_span_context()
        if not (span.is_recording() and context.trace_flags.sampled):
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def root(self, name: str, *, caller: str | None = None, **fields: object) -> AbstractContextManager[Span]:
        """See `Tracer.root`."""
        parent = None if caller is None else _W3C.extract({TRACEPARENT: caller}, Context())
        return self._spanning(name, parent, trace.SpanKind.PRODUCER, 0, fields)

    def begin(
        self, name: str, parent: str, *, ago_ms: float = 0, is_call: bool = False, **fields: object
    ) -> AbstractContextManager[Span]:
        """See `Tracer.begin`."""
        if not parent:
            return UNTRACED
        kind = trace.SpanKind.CLIENT if is_call else trace.SpanKind.CONSUMER
        return self._spanning(name, _W3C.extract({TRACEPARENT: parent}, Context()), kind, ago_ms, fields)

    def step(
        self, name: str, *, ago_ms: float = 0, is_call: bool = False, **fields: object
    ) -> AbstractContextManager[Span]:
        """See `Tracer.step`."""
        if not trace.get_current_span().is_recording():  # of a task, too, that outlives the span it was begun in
            return UNTRACED
        kind = trace.SpanKind.CLIENT if is_call else trace.SpanKind.INTERNAL
        return self._spanning(name, None, kind, ago_ms, fields)

    def _scrubbed(self, text: str) -> str:
        return self._seen(text) if len(text) <= _SHORT else self._scrub(text)

    @contextmanager
    def _spanning(
        self, name: str, parent: Context | None, kind: trace.SpanKind, ago_ms: float, fields: dict[str, Any]
    ) -> Iterator[Span]:
        """A span that cannot be begun or ended is a line in the log: no job breaks off over its trace."""
        began_ns = self._now_ns() - round(ago_ms * _NS_PER_MS) if ago_ms else None
        try:
            span = self._tracer.start_span(
                name, parent, kind, start_time=began_ns, record_exception=False, set_status_on_exception=False
            )
        except Exception as failure:  # noqa: BLE001 - of a processor of the process's own provider
            _log.warning("span cannot be begun", error=type(failure).__name__)
            yield UNTRACED
            return
        ours = _OtelSpan(span, self._scrubbed)
        ours.tell(**fields)
        token = attach(trace.set_span_in_context(span))
        try:
            yield ours
        except BaseException as failure:
            ours.tell(error=type(failure).__name__)
            ours.fail(type(failure).__name__)
            raise
        finally:
            detach(token)
            try:
                span.end()
            except Exception as failure:  # noqa: BLE001 - as above
                _log.warning("span cannot be ended", error=type(failure).__name__)

    async def aclose(self) -> None:
        """See `Tracer.aclose`. A collector that does not answer is not waited for."""
        if not (self._is_ours and isinstance(self._provider, TracerProvider)):
            return
        # A thread of its own, which the process does not wait for at its end.
        loop, closed = asyncio.get_running_loop(), asyncio.Event()
        threading.Thread(target=_close, args=(self._provider, loop, closed), name="axn-traces", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_GOODBYE_S):
                await closed.wait()


def _close(provider: TracerProvider, loop: asyncio.AbstractEventLoop, closed: asyncio.Event) -> None:
    provider.shutdown()
    with suppress(RuntimeError):  # the loop has not waited
        loop.call_soon_threadsafe(closed.set)


def build_otel_tracer(settings: Settings) -> OtelTracer:
    """The tracer of this process.

    Raises:
        SettingsError: one of the OTEL_… variables is wrong.
    """
    scrubber = Scrubber(secrets_of(settings))
    of_the_process = trace.get_tracer_provider()
    if isinstance(of_the_process, TracerProvider):
        return OtelTracer(of_the_process, scrubber, is_ours=False)
    try:
        provider = _own_provider(settings)
    except ValueError as wrong:
        raise SettingsError(f"one of the OTEL_… variables is wrong: {wrong}") from None
    return OtelTracer(provider, scrubber, is_ours=True)


def _own_provider(settings: Settings) -> TracerProvider:
    sampler = None if os.environ.get(OTEL_TRACES_SAMPLER) else ParentBased(TraceIdRatioBased(settings.traces.share))
    provider = TracerProvider(sampler=sampler, resource=_resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _resource() -> Resource:
    """As OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say."""
    resource = Resource.create({SERVICE_VERSION: __version__})
    is_named = not str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service")
    return resource if is_named else resource.merge(Resource({SERVICE_NAME: _SERVICE}))
