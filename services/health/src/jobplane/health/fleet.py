"""Heartbeats → which processes are up, late, down or stopped; pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from jobplane.contracts.fleet import Heartbeat, ProcessHealth

BEAT_EVERY: Final = timedelta(seconds=5)
LATE_AFTER: Final = 2 * BEAT_EVERY
DOWN_AFTER: Final = 4 * BEAT_EVERY
FORGOTTEN_AFTER: Final = timedelta(minutes=10)
WORKER: Final = "worker"

_WORRY: Final = {"down": 0, "late": 1, "up": 2, "stopped": 3}

Status = Literal["up", "late", "down", "stopped"]
Key = tuple[str, str]
"""Kind and instance."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """The latest beat of one process and when it was heard, by our clock: the sender's may be wrong."""

    beat: Heartbeat
    heard_at: datetime


Fleet = Mapping[Key, Sighting]


def heard(fleet: Fleet, beat: Heartbeat, at: datetime) -> Fleet:
    """The fleet after this beat; one that was overtaken by a later beat of the same process changes nothing."""
    key = (beat.kind, beat.instance)
    known = fleet.get(key)
    if known is not None and _same_process(known.beat, beat) and beat.sent_at <= known.beat.sent_at:
        return fleet
    return {**fleet, key: Sighting(beat, at)}


def without_forgotten(fleet: Fleet, now: datetime) -> Fleet:
    """The fleet without those that were last heard more than ten minutes ago."""
    return {key: seen for key, seen in fleet.items() if now - seen.heard_at <= FORGOTTEN_AFTER}


def status(seen: Sighting, now: datetime) -> Status:
    """How a process is, by the age of its latest beat."""
    age = now - seen.heard_at
    if seen.beat.stopping:
        return "stopped"
    if age > DOWN_AFTER:
        return "down"
    return "late" if age > LATE_AFTER else "up"


def processes(fleet: Fleet, now: datetime) -> list[ProcessHealth]:
    """Every process that is not forgotten, by kind and instance."""
    return [
        ProcessHealth(
            kind=kind, instance=instance, status=status(seen, now), last_beat_at=seen.heard_at, beat=seen.beat
        )
        for (kind, instance), seen in sorted(without_forgotten(fleet, now).items())
    ]


def most_worrying(found: Iterable[ProcessHealth], limit: int) -> list[ProcessHealth]:
    """At most `limit` of them, by kind and instance; where there are more, those that are well are left out first."""
    worried = sorted(found, key=lambda process: _WORRY[process.status])[:limit]
    return sorted(worried, key=lambda process: (process.kind, process.instance))


def alive(fleet: Fleet, now: datetime, kind: str) -> list[Sighting]:
    """The processes of a kind that are up or late."""
    return [seen for key, seen in sorted(fleet.items()) if key[0] == kind and status(seen, now) in {"up", "late"}]


def serving(sightings: Iterable[Sighting]) -> Counter[str]:
    """By queue: how many of these workers look for its jobs."""
    counts: Counter[str] = Counter()
    for seen in sightings:
        queues = seen.beat.detail.get("queues")
        counts.update({queue for queue in queues if isinstance(queue, str)} if isinstance(queues, list) else ())
    return counts


def checkpoints(sightings: Iterable[Sighting]) -> dict[str, tuple[int, datetime]]:
    """By stream: the furthest position that these replicas have told, and when; a replica that stands by tells less."""
    furthest: dict[str, tuple[int, datetime]] = {}
    for seen in sightings:
        told = seen.beat.detail.get("checkpoints")
        for stream, position in told.items() if isinstance(told, dict) else ():
            if isinstance(position, int) and position >= furthest.get(stream, (0, seen.heard_at))[0]:
                furthest[stream] = (position, seen.heard_at)
    return furthest


def _same_process(one: Heartbeat, other: Heartbeat) -> bool:
    return (one.host, one.pid, one.started_at) == (other.host, other.pid, other.started_at)
