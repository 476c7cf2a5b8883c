"""The streams, durable consumers and users of the bus.

Declared here only, created by their owner, compared at every start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from jobplane.contracts.queries import JOURNAL_PAGE
from jobplane.contracts.subjects import inbox_prefix, query

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
MAX_MESSAGE_BYTES: Final = 768 * 1024
"""The most we ever send in one message; the server's `max_payload` is 1 MiB."""

CMD: Final = "CMD"
EVT_JOBS: Final = "EVT_JOBS"
EVT_ADMIN: Final = "EVT_ADMIN"
EVT_HEALTH: Final = "EVT_HEALTH"
DLQ: Final = "DLQ"
EVENT_STREAMS: Final = (EVT_JOBS, EVT_ADMIN, EVT_HEALTH)
FOLDED: Final[Mapping[str, tuple[str, ...]]] = {"audit": (EVT_JOBS, EVT_ADMIN), "health": (EVT_JOBS,)}
"""By service: the streams whose events it makes its rows of, all of them."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream; a difference in subjects.

    Retention or storage stops the start, any other difference degrades health.
    """

    name: str
    subjects: tuple[str, ...]
    owner: str
    max_age: timedelta | None = None
    max_bytes: int = -1
    discard_new: bool = False
    journal: bool = False
    """Replica of a journal: atomic publish, direct get, no delete, no purge; sequence equals position."""
    atomic: bool = False
    """Takes atomic batches of up to 1,000 messages: one fsync for all."""


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """One durable consumer, shared by the replicas of a service."""

    stream: str
    name: str
    filter_subject: str
    backoff: tuple[timedelta, ...]
    """How long the server waits for an acknowledgement: the first, the second … and every further time."""
    max_ack_pending: int


@dataclass(frozen=True, slots=True)
class UserSpec:
    """One NATS user: the subjects it may publish to and listen on, everything else is denied.

    A subject with a word behind it may only be listened to as a member of that queue group.
    """

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


_EVENTS_KEPT = timedelta(days=30)

STREAMS: Final = (
    StreamSpec(
        CMD,
        ("jobs.cmd.*.*",),
        owner="jobs",
        max_bytes=256 * MIB,
        discard_new=True,
        atomic=True,
    ),
    StreamSpec(EVT_JOBS, ("jobs.evt.>",), owner="jobs", max_age=_EVENTS_KEPT, max_bytes=4 * GIB, journal=True),
    StreamSpec(EVT_ADMIN, ("admin.evt.>",), owner="gateway", max_age=_EVENTS_KEPT, max_bytes=GIB, journal=True),
    StreamSpec(EVT_HEALTH, ("health.evt.>",), owner="health", max_age=_EVENTS_KEPT, max_bytes=GIB, journal=True),
    StreamSpec(DLQ, ("dlq.>",), owner="jobs", max_age=_EVENTS_KEPT, max_bytes=256 * MIB),
)

JOBS_INTAKE: Final = ConsumerSpec(
    CMD,
    "jobs",
    "jobs.cmd.>",
    backoff=(timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=30)),
    max_ack_pending=4096,
)
CONSUMERS: Final = (JOBS_INTAKE,)


def stream(name: str) -> StreamSpec:
    """The declared stream of that name."""
    return next(spec for spec in STREAMS if spec.name == name)


def _inboxes(*users: str) -> tuple[str, ...]:
    return tuple(f"{inbox_prefix(user)}.>" for user in users)


def _own_inbox(user: str) -> str:
    return f"{inbox_prefix(user)}.>"


def _reads(*streams: str) -> tuple[str, ...]:
    """What a reader of whole streams may ask JetStream: to look, and to keep an ephemeral consumer of its own."""
    return tuple(
        subject
        for name in streams
        for subject in (
            f"$JS.API.STREAM.INFO.{name}",
            f"$JS.API.CONSUMER.CREATE.{name}.>",
            f"$JS.API.CONSUMER.INFO.{name}.>",
            f"$JS.API.CONSUMER.DELETE.{name}.>",
            f"$JS.API.CONSUMER.MSG.NEXT.{name}.>",
        )
    )


