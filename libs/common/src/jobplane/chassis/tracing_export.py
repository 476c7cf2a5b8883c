"""Spans through the OpenTelemetry SDK to an OTLP endpoint; imported only when one is configured."""

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

_SHUTDOWN_MS = 1_000


class ExportedSpan:
    """A span that the SDK records."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def ids(self) -> tuple[str, str]:
        """Trace id and span id in hexadecimal."""
        context = self._span.get_span_context()
        return format_trace_id(context.trace_id), format_span_id(context.span_id)

    def set(self, key: str, value: str | float | None) -> None:
        """Add an attribute; none adds nothing."""
        if value is not None:
            self._span.set_attribute(key.replace("_", "."), value)

    def end(self, error: BaseException | None) -> None:
        """Finish it; an error is recorded by type, its text may hold what must not leave."""
        if error is not None:
            self._span.set_status(StatusCode.ERROR, type(error).__name__)
        self._span.end()


class Exporter:
    """One tracer provider per process, on its own: nothing global is set."""

    def __init__(self, service: str, instance: str) -> None:
        resource = Resource.create(
            {"service.name": f"jobplane-{service}", "service.namespace": "jobplane", "service.instance.id": instance}
        )
        self._provider = TracerProvider(resource=resource, sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("jobplane")

    def start(
        self,
        name: str,
        parent: tuple[str, str] | None,
        kind: str,
        attributes: dict[str, str | int | float | bool | None],
    ) -> ExportedSpan:
        """A started span, child of the given ids or a root."""
        context = Context()
        if parent is not None:
            trace_id, span_id = int(parent[0], 16), int(parent[1], 16)
            remote = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            context = set_span_in_context(NonRecordingSpan(remote), context)
        known = {key.replace("_", "."): value for key, value in attributes.items() if value is not None}
        return ExportedSpan(self._tracer.start_span(name, context, SpanKind[kind.upper()], known))

    def shutdown(self) -> None:
        """Send what is left, for at most a second."""
        self._provider.force_flush(_SHUTDOWN_MS)
        self._provider.shutdown()
