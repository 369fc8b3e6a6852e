"""Where spans go, how many, and what a missing extra or a collector that does not answer does."""

import asyncio
import socket
import sys
from typing import Any

import pytest
from celery.app.task import Context
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor

from tasks.filing import trace_of
from tests.traces.collector import collecting
from tests.traces.support import Kept
from worker import otel_traces
from worker.bootstrap import check_worker_settings
from worker.errors import SettingsError
from worker.runtime import Runtime
from worker.settings import Settings
from worker.tracing import TRACEPARENT, UNTRACED, build_tracer, receivers_headers

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {
        "AXN_TRACES__ENABLED": "1", "AXN_ACCESS_KEY_ID": "k-id", "AXN_ACCESS_KEY_SECRET": "s-secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return monkeypatch


async def test_spans_go_where_the_standard_variables_say(on: pytest.MonkeyPatch) -> None:
    async with collecting() as collector:
        on.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        on.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc")
        on.setenv("OTEL_SERVICE_NAME", "shop-numbers")
        tracer = build_tracer(Settings())
        with tracer.root("axn.submit", caller=CALLER.format(flags="01"), jobs=3):
            here = tracer.here()
        await tracer.aclose()
    (span,) = collector.spans
    assert (span.service, span.name, span.attributes) == ("shop-numbers", "axn.submit", {"axn.jobs": 3})
    assert here == f"00-{span.trace_id}-{span.span_id}-01"
    assert CALLER.format(flags="01") == f"00-{span.trace_id}-{span.parent_id}-01"
    assert collector.headers[0]["x-key"] == "abc"


@pytest.mark.parametrize(
    ("caller", "share", "is_kept"),
    [
        (CALLER.format(flags="01"), 0.0, True),
        (CALLER.format(flags="00"), 1.0, False),
        ("", 0.0, False),
        ("", 1.0, True),
        ("00-not-a-trace", 1.0, True),
        ("x" * 100_000, 0.0, False),
    ],
)
def test_a_caller_s_trace_decides_and_else_the_share(caller: str, share: float, is_kept: bool) -> None:
    kept = Kept(share=share)
    with kept.tracer.root("axn.file", caller=caller):
        assert bool(kept.tracer.here()) == is_kept
    assert len(kept.spans()) == is_kept


def test_a_submission_goes_on_with_the_trace_of_the_code_that_calls() -> None:
    shop, ours = Kept(), Kept(share=0.0)
    with shop.provider.get_tracer("shop").start_as_current_span("checkout") as checkout:
        with ours.tracer.root("axn.submit"):
            pass
        with ours.tracer.root("axn.file", caller=""):  # what came over the wire says nothing
            pass
    (span,) = ours.spans()
    assert span.parent
    assert span.parent.span_id == checkout.get_span_context().span_id


def test_a_process_with_a_provider_of_its_own_gets_them(on: pytest.MonkeyPatch) -> None:
    shop = Kept()
    on.setattr(trace, "get_tracer_provider", lambda: shop.provider)
    tracer = build_tracer(Settings())
    with tracer.root("axn.submit"):
        pass
    asyncio.run(tracer.aclose())
    with tracer.root("axn.submit"):  # it is theirs to close
        pass
    assert len(shop.spans()) == 2


async def test_a_collector_that_does_not_answer_holds_up_no_end(on: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        on.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        on.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        on.setattr(otel_traces, "_LONGEST_GOODBYE_S", 0.2)
        tracer = build_tracer(Settings())
        with tracer.root("axn.submit"):
            pass
        async with asyncio.timeout(5):
            await tracer.aclose()


def test_without_the_extra_a_worker_says_what_to_install(on: pytest.MonkeyPatch) -> None:
    on.setitem(sys.modules, "worker.otel_traces", None)
    for ask in (check_worker_settings, build_tracer):
        with pytest.raises(SettingsError, match=r"AXN_TRACES__ENABLED needs: pip install 'axn-bind-worker\[otel\]'"):
            ask(Settings())


def test_off_nothing_is_loaded_and_nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "worker.otel_traces", None)
    monkeypatch.delenv("AXN_TRACES__ENABLED", raising=False)
    tracer = build_tracer(Settings())
    assert tracer is UNTRACED
    with tracer.root("a") as root, tracer.begin("b", CALLER.format(flags="01")) as begun, tracer.step("c") as step:
        assert tracer.here() == ""
        assert root is begun is step


@pytest.mark.parametrize("told", ["0", "1"])
def test_receivers_are_told_of_the_span_only_where_that_is_set(on: pytest.MonkeyPatch, told: str) -> None:
    on.setenv("AXN_TRACES__TO_RECEIVERS", told)
    kept = Kept()
    headers = receivers_headers(Settings(), kept.tracer)
    with kept.tracer.root("axn.callback"):
        assert headers() == ({TRACEPARENT: kept.tracer.here()} if told == "1" else {})
    assert headers() == {}


def test_the_loop_that_does_a_caller_s_work_knows_his_span() -> None:
    shop, ours = Kept(), Kept()

    async def submitting() -> str:
        with ours.tracer.root("axn.submit"):
            return ours.tracer.here()

    runtime = Runtime("of-a-test")
    with shop.provider.get_tracer("shop").start_as_current_span("checkout") as checkout:
        here = runtime.run(submitting())
    runtime.stop()
    assert here.split("-")[1] == f"{checkout.get_span_context().trace_id:032x}"


class Broken(SpanProcessor):
    """Raises at each step that it is told of."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if span.name == "begins badly":
            raise RuntimeError

    def on_end(self, span: Any) -> None:
        raise RuntimeError


@pytest.mark.parametrize("name", ["begins badly", "ends badly"])
def test_a_processor_that_breaks_breaks_no_job(name: str, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    kept.provider.add_span_processor(Broken())
    done = []
    with kept.tracer.root(name) as span:
        span.tell(code="OK")
        done.append(name)
    assert done
    assert "RuntimeError" in caplog.records[0].getMessage()


def test_a_wrong_standard_variable_is_named(on: pytest.MonkeyPatch) -> None:
    on.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with pytest.raises(SettingsError, match=r"OTEL_… variables is wrong: max_queue_size must be"):
        build_tracer(Settings())


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (Context({"traceparent": CALLER}), CALLER),
        (Context({"headers": {"traceparent": CALLER}}), CALLER),
        (Context({"headers": {"other": CALLER}}), ""),
        (Context({}), ""),
        *((Context({"headers": nonsense}), "") for nonsense in ("x", 1, [CALLER], {"traceparent": [CALLER]})),
        *((Context({"traceparent": nonsense}), "") for nonsense in (1, [CALLER], {"a": 1})),
    ],
)
def test_a_message_s_trace_is_found_and_nonsense_is_none(request_: Context, found: str) -> None:
    assert trace_of(request_) == found
