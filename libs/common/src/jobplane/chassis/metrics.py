"""Every metric of the platform: name, unit, what it means and what to do about it; nothing else may be measured."""

import contextlib
import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CounterName = Literal[
    "jobplane_commands_total",
    "jobplane_dead_letters_total",
    "jobplane_events_total",
    "jobplane_http_requests_total",
    "jobplane_leases_total",
    "jobplane_runs_total",
]
GaugeName = Literal[
    "jobplane_journal_halted",
    "jobplane_live_clients",
    "jobplane_projection_halted",
    "jobplane_relay_lag_events",
]
HistogramName = Literal[
    "jobplane_batch_messages",
    "jobplane_batch_seconds",
    "jobplane_command_seconds",
    "jobplane_http_request_seconds",
    "jobplane_query_seconds",
    "jobplane_run_seconds",
]
Name = CounterName | GaugeName | HistogramName

_FAST_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG_S: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 512)


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the list."""

    name: Name
    unit: Literal["commands", "events", "messages", "requests", "jobs", "runs", "clients", "seconds", "flag"]
    meaning: str
    advice: str
    """What to do when it looks bad."""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = field(default=())
    """Upper bounds, of a histogram."""


COUNTERS: Final = (
    Metric(
        "jobplane_commands_total",
        "commands",
        "Commands decided, by verb and outcome (done, refused).",
        "Many refusals: look into the audit log for who is refused and why.",
        ("verb", "outcome"),
    ),
    Metric(
        "jobplane_dead_letters_total",
        "messages",
        "Messages that could not be processed and went to the dead-letter queue.",
        "Any: read the reason in the dead-letter queue, correct the sender.",
        ("service",),
    ),
    Metric(
        "jobplane_events_total",
        "events",
        "Events written to the journal.",
        "None while work is done: the service cannot commit; look at its log and the database.",
        ("service", "type"),
    ),
    Metric(
        "jobplane_http_requests_total",
        "requests",
        "Requests answered, by route template and status.",
        "5xx: look into the gateway's log for the trace id of the problem.",
        ("method", "route", "status"),
    ),
    Metric(
        "jobplane_leases_total",
        "jobs",
        "Jobs handed to workers.",
        "None while jobs are pending: no worker asks for their queue and kind.",
        ("queue",),
    ),
    Metric(
        "jobplane_runs_total",
        "runs",
        "Runs ended, by outcome (completed, failed, cancelled, released, orphaned).",
        "Many failed: group the failed jobs by error fingerprint. Many orphaned: workers die or freeze.",
        ("queue", "outcome"),
    ),
)
GAUGES: Final = (
    Metric(
        "jobplane_journal_halted",
        "flag",
        "1 while writes are halted because journal and stream diverged.",
        "1: decide which history counts; the operations page says how.",
        ("service",),
    ),
    Metric(
        "jobplane_live_clients",
        "clients",
        "Browsers and programs that follow the live stream.",
        "Far more than people: a client reconnects in a loop.",
    ),
    Metric(
        "jobplane_projection_halted",
        "flag",
        "1 while a projection has stopped at an event it cannot apply.",
        "1: the log names the position; repair the cause and restart the service.",
        ("projection",),
    ),
    Metric(
        "jobplane_relay_lag_events",
        "events",
        "Events in the journal that are not in the stream yet.",
        "Growing: NATS is away or slow, or the relay reached its ceiling.",
        ("stream",),
    ),
)
HISTOGRAMS: Final = (
    Metric(
        "jobplane_batch_messages",
        "messages",
        "Size of the micro-batches a writer commits.",
        "Always at the maximum: the database is the bottleneck.",
        ("writer",),
        _SIZES,
    ),
    Metric(
        "jobplane_batch_seconds",
        "seconds",
        "Time from the start of a micro-batch to its commit.",
        "Slow: look at the disk of the database (fsync) and at lock waits.",
        ("writer",),
        _FAST_S,
    ),
    Metric(
        "jobplane_command_seconds",
        "seconds",
        "Time from sending a command to its outcome, as the gateway sees it.",
        "Slow: compare with the batch time of the jobs service; the rest is the bus.",
        ("verb",),
        _FAST_S,
    ),
    Metric(
        "jobplane_http_request_seconds",
        "seconds",
        "Time to answer a request, by route template.",
        "Slow: open a trace of that route.",
        ("method", "route"),
        _FAST_S,
    ),
    Metric(
        "jobplane_query_seconds",
        "seconds",
        "Time to answer a query of another service.",
        "Slow: look at the database of the answering service.",
        ("query",),
        _FAST_S,
    ),
    Metric(
        "jobplane_run_seconds",
        "seconds",
        "Time from the start of a run to its end.",
        "Slow: look at the workers' load and at the kind's own history.",
        ("kind",),
        _LONG_S,
    ),
)
METRICS: Final = (*COUNTERS, *GAUGES, *HISTOGRAMS)

_BY_NAME: Final = {metric.name: metric for metric in METRICS}


@functools.cache
def counter(name: CounterName) -> Counter:
    """The counter of that name; the same one at every call."""
    metric = _BY_NAME[name]
    return Counter(name, metric.meaning, metric.labels, registry=_registry())


@functools.cache
def gauge(name: GaugeName) -> Gauge:
    """The gauge of that name; the same one at every call."""
    metric = _BY_NAME[name]
    return Gauge(name, metric.meaning, metric.labels, registry=_registry())


@functools.cache
def histogram(name: HistogramName) -> Histogram:
    """The histogram of that name; the same one at every call."""
    metric = _BY_NAME[name]
    return Histogram(name, metric.meaning, metric.labels, registry=_registry(), buckets=metric.buckets)


@contextlib.contextmanager
def batch(writer: str, messages: int) -> Iterator[None]:
    """Measure size and duration of one micro-batch of a writer."""
    started = time.perf_counter()
    try:
        yield
    finally:
        histogram("jobplane_batch_messages").labels(writer).observe(messages)
        histogram("jobplane_batch_seconds").labels(writer).observe(time.perf_counter() - started)


def text() -> bytes:
    """What was measured in this process, in the Prometheus text format."""
    return generate_latest(_registry())


@functools.cache
def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry
