"""What heartbeats say of the whole: missing processes, blocked loops, lag of relays and projections; pure."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Final

from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS
from jobplane.health.fleet import LATE_AFTER, WORKER, Fleet, Sighting, alive, checkpoints, status, without_forgotten
from jobplane.health.report import Measured, Measurement, Unmeasured

SERVICES: Final = ("jobs", "audit", "health", "gateway")
PROJECTIONS: Final[Mapping[str, tuple[str, ...]]] = {"audit": (EVT_JOBS, EVT_ADMIN), "health": (EVT_JOBS,)}
"""Who must follow which stream."""

NOBODY: Final = (*(Measured("fleet.service", 0, kind) for kind in SERVICES), Measured("fleet.workers", 0))

HeadAt = Callable[[str, datetime], int | None]
"""The last sequence of a stream at an instant, as far as known."""


def measure(fleet: Fleet, now: datetime, listening_since: datetime, head_at: HeadAt) -> list[Measurement]:
    """All of it; who was not heard yet is not missed before there was time to hear them."""
    found = [*_presence(fleet, now), *_owners(fleet, now), *_projections(fleet, now, head_at)]
    if now - listening_since > LATE_AFTER:
        return found
    return [measured for measured in found if measured not in NOBODY]


def _presence(fleet: Fleet, now: datetime) -> Iterator[Measurement]:
    for kind in SERVICES:
        yield Measured("fleet.service", len(alive(fleet, now, kind)), kind)
    yield Measured("fleet.workers", len(alive(fleet, now, WORKER)))
    known = without_forgotten(fleet, now)
    for (kind, instance), seen in sorted(known.items()):
        if status(seen, now) in {"late", "down"}:
            yield Measured("fleet.silent", round((now - seen.heard_at).total_seconds()), f"{kind}.{instance}")
    for (kind, instance), seen in sorted(known.items()):
        if status(seen, now) == "up" and not seen.beat.ready:
            reason = seen.beat.detail.get("not_ready", "It does not say why")
            yield Measured("fleet.not_ready", str(reason), f"{kind}.{instance}", f"Not ready: {reason}")
    lags = [seen.beat.loop_lag_ms for seen in known.values() if status(seen, now) == "up"]
    yield Measured("fleet.loop_lag", round(max(lags, default=0.0), 1))


def _owners(fleet: Fleet, now: datetime) -> Iterator[Measurement]:
    """Relay lag and stream drift as the owners of the streams tell them; the jobs service is asked for its lag."""
    for kind in ("jobs", "gateway"):
        for seen in alive(fleet, now, kind)[:1]:
            drifts = seen.beat.detail.get("drifts")
            yield Measured("stream.drift", len(drifts) if isinstance(drifts, list) else 0, kind)
            lag = seen.beat.detail.get("relay_lag")
            if kind != "jobs" and isinstance(lag, int | float):
                halted = seen.beat.detail.get("journal_halted")
                yield Measured("relay.lag", lag, kind, f"Writes are halted: {halted}" if halted else None)


def _projections(fleet: Fleet, now: datetime, head_at: HeadAt) -> Iterator[Measurement]:
    for kind, streams in PROJECTIONS.items():
        replicas = alive(fleet, now, kind)
        if not replicas:
            continue  # `fleet.service` says so already
        told = checkpoints(replicas)
        for stream in streams:
            yield _lag(f"{kind}.{stream}", told.get(stream), _stands(replicas, stream), partial(head_at, stream))
        yield Measured("projection.dead_events", max(_number(seen, "dead_events") for seen in replicas), kind)


def _lag(
    subject: str, told: tuple[int, datetime] | None, stands: str | None, head_at: Callable[[datetime], int | None]
) -> Measurement:
    if told is None:
        return Unmeasured("projection.lag", "The service does not tell how far it is", subject)
    position, at = told
    head = head_at(at)
    if head is None:
        return Unmeasured("projection.lag", "The end of the stream is not known", subject)
    return Measured("projection.lag", max(0, head - position), subject, stands)


def _stands(replicas: list[Sighting], stream: str) -> str | None:
    """Why the projection of a stream stands still, as one of the replicas tells it."""
    for state in ("halted", "waiting"):
        for seen in replicas:
            told = seen.beat.detail.get(state)
            if isinstance(told, dict) and isinstance(told.get(stream), str):
                return f"{state.capitalize()}: {told[stream]}"
    return None


def _number(seen: Sighting, name: str) -> int:
    value = seen.beat.detail.get(name)
    return value if isinstance(value, int) else 0
