"""The tables of the jobs service in memory, with the locks, the visibility and the unique indexes of PostgreSQL."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from psycopg.errors import DeadlockDetected, UniqueViolation

from jobplane.chassis.new_events import NewEvent
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import FINISHED, JobStatus
from jobplane.contracts.workers import DEFAULT_LEASE_MS
from jobplane.jobs import allowance
from jobplane.jobs.bodies import NewBody
from jobplane.jobs.error_groups import GroupChange
from jobplane.jobs.job import Job
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.queue import Control
from jobplane.jobs.rows import Held
from jobplane.jobs.store import Due, UniqueKey
from tests.simulation.faults import Faults
from tests.simulation.loop import PROCESS, Process

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
HEAD: Final = "head"
_LOST_IS_NOTICED_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of jobs."""

    job: Job
    position: int
    traceparent: str
    correlation_id: str
    ready: bool
    lease_until: datetime | None
    lease_request: str | None
    progress: float | None = None
    unmentioned_at: datetime | None = None

    def held(self) -> Held:
        """The row as a writer sees it that has locked it."""
        return Held(self.job, self.lease_until, self.traceparent, self.correlation_id, self.job, self.position)


class Session:
    """One transaction of one process, and the locks it holds."""

    def __init__(self, owner: Process | None) -> None:
        self.owner = owner
        self.held: list[Hashable] = []
        self.waits_for: Hashable | None = None
        self.over = False
        self.committing = False
        """Its end is on the server: it comes to it whatever becomes of the process."""
        self.starts_jobs = False
        """It looked, or is about to look, whether something is paused or limited."""


class Locks:
    """Who holds what, and who waits for it, in the order of asking."""

    def __init__(self) -> None:
        self.circles: list[str] = []
        """Deadlocks: there should be none, because everybody locks in one order."""
        self._holders: dict[Hashable, Session] = {}
        self._queues: dict[Hashable, deque[tuple[Session, asyncio.Future[None]]]] = {}

    def __len__(self) -> int:
        return len(self._holders)

    async def take(self, session: Session, name: Hashable) -> None:
        """Wait for a lock.

        Raises:
            DeadlockDetected: its holder waits for us.
        """
        if self.try_take(session, name):
            return
        session.waits_for = name
        if self._closes_a_circle(session):
            session.waits_for = None
            self.circles.append(f"{[*session.held]} held while {name} was wanted")
            raise DeadlockDetected(f"waiting for {name}")
        granted = asyncio.get_running_loop().create_future()
        self._queues.setdefault(name, deque()).append((session, granted))
        await granted

    def try_take(self, session: Session, name: Hashable) -> bool:
        """Take a lock if nobody has it; whether it is ours."""
        holder = self._holders.get(name)
        if holder is None:
            self._holders[name] = session
            session.held.append(name)
        return holder is None or holder is session

    def release(self, session: Session) -> None:
        """Give up everything; whoever waits longest gets it."""
        session.over = True
        if session.waits_for is not None:
            queue = self._queues[session.waits_for]
            self._queues[session.waits_for] = deque(pair for pair in queue if pair[0] is not session)
        for name in session.held:
            self._hand_on(name)
        session.held.clear()

    def _hand_on(self, name: Hashable) -> None:
        del self._holders[name]
        queue = self._queues.get(name)
        if queue:
            heir, granted = queue.popleft()
            self._holders[name] = heir
            heir.held.append(name)
            heir.waits_for = None
            if not granted.done():  # else its task is being cancelled, and will give it up
                granted.set_result(None)
        elif queue is not None:
            del self._queues[name]

    def _closes_a_circle(self, session: Session) -> bool:
        at = session
        while at.waits_for is not None:
            at = self._holders[at.waits_for]
            if at is session:
                return True
        return False


