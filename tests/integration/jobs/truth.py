"""What must be true of the journal and everything beside it at any moment: rows, counters, outcomes and bodies."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.types.string import TextLoader

from jobplane.contracts.actors import Actor
from jobplane.contracts.envelope import trace_id_of
from jobplane.contracts.error_groups import MOST_NAMES
from jobplane.contracts.job_events import JOB_EVENTS, AnyJobEvent, CommandRefused, JobArchived
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.operations import JobsChanged
from jobplane.contracts.queues import QUEUE_EVENTS
from jobplane.jobs import control_rows, queue
from jobplane.jobs.job import Job, Meta, fold
from jobplane.jobs.rows import JOB_COLUMNS, job_of

Rows = list[tuple[Any, ...]]


def rows_of(owner_url: str, query: str, parameters: tuple[Any, ...] = ()) -> Rows:
    """Look behind the scenes."""
    with _connect(owner_url) as connection:
        return connection.execute(query, parameters).fetchall()


def change(owner_url: str, statement: str, parameters: tuple[Any, ...] = ()) -> int:
    """Move time, or break something; gives how many rows it met."""
    with _connect(owner_url) as connection:
        return connection.execute(statement, parameters).rowcount


def assert_consistent(owner_url: str) -> None:
    """The journal has no gap, and each row, counter, outcome and body is what the events say."""
    with _connect(owner_url) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        _positions_are_gapless(connection)
        jobs = _rows_are_folds(connection)
        _counters_are_counts(connection, jobs)
        _error_groups_are_counts(connection, jobs)
        _outcomes_point_at_their_events(connection)
        _bodies_are_what_events_refer_to(connection)


def assert_controls_are_folds(owner_url: str) -> None:
    """Each queue and kind is controlled as its events say."""
    with _connect(owner_url) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        _controls_are_folds(connection)


def _connect(owner_url: str) -> Connection[tuple[Any, ...]]:
    connection = psycopg.connect(owner_url, autocommit=True, options="-c search_path=jobs -c timezone=UTC")
    connection.adapters.register_loader("uuid", TextLoader)
    return connection


def _positions_are_gapless(connection: Connection[tuple[Any, ...]]) -> None:
    (head,) = connection.execute("SELECT pos FROM journal_head").fetchone() or (None,)
    positions = [row[0] for row in connection.execute("SELECT pos FROM event ORDER BY pos")]
    assert positions == list(range(1, len(positions) + 1))
    assert head == len(positions)


def _rows_are_folds(connection: Connection[tuple[Any, ...]]) -> list[Job]:
    histories: dict[str, list[tuple[AnyJobEvent, Meta]]] = {}
    last: dict[str, int] = {}
    query = "SELECT stream_id, version, at, traceparent, type, data::text, pos FROM event ORDER BY stream_id, version"
    for stream_id, version, at, traceparent, event_type, data, position in connection.execute(query):
        for job_id, job_version, job_event_type, body in _told_of_jobs(stream_id, version, event_type, data):
            event = JOB_EVENTS[job_event_type].model_validate(body)
            meta = Meta(job_id, job_version, at, trace_id_of(traceparent))
            histories.setdefault(job_id, []).append((event, meta))
            last[job_id] = max(position, last.get(job_id, 0))
    for history in histories.values():
        history.sort(key=lambda pair: pair[1].version)
    jobs: list[Job] = []
    for *columns, position, lease_until, ready in connection.execute(
        f"SELECT {JOB_COLUMNS}, position, lease_until, ready FROM job"
    ):
        job = job_of(columns)
        jobs.append(job)
        assert replace(job, token=None, stop_token=None) == fold(histories[job.id])
        assert [meta.version for _, meta in histories[job.id]] == list(range(1, job.version + 1))
        assert position == last[job.id]
        assert job.status is not JobStatus.RUNNING or lease_until is not None
        assert lease_until is None or job.status is JobStatus.RUNNING or job.stop is not None
        assert not ready or job.status is JobStatus.PENDING
    archived = {job_id for job_id, told in histories.items() if isinstance(told[-1][0], JobArchived)}
    assert {job.id for job in jobs} == set(histories) - archived
    return jobs


def _controls_are_folds(connection: Connection[tuple[Any, ...]]) -> None:
    told: dict[str, queue.Control] = {}
    query = "SELECT stream_id, version, at, actor::text, reason, type, data::text FROM event ORDER BY pos"
    for stream_id, version, at, actor, reason, event_type, data in connection.execute(query):
        if event_type in QUEUE_EVENTS:
            event = QUEUE_EVENTS[event_type].model_validate_json(data)
            target = queue.Target.of(event)
            before = told.get(target.key, queue.Control(target))
            assert (target.stream_id, before.version + 1) == (stream_id, version)
            meta = queue.Meta(version, at, Actor.model_validate_json(actor), reason)
            told[target.key] = queue.evolve(before, event, meta)
    rows = connection.execute(f"SELECT {control_rows.COLUMNS} FROM queue_control").fetchall()
    assert {item.target.key: item for item in map(control_rows.control, rows)} == told


def _told_of_jobs(stream_id: str, version: int, event_type: str, data: str) -> list[tuple[str, int, str, Any]]:
    """Job, version, type and body of each event of a job that an event tells of."""
    body = json.loads(data)
    if event_type == JobsChanged.TYPE:
        return [(item["job"], item["version"], body["type"], {**body["shared"], **item}) for item in body["items"]]
    return [(stream_id, version, event_type, body)] if event_type in JOB_EVENTS else []


def _counters_are_counts(connection: Connection[tuple[Any, ...]], jobs: list[Job]) -> None:
    counted = {
        (queue, status): n for queue, status, n in connection.execute("SELECT queue, status, n FROM job_count") if n
    }
    assert counted == dict(Counter((job.queue, job.status.value) for job in jobs))


def _error_groups_are_counts(connection: Connection[tuple[Any, ...]], jobs: list[Job]) -> None:
    """Every failure counts once, in its group and in its hour; and as many jobs are FAILED as a group says."""
    told: list[tuple[str, Any, str, str]] = connection.execute(
        "SELECT data -> 'error' ->> 'fingerprint', at, data ->> 'kind', data ->> 'queue' FROM event "
        "WHERE data -> 'error' ->> 'fingerprint' IS NOT NULL ORDER BY pos"
    ).fetchall()
    failed = Counter(job.error_fingerprint for job in jobs if job.status is JobStatus.FAILED)
    groups = connection.execute(
        "SELECT fingerprint, occurrences, failed_now, first_at, last_at, kinds, queues FROM error_group"
    ).fetchall()
    assert {row[0] for row in groups} == {fingerprint for fingerprint, *_ in told}
    for fingerprint, *counted, first_at, last_at, kinds, queues in groups:
        mine = [one for one in told if one[0] == fingerprint]
        assert counted == [len(mine), failed[fingerprint]]
        assert (first_at, last_at) == (mine[0][1], mine[-1][1])
        assert kinds == [*dict.fromkeys(kind for _, _, kind, _ in mine)][:MOST_NAMES]
        assert queues == [*dict.fromkeys(queue for *_, queue in mine)][:MOST_NAMES]
    hours = Counter((one[0], one[1].replace(minute=0, second=0, microsecond=0)) for one in told)
    trend = connection.execute("SELECT fingerprint, hour, n FROM error_trend")
    assert {(fingerprint, hour): n for fingerprint, hour, n in trend} == dict(hours)


def _outcomes_point_at_their_events(connection: Connection[tuple[Any, ...]]) -> None:
    caused: dict[str, list[tuple[int, str]]] = {}
    for position, command_id, event_type in connection.execute(
        "SELECT pos, command_id, type FROM event WHERE command_id IS NOT NULL ORDER BY pos"
    ):
        caused.setdefault(command_id, []).append((position, event_type))
    stored = connection.execute("SELECT command_id, status, position FROM command_outcome").fetchall()
    for command_id, status, position in stored:
        happened = [pos for pos, event_type in caused.get(command_id, ()) if event_type != CommandRefused.TYPE]
        assert happened == ([position] if position is not None else []), "one event per command that is done"
        assert status == "done" or position is None
    assert {row[0] for row in stored} >= set(caused)


def _bodies_are_what_events_refer_to(connection: Connection[tuple[Any, ...]]) -> None:
    bodies = {
        ref: hashlib.sha256(salt + data).hexdigest()
        for ref, salt, data in connection.execute("SELECT ref, salt, data FROM body")
    }
    told: dict[str, str] = {}
    for (text,) in connection.execute("SELECT data::text FROM event"):
        data = json.loads(text)
        facts = (data.get("payload"), data.get("result"), (data.get("error") or {}).get("body"))
        told |= {fact["ref"]: fact["digest"] for fact in facts if fact}
    assert bodies == told
