"""Traces as the engine's parts see them. Who makes the spans is `worker.otel_traces`, or nobody.

A job's trace begins where the job is filed. Its `traceparent` (W3C Trace Context) stands in the job's record, so that
every attempt and every try of its callback is a span of the same trace, whoever makes it and however he came by the
job. Who files a job decides whether it is traced: a record without one is of a job that is not.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from worker.errors import SettingsError
from worker.settings import Settings

TRACEPARENT = "traceparent"
"""The header, in HTTP and in Celery's messages."""


class Span(Protocol):
    """Something that is under way."""

    def tell(self, **fields: object) -> None:
        """Note what is known of it; empty fields are left out. Texts are scrubbed."""

    def fail(self, code: str) -> None:
        """It came to nothing good."""


class Tracer(Protocol):
    """Makes spans. A span is under way in the task that began it, and in those which that task begins meanwhile.

    An exception that leaves a span's block is noted by its type alone.
    """

    def here(self) -> str:
        """The traceparent of the span that is under way here; empty where there is none, or it is not sampled."""

    def root(self, name: str, *, caller: str | None = None, **fields: object) -> AbstractContextManager[Span]:
        """A span where a request comes in.

        Args:
            name: of the span.
            caller: a traceparent that came with the request, malformed or empty perhaps; None: whatever is under way
                in the calling code.
            fields: see `Span.tell`.
        """

    def begin(
        self, name: str, parent: str, *, ago_ms: float = 0, is_call: bool = False, **fields: object
    ) -> AbstractContextManager[Span]:
        """A span of the trace that a record tells; nothing where it tells none.

        Args:
            name: of the span.
            parent: a traceparent, or empty.
            ago_ms: how long ago it began.
            is_call: it is a request to somebody else.
            fields: see `Span.tell`.
        """

    def step(
        self, name: str, *, ago_ms: float = 0, is_call: bool = False, **fields: object
    ) -> AbstractContextManager[Span]:
        """A part of our span that is under way here; nothing where there is none. Arguments as for `begin`."""

    async def aclose(self) -> None:
        """Send what has not been sent, for a few seconds at most."""


class Untraced:
    """Traces nothing: a tracer, and its own spans."""

    def here(self) -> str:
        """See `Tracer.here`."""
        return ""

    def root(self, name: str, *, caller: str | None = None, **fields: object) -> Self:  # noqa: ARG002 - a null object
        """See `Tracer.root`."""
        return self

    def begin(
        self,
        name: str,  # noqa: ARG002 - a null object
        parent: str,  # noqa: ARG002
        *,
        ago_ms: float = 0,  # noqa: ARG002
        is_call: bool = False,  # noqa: ARG002
        **fields: object,  # noqa: ARG002
    ) -> Self:
        """See `Tracer.begin`."""
        return self

    def step(self, name: str, *, ago_ms: float = 0, is_call: bool = False, **fields: object) -> Self:  # noqa: ARG002
        """See `Tracer.step`."""
        return self

    def tell(self, **fields: object) -> None:
        """See `Span.tell`."""

    def fail(self, code: str) -> None:
        """See `Span.fail`."""

    async def aclose(self) -> None:
        """See `Tracer.aclose`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


UNTRACED = Untraced()


def check_traces(settings: Settings) -> None:
    """What tracing cannot start without; raises as `build_tracer` does."""
    if settings.traces.enabled:
        _load()


def build_tracer(settings: Settings) -> Tracer:
    """The tracer of this process; call it after a fork, not before.

    Raises:
        SettingsError: AXN_TRACES__ENABLED is set, and the extra is not installed.
    """
    return _load()(settings) if settings.traces.enabled else UNTRACED


def _load() -> Callable[[Settings], Tracer]:
    try:
        from worker.otel_traces import build_otel_tracer  # noqa: PLC0415 - an extra, loaded where it is asked for
    except ImportError:
        raise SettingsError("AXN_TRACES__ENABLED needs: pip install 'axn-bind-worker[otel]'") from None
    return build_otel_tracer


def receivers_headers(settings: Settings, traces: Tracer) -> Callable[[], Mapping[str, str]]:
    """Of a callback's try, beside the signed ones: the span of the try, where receivers are to know it."""
    if not settings.traces.to_receivers:
        return dict
    return lambda: {TRACEPARENT: trace} if (trace := traces.here()) else {}
