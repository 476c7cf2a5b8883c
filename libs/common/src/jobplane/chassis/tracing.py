"""Trace context: ids are always there and cheap; OpenTelemetry is loaded only when an OTLP endpoint is configured.

A span is one `with` block. Without ``OTEL_EXPORTER_OTLP_ENDPOINT`` it costs two random numbers and a context variable;
with it, the same block records a span of the OpenTelemetry SDK and exports it in batches.
"""

import os
import random
import re
from contextvars import ContextVar, Token
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from jobplane.chassis.tracing_export import ExportedSpan, Exporter

Attribute = str | int | float | bool | None

_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$")
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16


class Kind(StrEnum):
    """What part a span plays in a conversation between processes."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Span:
    """A named piece of work, entered with `with`; everything inside it shares its trace."""

    __slots__ = ("_attributes", "_kind", "_name", "_parent", "_recorded", "_token", "span_id", "trace_id")

    def __init__(self, name: str, parent: str | None, kind: Kind, attributes: dict[str, Attribute]) -> None:
        self._name = name
        self._parent = parent
        self._kind = kind
        self._attributes = attributes
        self._recorded: ExportedSpan | None = None
        self._token: Token[Span | None] | None = None
        self.trace_id = ""
        self.span_id = ""

    def __enter__(self) -> Self:
        parent = _ids_of(self._parent) if self._parent is not None else _ids_of_current()
        if _exporter is None:
            self.trace_id = parent[0] if parent else _random_hex(128)
            self.span_id = _random_hex(64)
        else:
            self._recorded = _exporter.start(self._name, parent, self._kind.value, self._attributes)
            self.trace_id, self.span_id = self._recorded.ids()
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if self._recorded is not None:
            self._recorded.end(error)

    @property
    def traceparent(self) -> str:
        """The W3C traceparent that continues this span elsewhere."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    def set(self, key: str, value: Attribute) -> None:
        """Add what became known during the work."""
        if self._recorded is not None:
            self._recorded.set(key, value)


_current: ContextVar[Span | None] = ContextVar("jobplane_span", default=None)
_exporter: "Exporter | None" = None


def configure(service: str, instance: str) -> None:
    """Start exporting if an OTLP endpoint is configured by the standard variables; otherwise do nothing."""
    global _exporter  # noqa: PLW0603 - one exporter per process, like the standard variables that choose it
    if _exporter is None and any(os.environ.get(name) for name in _ENDPOINTS):
        from jobplane.chassis.tracing_export import Exporter  # noqa: PLC0415 - the SDK costs 200 ms, only when used

        _exporter = Exporter(service, instance)


def exporting() -> bool:
    """Whether spans go anywhere: who makes one per event need not when they do not."""
    return _exporter is not None


def shutdown() -> None:
    """Send what is left. Doing it again does nothing."""
    global _exporter
    exporter, _exporter = _exporter, None
    if exporter is not None:
        exporter.shutdown()


def span(name: str, *, traceparent: str | None = None, kind: Kind = Kind.INTERNAL, **attributes: Attribute) -> Span:
    """A span to enter with `with`: a child of `traceparent`, else of the current span, else the root of a new trace.

    An unreadable `traceparent` starts a new trace. Attribute names are written with underscores for dots.
    """
    return Span(name, traceparent, kind, attributes)


def current_traceparent() -> str:
    """The traceparent to send along; outside any span a new root, never empty."""
    current = _current.get()
    if current is not None:
        return current.traceparent
    return f"00-{_random_hex(128)}-{_random_hex(64)}-01"


def current_trace_id() -> str | None:
    """The trace id of the current span, none outside."""
    current = _current.get()
    return current.trace_id if current is not None else None


def _random_hex(bits: int) -> str:
    """Ids need only differ: those of the operating system cost a call of it each. A forked child starts anew."""
    return f"{random.getrandbits(bits):0{bits // 4}x}"


def _ids_of_current() -> tuple[str, str] | None:
    current = _current.get()
    return (current.trace_id, current.span_id) if current is not None else None


def _ids_of(traceparent: str) -> tuple[str, str] | None:
    match = _TRACEPARENT.match(traceparent)
    if match is None or match[1] == _NO_TRACE or match[2] == _NO_SPAN:
        return None
    return match[1], match[2]
