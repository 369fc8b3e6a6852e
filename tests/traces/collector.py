"""A collector of traces on a loopback socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Sent:
    """A span as it came over the wire; ids in hexadecimal."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What it was sent."""

    url: str = ""
    spans: list[Sent] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def named(self, name: str, trace_id: str = "") -> list[Sent]:
        """Spans of this name, of one trace if that is given."""
        return [span for span in self.spans if span.name == name and trace_id in ("", span.trace_id)]

    async def take(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        told = ExportTraceServiceRequest.FromString(await request.read())
        for resource in told.resource_spans:
            service = next(one.value.string_value for one in resource.resource.attributes if one.key == "service.name")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {
                        one.key: one.value.string_value or one.value.int_value or one.value.bool_value
                        for one in span.attributes
                    }
                    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                    self.spans.append(Sent(service, span.name, *ids, attributes))
        return web.Response()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """It listens until the block ends."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    async with TestServer(app, access_log=None) as server:
        collector.url = str(server.make_url("")).rstrip("/")
        yield collector
