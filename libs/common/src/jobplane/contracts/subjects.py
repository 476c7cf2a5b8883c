"""Every subject of the bus, as functions.

A job id never stands in a stream subject (each distinct subject costs memory for ever).
"""

import re
from typing import Final
from uuid import UUID

SHARDS: Final = 16
QUEUE_PATTERN: Final = r"^[a-z0-9_-]{1,64}$"
KIND_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$"
WORKER_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"
_QUEUE = re.compile(QUEUE_PATTERN)

JOBS_BEAT: Final = "jobs.beat"
JOBS_DONE: Final = "jobs.done"
FLEET_ALL: Final = "fleet.beat.>"


def is_queue_name(text: str) -> bool:
    """Whether `text` may name a queue (and so stand in a subject)."""
    return _QUEUE.fullmatch(text) is not None


def shard_of(stream_id: str) -> int:
    """The shard 0..15 of a stream id: its last hexadecimal digit, which is random in a UUIDv7."""
    return UUID(stream_id).int % SHARDS


def job_command(issuer: str, verb: str) -> str:
    """Where `issuer` (its own NATS user name, enforced by the server) sends a command to the jobs service."""
    return f"jobs.cmd.{issuer}.{verb}"


def issuer_of(subject: str) -> str:
    """The issuer of a command subject ``<service>.cmd.<issuer>.<verb>``."""
    return subject.split(".")[2]


def job_event(stream_id: str, queue: str | None, event_type: str) -> str:
    """Where an event of the jobs service is published: ``jobs.evt.<shard>.<queue or _>.<type>``."""
    return f"jobs.evt.{shard_of(stream_id)}.{queue or '_'}.{type_word(event_type)}"


def admin_event(event_type: str) -> str:
    """Where an event of the gateway is published: ``admin.evt.<area>.<type>``.

    ``login.failed.v1`` has the area ``login``.
    """
    return f"admin.evt.{event_type.split('.', 1)[0]}.{type_word(event_type)}"


def type_word(event_type: str) -> str:
    """The last subject token of an event type: ``job.retried.v1`` → ``job_retried``."""
    return event_type.rsplit(".", 1)[0].replace(".", "_")


def lease(queue: str) -> str:
    """Where workers ask for jobs of a queue."""
    return f"jobs.lease.{queue}"


def signal(worker: str) -> str:
    """Where a worker hears that a run of its must stop."""
    return f"jobs.signal.{worker}"


def wake(queue: str) -> str:
    """Announces that a queue has jobs to run."""
    return f"jobs.wake.{queue}"


def fleet_beat(kind: str, instance: str) -> str:
    """Where a process sends its heartbeat; `kind` is ``jobs``, ``audit``, ``health``, ``gateway`` or ``worker``."""
    return f"fleet.beat.{kind}.{instance}"


def query(service: str, name: str) -> str:
    """Where a service answers a typed query."""
    return f"{service}.query.{name}"


def dead_letter(service: str, what: str) -> str:
    """Where a service puts what it cannot process."""
    return f"dlq.{service}.{what}"


def inbox_prefix(user: str) -> str:
    """The inbox prefix of a NATS user; no user may listen on another's."""
    return f"_INBOX_{user}"