@dataclass(slots=True)
class Staged:
    """What a transaction has written and nobody else sees yet."""

    events: list[tuple[int, NewEvent]] = field(default_factory=list)
    gone: list[JobId] = field(default_factory=list)
    rows: dict[JobId, Row] = field(default_factory=dict)
    bodies: list[tuple[JobId, NewBody]] = field(default_factory=list)
    outcomes: dict[str, Stored] = field(default_factory=dict)
    counts: dict[tuple[str, JobStatus], int] = field(default_factory=dict)
    paid: dict[str, datetime] = field(default_factory=dict)
    groups: list[GroupChange] = field(default_factory=list)


class MemoryDatabase:
    """The committed state of everything, and the sessions that are changing it."""

    def __init__(self, faults: Faults, on_commit: Callable[[Staged], None] = lambda _: None) -> None:
        self.faults = faults
        self.on_commit = on_commit
        self.locks = Locks()
        self.server = Process("database")
        self.sessions: dict[Session, None] = {}
        """In the order of their beginning."""
        self.events: list[tuple[int, NewEvent]] = []
        self.rows: dict[JobId, Row] = {}
        self.bodies: dict[str, tuple[JobId, NewBody]] = {}
        self.outcomes: dict[str, Stored] = {}
        self.counts: dict[tuple[str, JobStatus], int] = {}
        self.controls: dict[str, allowance.Held] = {}
        """Queues and kinds that are paused or limited, by key."""
        self.pauses: list[tuple[int, bool]] = []
        """The last position before each change, and whether it was a pause."""
        self.failures: dict[str, int] = {}
        """Of each error group, all that ever were."""
        self.failed_now: dict[str, int] = {}
        """Of each error group, the jobs."""
        self.head = 0
        self.halted: str | None = None
        self.served_since = self.served_until = self.now()
        self._versions: set[tuple[str, int]] = set()

    def now(self) -> datetime:
        """What `clock_timestamp()` says."""
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    # Sessions.

    def begin(self) -> Session:
        """A transaction of the process that asks."""
        session = Session(PROCESS.get(None))
        self.sessions[session] = None
        return session

    def end(self, session: Session) -> None:
        """Forget what was not committed, and let others go on."""
        if not session.over:
            self.locks.release(session)
            self.sessions.pop(session, None)

    def lost(self, process: Process) -> None:
        """A process is dead: its sessions are rolled back, as soon as the server notices."""
        for session in [one for one in self.sessions if one.owner is process and not one.committing]:
            wait_s = self.faults.dice.random() * _LOST_IS_NOTICED_S
            asyncio.get_running_loop().call_later(wait_s, self.end, session, context=self.server.context)

    # What is unique.

    def check_unique(self, staged: Staged) -> None:
        """Compare with everything that is committed.

        Raises:
            UniqueViolation: somebody was faster with the same job, version, command or unique key.
        """
        for _, event in staged.events:
            if (event.stream_id, event.version) in self._versions:
                raise UniqueViolation(f"version {event.version} of {event.stream_id}")
        for command_id in staged.outcomes:
            if command_id in self.outcomes:
                raise UniqueViolation(f"command {command_id}")
        self.check_keys(staged)

    def check_keys(self, staged: Staged) -> None:
        """No two jobs that wait or run have the same unique key.

        Raises:
            UniqueViolation: they would.
        """
        wanted = [(key, row.job.id) for row in staged.rows.values() if (key := active_key(row.job)) is not None]
        if not wanted:
            return
        taken = self.holders_of([key for key, _ in wanted], without=staged.rows)
        for key, job_id in wanted:
            if taken.setdefault(key, job_id) != job_id:
                raise UniqueViolation(f"unique key {key}")

    def holders_of(self, keys: Iterable[UniqueKey], without: Iterable[JobId] = ()) -> dict[UniqueKey, JobId]:
        """Who holds these keys, as far as it is committed."""
        wanted, left_out = set(keys), set(without)
        pairs = [(active_key(row.job), row.job.id) for row in self.rows.values() if row.job.id not in left_out]
        return {key: job_id for key, job_id in pairs if key is not None and key in wanted}

    # What a commit does.

    def controls_of(self, keys: Iterable[str]) -> list[allowance.Held]:
        """Those that are paused or limited, each with how many of it run."""
        there = [self.controls[key] for key in sorted(keys) if key in self.controls]
        return [replace(item, running=self._running(item)) for item in there if item.control.active]

    def _running(self, item: allowance.Held) -> int:
        target = item.control.target
        jobs = [row.job for row in self.rows.values() if row.job.status is JobStatus.RUNNING]
        return sum((job.queue if target.sort == "queue" else job.kind) == target.name for job in jobs)

    def change_control(self, control: Control) -> bool:
        """Pause, resume or limit; false while somebody starts jobs who may have looked before: ask again."""
        if any(session.starts_jobs for session in self.sessions):
            return False
        self.controls[control.target.key] = allowance.Held(control)
        self.pauses.append((self.head, control.paused is not None))
        return True

    def take_positions(self, count: int) -> int:
        """The position before the first of so many new ones; the head is locked."""
        self.head += count
        return self.head - count

    def give_back(self, count: int) -> None:
        """A rollback under the lock of the head."""
        self.head -= count

    def commit(self, staged: Staged) -> None:
        """Everybody sees it from now on."""
        self.events += staged.events
        self._versions.update((event.stream_id, event.version) for _, event in staged.events)
        self.rows |= staged.rows
        for job_id in staged.gone:
            del self.rows[job_id]
        self.bodies |= {body.ref: (job_id, body) for job_id, body in staged.bodies}
        self.outcomes |= staged.outcomes
        for key, n in staged.counts.items():
            self.counts[key] = self.counts.get(key, 0) + n
        for name, until in staged.paid.items():
            self.controls[name] = replace(self.controls[name], paid_until=until)
        for change in staged.groups:
            group = change.fingerprint
            self.failures[group] = self.failures.get(group, 0) + change.failures
            self.failed_now[group] = self.failed_now.get(group, 0) + change.failed
        self.on_commit(staged)

    def change(self, job_id: JobId, **columns: object) -> Row:
        """Update one row in place, outside the journal; it is locked."""
        self.rows[job_id] = row = replace(self.rows[job_id], **columns)  # type: ignore[arg-type]
        return row

    # What is due.

    def is_due(self, row: Row, due: Due) -> bool:
        """Whether the rescuer should look after a row now."""
        job, now = row.job, self.now()
        if not self._workers_were_heard(job, now):
            return False
        lease = timedelta(milliseconds=job.lease_ms or DEFAULT_LEASE_MS)
        match due:
            case Due.EXPIRED:
                return job.status is JobStatus.RUNNING and row.lease_until is not None and row.lease_until < now
            case Due.OVERDUE:
                if job.status is not JobStatus.RUNNING or job.timeout_ms is None or job.started_at is None:
                    return False
                return job.started_at + timedelta(milliseconds=job.timeout_ms) < now
            case Due.UNSETTLED:
                if job.stop != "pending" or job.finished_at is None:
                    return False
                return now > max(row.lease_until or job.finished_at, job.finished_at + lease)

    def _workers_were_heard(self, job: Job, now: datetime) -> bool:
        lease = timedelta(milliseconds=job.lease_ms or DEFAULT_LEASE_MS)
        return self.served_until > now and self.served_since + lease < now

    def serve_beats(self, pause: timedelta) -> None:
        """Beats can be served for the next while."""
        now = self.now()
        if self.served_until < now:
            self.served_since = now
        self.served_until = now + pause


def active_key(job: Job) -> UniqueKey | None:
    """The unique key that a job holds, if it holds one."""
    return None if job.unique_key is None or job.status in FINISHED else (job.kind, job.unique_key)


Lock = tuple[Literal["key", "row", "command", "control"], Hashable]


def key_lock(key: UniqueKey) -> Lock:
    return "key", key


def control_lock(key: str) -> Lock:
    return "control", key


def row_lock(job_id: JobId) -> Lock:
    return "row", job_id


def command_lock(command_id: str) -> Lock:
    return "command", command_id
