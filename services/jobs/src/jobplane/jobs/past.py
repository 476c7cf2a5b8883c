"""The past of a job: its events as the journal has them; whoever looks back gets them from here."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from jobplane.contracts import instants
from jobplane.contracts.actors import Actor
from jobplane.contracts.envelope import EventRecord, trace_id_of
from jobplane.contracts.ids import EventId, JobId
from jobplane.contracts.job_events import JOB_EVENTS, AnyJobEvent, JobArchived
from jobplane.contracts.operations import JobsChanged
from jobplane.jobs.job import Meta

_EVENTS: Final = f"""
SELECT pos, stream_id, version, type, id, command_id, actor::text, reason, correlation_id, causation_id, traceparent,
    at, data::text, NULL::uuid
FROM event WHERE stream_id = %(job)s AND version > %(after)s
UNION ALL
SELECT event.pos, job.id, (item ->> 'version')::integer, event.data ->> 'type', event.id, event.command_id,
    event.actor::text, event.reason, event.correlation_id, event.causation_id, event.traceparent, event.at,
    ((event.data -> 'shared')::jsonb || (item::jsonb - '{{job,version}}'::text[]))::text, event.stream_id
FROM (
    SELECT id, bulk_positions FROM job WHERE id = %(job)s
    UNION ALL SELECT id, bulk_positions FROM archived_job WHERE id = %(job)s
) AS job JOIN event ON event.pos = ANY(job.bulk_positions) AND event.type = '{JobsChanged.TYPE}',
    json_array_elements(event.data -> 'items') AS item
WHERE item ->> 'job' = job.id::text AND (item ->> 'version')::integer > %(after)s
ORDER BY 3 LIMIT %(limit)s
"""  # noqa: S608 - constants
"""Those of its own stream, and its share of those that tell of many jobs."""

_LAST: Final = "SELECT type, at FROM event WHERE stream_id = %s ORDER BY version DESC LIMIT 1"


async def events_of(
    conn: AsyncConnection[Any], job_id: JobId, after_version: int = 0, limit: int | None = None
) -> list[EventRecord]:
    """The events of a job behind one of its versions, oldest first; their versions rise, perhaps not by one."""
    found = await (await conn.execute(_EVENTS, {"job": job_id, "after": after_version, "limit": limit})).fetchall()
    return [
        EventRecord(
            position=row[0],
            stream_id=row[1],
            version=row[2],
            type=row[3],
            id=EventId(row[4]),
            command_id=row[5],
            actor=Actor.model_validate_json(row[6]),
            reason=row[7],
            correlation_id=row[8],
            causation_id=row[9],
            traceparent=row[10],
            at=row[11],
            data=row[12].encode(),
            operation_id=row[13],
        )
        for row in found
        if row[3] in JOB_EVENTS
    ]


def told(events: Iterable[EventRecord]) -> list[tuple[AnyJobEvent, Meta]]:
    """What these events say, ready to be folded."""
    return [
        (
            JOB_EVENTS[event.type].model_validate_json(event.data),
            Meta(event.stream_id, event.version, event.at, trace_id_of(event.traceparent)),
        )
        for event in events
    ]


async def who_changed(conn: AsyncConnection[Any], job_id: JobId, version: int) -> dict[str, Any]:
    """Facts for somebody who was overtaken: who made this version of the job, when, and at which position."""
    found = await events_of(conn, job_id, version - 1, 1)
    if not found:
        return {}
    event = found[0]
    return {
        "changed_by": {"id": event.actor.id, "kind": event.actor.kind.value},
        "changed_at": instants.written(event.at),
        "position": event.position,
    }


async def archived_at(conn: AsyncConnection[Any], job_id: JobId) -> datetime | None:
    """When a job was archived, if it was: that is the last of its events."""
    found = await (await conn.execute(_LAST, (job_id,))).fetchone()
    return found[1] if found is not None and found[0] == JobArchived.TYPE else None
