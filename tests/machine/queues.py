"""The queues and kinds of the model: paused, limited, and what may start there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Rate = tuple[int, int, int]
"""Starts, seconds, burst."""


@dataclass
class Bucket:
    """A rate as a bucket that time fills: each start takes so many microseconds out of it."""

    rate: Rate
    level_us: int
    at: datetime

    @property
    def cost_us(self) -> int:
        """Of one start, rounded up."""
        starts, every_s, _ = self.rate
        return -(-every_s * 1_000_000 // starts)

    def left(self, now: datetime) -> int:
        """How many may start."""
        passed_us = (now - self.at).days * 86_400_000_000 + (now - self.at).seconds * 1_000_000
        passed_us += (now - self.at).microseconds
        self.level_us = min(self.rate[2] * self.cost_us, self.level_us + passed_us)
        self.at = now
        return self.level_us // self.cost_us


@dataclass
class Control:
    """One queue, or one kind."""

    version: int = 0
    paused: bool = False
    drain: bool = False
    concurrency: int | None = None
    rate: Rate | None = None
    bucket: Bucket | None = None

    def ask(self, what: str, now: datetime, *, drain: bool = False, limits: dict[str, Any] | None = None) -> str | None:
        """Pause, resume or limit it; gives the code of the refusal."""
        if what == "pause_queue":
            if self.paused and (self.drain or not drain):
                return "already_paused"
            self.paused, self.drain = True, drain
        elif what == "resume_queue":
            if not self.paused:
                return "not_paused"
            self.paused = self.drain = False
        else:
            wanted = limits or {}
            if (wanted.get("concurrency"), wanted.get("rate")) == (self.concurrency, self.rate):
                return "nothing_to_change"
            self.concurrency, self.rate = wanted.get("concurrency"), wanted.get("rate")
            self.bucket = None
            if self.rate is not None:
                self.bucket = Bucket(self.rate, 0, now)
                self.bucket.level_us = self.rate[2] * self.bucket.cost_us
        self.version += 1
        return None

    def room(self, running: int, now: datetime) -> int:
        """How many more may start."""
        rooms = [10**9]
        if self.concurrency is not None:
            rooms.append(max(0, self.concurrency - running))
        if self.bucket is not None:
            rooms.append(self.bucket.left(now))
        return min(rooms)


@dataclass
class Controls:
    """All of them."""

    known: dict[tuple[str, str], Control] = field(default_factory=dict)
    """By sort (``queue``, ``kind``) and name."""

    def of(self, sort: str, name: str) -> Control:
        """One, new if nobody controlled it yet."""
        return self.known.get((sort, name), Control())

    def next(
        self, jobs: Iterable[dict[str, Any]], queue: str, kinds: Iterable[str], most: int, now: datetime
    ) -> list[dict[str, Any]]:
        """The jobs that a worker gets which asks for so many."""
        everything = list(jobs)
        running = [job for job in everything if job["status"] == "RUNNING"]
        of_queue = self.of("queue", queue)
        left = min(most, of_queue.room(sum(job["queue"] == queue for job in running), now))
        room = {
            kind: self.of("kind", kind).room(sum(job["kind"] == kind for job in running), now) for kind in set(kinds)
        }
        waiting = [job for job in everything if job["ready"] and job["queue"] == queue and job["kind"] in room]
        taken = []
        for job in sorted(waiting, key=lambda job: (not job["forced"], -job["priority"], job["run_at"], job["id"])):
            paused = of_queue.paused or self.of("kind", job["kind"]).paused
            if left > 0 and room[job["kind"]] > 0 and (job["forced"] or not paused):
                left -= 1
                room[job["kind"]] -= 1
                taken.append(job)
        return taken

    def started(self, job: dict[str, Any]) -> None:
        """A job of it has started, which costs what its rates say."""
        for sort, name in (("queue", job["queue"]), ("kind", job["kind"])):
            bucket = self.of(sort, name).bucket
            if bucket is not None:
                bucket.level_us -= bucket.cost_us