def _journals(service: str) -> tuple[str, ...]:
    """Whom a service asks for the events that it makes its rows of, where their streams do not have them."""
    return tuple(query(stream(name).owner, JOURNAL_PAGE) for name in FOLDED[service])


def _relays(name: str, events: str) -> tuple[str, ...]:
    """What a relay may do: publish its journal's events, and look at the end of its stream."""
    return (
        events,
        f"$JS.API.STREAM.INFO.{name}",
        f"$JS.API.STREAM.MSG.GET.{name}",
        f"$JS.API.DIRECT.GET.{name}",
        f"$JS.API.DIRECT.GET.{name}.>",
    )


USERS: Final = (
    UserSpec(
        "gateway",
        publish=(
            "jobs.cmd.gateway.*",
            "jobs.query.*",
            "audit.query.*",
            "health.query.*",
            "fleet.beat.gateway.*",
            *_reads(*EVENT_STREAMS),
        ),
        subscribe=(_own_inbox("gateway"),),
    ),
    UserSpec("gateway-relay", publish=_relays(EVT_ADMIN, "admin.evt.>"), subscribe=(_own_inbox("gateway-relay"),)),
    UserSpec("gateway-answers", publish=_inboxes("audit-reader"), subscribe=("gateway.query.* gateway",)),
    UserSpec(
        "jobs",
        publish=(*_inboxes("gateway", "worker", "health-reader", "audit-reader"), "jobs.signal.*", "jobs.wake.*"),
        subscribe=(_own_inbox("jobs"), "jobs.lease.*", "jobs.beat", "jobs.done", "jobs.query.*", "jobs.wake.*"),
    ),
    UserSpec(
        "jobs-intake",
        publish=(
            *_inboxes("gateway", "producer"),
            "$JS.API.STREAM.INFO.CMD",
            "$JS.API.STREAM.PURGE.CMD",
            "$JS.API.CONSUMER.INFO.CMD.jobs",
            "$JS.API.CONSUMER.MSG.NEXT.CMD.jobs",
            "$JS.ACK.CMD.jobs.>",
            "$JS.ACK.*.*.CMD.jobs.>",
            "dlq.jobs.*",
            "fleet.beat.jobs.*",
        ),
        subscribe=(_own_inbox("jobs-intake"),),
    ),
    UserSpec("jobs-relay", publish=_relays(EVT_JOBS, "jobs.evt.>"), subscribe=(_own_inbox("jobs-relay"),)),
    UserSpec("audit", publish=_inboxes("gateway"), subscribe=(_own_inbox("audit"), "audit.query.*")),
    UserSpec(
        "audit-reader",
        publish=(
            *_reads(*EVENT_STREAMS),
            *_journals("audit"),
            "dlq.audit.*",
            "fleet.beat.audit.*",
        ),
        subscribe=(_own_inbox("audit-reader"),),
    ),
    UserSpec("health", publish=_inboxes("gateway"), subscribe=(_own_inbox("health"), "health.query.*")),
    UserSpec(
        "health-reader",
        publish=(
            *_reads(*EVENT_STREAMS),
            "$JS.API.INFO",
            "$JS.API.STREAM.INFO.CMD",
            "$JS.API.STREAM.INFO.DLQ",
            "$JS.API.CONSUMER.INFO.CMD.jobs",
            "jobs.query.journal",
            "jobs.query.stats",
            *_journals("health"),
            "dlq.health.*",
            "fleet.beat.health.*",
        ),
        subscribe=(_own_inbox("health-reader"), "fleet.beat.>"),
    ),
    UserSpec(
        "worker",
        publish=("jobs.lease.*", "jobs.beat", "jobs.done", "fleet.beat.worker.*"),
        subscribe=(_own_inbox("worker"), "jobs.signal.*", "jobs.wake.*"),
    ),
    UserSpec("producer", publish=("jobs.cmd.producer.create",), subscribe=(_own_inbox("producer"),)),
    UserSpec(
        "topology",
        publish=("$JS.API.STREAM.>", "$JS.API.CONSUMER.>", "$JS.API.INFO"),
        subscribe=(_own_inbox("topology"),),
    ),
)
