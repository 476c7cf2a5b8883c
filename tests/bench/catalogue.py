"""What each figure is called, its unit, its target, and the raw limit that bounds it most.

Targets are those that the project set itself; a figure without one is told for its own sake.
"""

from dataclasses import dataclass, replace
from typing import Final

from tests.bench.figures import Better, Measurement, Run

_LOOP: Final = "raw.python"
_COMMIT: Final = "raw.postgres_commit"
_UPDATE: Final = "raw.postgres_update"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table; a name that ends in a dot stands for all names that begin so."""

    name: str
    title: str
    unit: str
    better: Better
    target: float | None = None
    limit: str | None = None


FIGURES: Final = (
    Figure("raw.fsync", "fdatasync of 4 KiB", "µs", "lower"),
    Figure("raw.python", "empty Python loop", "M turns/s", "higher"),
    Figure("raw.postgres_commit", "PostgreSQL, single commits", "/s", "higher"),
    Figure("raw.postgres_copy", "PostgreSQL, COPY", "rows/s", "higher"),
    Figure("raw.postgres_update", "PostgreSQL, one UPDATE of 10,000 rows (key and one index)", "rows/s", "higher"),
    Figure("raw.nats_request", "NATS request and reply", "ms", "lower"),
    Figure("raw.jetstream_publish", "JetStream publish with fsync, one after the other", "/s", "higher"),
    Figure("raw.jetstream_batch", "JetStream atomic batches of 1,000", "messages/s", "higher"),
    Figure("raw.http", "bare FastAPI under uvicorn, one request", "ms", "lower"),
    Figure("command.answered.p50", "HTTP command → committed → answered, idle, p50", "ms", "lower", 3, _COMMIT),
    Figure("command.answered.p99", "… p99", "ms", "lower", 8, _COMMIT),
    Figure("command.visible.p50", "HTTP command → visible on the live stream, idle, p50", "ms", "lower", 5, _COMMIT),
    Figure("command.visible.p99", "… p99", "ms", "lower", 12, _COMMIT),
    Figure("command.32.rate", "commands, 32 clients, all answered and visible", "/s", "higher", 1500, _LOOP),
    Figure("command.32.p50", "… p50", "ms", "lower", None, _LOOP),
    Figure("command.32.p99", "… p99", "ms", "lower", 80, _LOOP),
    Figure("command.cpu.", "CPU of a command (32 clients)", "ms", "lower", None, _LOOP),
    Figure("start.producer.p50", "enqueue (producer) → start, idle, p50", "ms", "lower", 1.5, _COMMIT),
    Figure("start.producer.p99", "… p99", "ms", "lower", 4, _COMMIT),
    Figure("start.rest.p50", "enqueue (REST) → start, idle, p50", "ms", "lower", None, _COMMIT),
    Figure("start.rest.p99", "… p99", "ms", "lower", None, _COMMIT),
    Figure(
        "lifecycle.default.rate", "lifecycles, default, relay, audit, health caught up", "/s", "higher", 3000, _LOOP
    ),
    Figure("lifecycle.default.completed", "… until all are COMPLETED", "/s", "higher", None, _LOOP),
    Figure("lifecycle.default.enqueued", "… until all are enqueued", "/s", "higher", None, _LOOP),
    Figure("lifecycle.default.cpu.", "CPU of a lifecycle, default", "ms", "lower", None, _LOOP),
    Figure("lifecycle.tuned.rate", "lifecycles, tuned, relay, audit, health caught up", "/s", "higher", 8000, _LOOP),
    Figure("lifecycle.tuned.completed", "… until all are COMPLETED", "/s", "higher", None, _LOOP),
    Figure("lifecycle.tuned.enqueued", "… until all are enqueued", "/s", "higher", None, _LOOP),
    Figure("lifecycle.tuned.cpu.", "CPU of a lifecycle, tuned", "ms", "lower", None, _LOOP),
    Figure("lifecycle.index.asleep", "lifecycles, default, while the index of the search sleeps", "/s", "higher"),
    Figure("lifecycle.index.following", "… right after, while it follows", "/s", "higher"),
    Figure("lifecycle.index.ratio", "… compared", "x", "higher"),
    Figure("lifecycle.index.behind", "… until it is at the end, after all of them", "s", "lower"),
    Figure("bulk.retry.answered", "bulk retry of 10,000, durable and answered", "jobs/s", "higher", 100_000, _UPDATE),
    Figure("bulk.retry.visible", "… each in its new state", "jobs/s", "higher", 60_000, _UPDATE),
    Figure("bulk.retry.audited", "… and each in the audit log", "jobs/s", "higher", 60_000, _UPDATE),
    Figure("bulk.cancel.answered", "bulk cancel of 10,000, durable and answered", "jobs/s", "higher", 100_000, _UPDATE),
    Figure("bulk.cancel.visible", "… each in its new state", "jobs/s", "higher", 60_000, _UPDATE),
    Figure("bulk.cancel.audited", "… and each in the audit log", "jobs/s", "higher", 60_000, _UPDATE),
    Figure("bulk.beside.p50", "a command beside a bulk cancel of 40,000, p50", "ms", "lower", None, _UPDATE),
    Figure("bulk.beside.p99", "… p99", "ms", "lower", None, _UPDATE),
    Figure("bulk.cpu.", "CPU of 10,000 jobs in bulk", "ms", "lower", None, _LOOP),
    Figure("search.filters.first.p50", "first page of a search by filters, 10⁶ jobs, p50", "ms", "lower", None, _LOOP),
    Figure("search.filters.first.p95", "… p95 of the slowest of its forms", "ms", "lower", 50, _LOOP),
    Figure("search.filters.deep.p50", "page at 50 and 99 % of a search by filters, p50", "ms", "lower", None, _LOOP),
    Figure("search.filters.deep.p95", "… p95 of the slowest of its forms", "ms", "lower", 50, _LOOP),
    Figure("search.payload.p50", "search in payloads, p50", "ms", "lower", None, _LOOP),
    Figure("search.payload.p95", "… p95 of the slowest of its forms", "ms", "lower", 50, _LOOP),
    Figure("search.text.p50", "search for words, p50", "ms", "lower", None, _LOOP),
    Figure("search.text.p95", "… p95 of the slowest of its forms", "ms", "lower", 50, _LOOP),
    Figure("relay.rate", "relay of a whole journal onto an empty bus", "events/s", "higher", None, _LOOP),
    Figure("projection.rate", "rebuild of the audit log from the bus", "events/s", "higher", 50_000, _LOOP),
    Figure("orphan.beyond_lease", "job of a killed worker waits again, after its lease", "s", "lower"),
    Figure("orphan.after_kill", "… after the kill (lease 3 s)", "s", "lower"),
    Figure("bytes.total", "disk for a finished job, with whole history and audit", "B", "lower", 1200),
    Figure("bytes.", "… of it", "B", "lower"),
    Figure("startup.cold", "`jobplane up`, first start", "s", "lower", None, _LOOP),
    Figure("startup.warm", "`jobplane up`, later starts", "s", "lower", None, _LOOP),
    Figure("memory.pss", "memory of the idle platform (PSS), two workers", "MB", "lower"),
    Figure("idle.cpu", "CPU of the idle platform", "% of a core", "lower"),
)
_PEER: Final = (
    Figure(".rate", "jobs, one worker process, defaults", "/s", "higher", None, _LOOP),
    Figure(".tuned", "jobs, one worker process, tuned", "/s", "higher", None, _LOOP),
    Figure(".enqueued", "… until all are enqueued", "/s", "higher", None, _LOOP),
    Figure(".start.p50", "enqueue → start, idle, p50", "ms", "lower", None, _COMMIT),
    Figure(".start.p99", "… p99", "ms", "lower", None, _COMMIT),
    Figure(".bulk.retry", "retry of 10,000", "jobs/s", "higher", None, _UPDATE),
    Figure(".bulk.cancel", "cancel of 10,000", "jobs/s", "higher", None, _UPDATE),
)


def figure(name: str) -> Figure:
    """What is known of a name."""
    if name.startswith("peer."):
        peer = name.split(".")[1]
        known = next(one for one in _PEER if name.removeprefix(f"peer.{peer}") == one.name)
        return Figure(name, f"{peer}: {known.title}", known.unit, known.better, None, known.limit)
    family = next(one for one in FIGURES if _stands_for(one.name, name))
    if family.name == name:
        return family
    member = name.removeprefix(family.name)
    return Figure(name, f"{family.title}: {member}", family.unit, family.better, family.target, family.limit)


def measurement(name: str, values: list[float], note: str = "") -> Measurement:
    """The values of one figure's repetitions."""
    known = figure(name)
    told = tuple(round(value, 6) for value in values)
    return Measurement(name, known.title, known.unit, told, known.better, known.target, known.limit, note)


def in_order(run: Run) -> Run:
    """The same with the figures in the order of the table; peers come last."""
    return replace(run, measurements=tuple(sorted(run.measurements, key=lambda one: _place(one.name))))


def _place(name: str) -> int:
    return next((at for at, one in enumerate(FIGURES) if _stands_for(one.name, name)), len(FIGURES))


def _stands_for(known: str, name: str) -> bool:
    return name.startswith(known) if known.endswith(".") else name == known
