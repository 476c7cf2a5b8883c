import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from jobplane.chassis import tracing
from jobplane.contracts.envelope import trace_id_of

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-01$")


def test_a_span_continues_the_given_trace() -> None:
    with tracing.span("decide", traceparent=PARENT) as span:
        assert span.trace_id == "0af7651916cd43dd8448eb211c80319c"
        assert span.span_id != "b7ad6b7169203331"
        assert tracing.current_traceparent() == span.traceparent


def test_a_span_inside_another_shares_its_trace() -> None:
    with tracing.span("outer") as outer:
        with tracing.span("inner") as inner:
            assert inner.trace_id == outer.trace_id
            assert inner.span_id != outer.span_id
        assert tracing.current_traceparent() == outer.traceparent
    assert tracing.current_trace_id() is None


@pytest.mark.parametrize("broken", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", PARENT.upper()])
def test_an_unreadable_traceparent_starts_a_new_trace(broken: str) -> None:
    with tracing.span("x", traceparent=broken) as span:
        assert TRACEPARENT.match(span.traceparent)
        assert span.trace_id != trace_id_of(PARENT)


def test_outside_any_span_there_is_a_traceparent_all_the_same() -> None:
    assert TRACEPARENT.match(tracing.current_traceparent())


async def test_tasks_keep_the_span_they_were_made_in() -> None:
    async def inside() -> str | None:
        return tracing.current_trace_id()

    with tracing.span("outer") as span:
        task = asyncio.create_task(inside())
    assert await task == span.trace_id


class Collector(BaseHTTPRequestHandler):
    received: list[WireSpan]

    def do_POST(self) -> None:
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        self.received += [span for r in request.resource_spans for s in r.scope_spans for span in s.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[WireSpan]]:
    Collector.received = []
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Collector.received
    tracing.shutdown()
    server.shutdown()
    thread.join()
    server.server_close()


def test_with_an_endpoint_spans_are_exported_with_the_same_ids(collected: list[WireSpan]) -> None:
    tracing.configure("jobs", "jobs-1")
    outer = tracing.span("decide", traceparent=PARENT, kind=tracing.Kind.CONSUMER, messaging_operation="x")
    inner = tracing.span("inner")
    with outer, contextlib.suppress(KeyError), inner:
        inner.set("job_id", "7")
        raise KeyError
    tracing.shutdown()
    by_name = {span.name: span for span in collected}
    assert by_name["decide"].trace_id.hex() == outer.trace_id == trace_id_of(PARENT)
    assert by_name["decide"].parent_span_id.hex() == "b7ad6b7169203331"
    assert by_name["inner"].parent_span_id.hex() == outer.span_id
    assert by_name["inner"].status.message == "KeyError"
    assert {a.key: a.value.string_value for a in by_name["inner"].attributes} == {"job.id": "7"}
