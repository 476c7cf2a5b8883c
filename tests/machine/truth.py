"""What the database says, held against the model, and against itself by a second fold of the journal."""

from collections import Counter
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from tests.chaos.fold import differences, fold
from tests.chaos.unfold import CHUNK, histories, unfolded
from tests.machine.model import Model

Row = dict[str, Any]
Conn = psycopg.Connection[Any]

_COMPARED: Final = (
    *("version", "status", "queue", "kind", "priority", "run_at", "max_attempts", "timeout_ms", "unique_key"),
    *("run", "attempt", "orphanings", "forced", "worker", "stop", "started_at", "finished_at", "error_type"),
    *("token", "stop_token", "ready", "cloned_from"),
)
_JOBS: Final = """
SELECT job.*, job.id::text AS id, cloned_from::text AS cloned_from,
    (SELECT convert_from(data, 'utf8')::json FROM jobs.body WHERE ref = payload_ref) AS payload FROM jobs.job
"""
_EVENTS: Final = """
SELECT pos, stream_id::text, version, type, command_id::text, at, data::text FROM jobs.event ORDER BY pos
"""
_OUTCOMES: Final = "SELECT command_id::text, status, code, job_id::text, position FROM jobs.command_outcome"
_OPERATIONS: Final = "SELECT *, id::text AS id FROM jobs.operation"
_ITEMS: Final = """
SELECT c.operation_id::text AS operation, item.*
FROM jobs.plan_chunk AS c, unnest(c.job_ids::text[], c.codes, c.versions, c.positions)
    WITH ORDINALITY AS item (job, code, version, position, n)
ORDER BY c.operation_id, c.number, item.n
"""


def check(conn: Conn, model: Model) -> None:
    """Everything that must be so after each step."""
    with conn.cursor(row_factory=dict_row) as cursor:

        def read(query: str) -> list[Row]:
            return cursor.execute(query.encode()).fetchall()

        jobs = {row["id"]: row for row in read(_JOBS)}
        events = read(_EVENTS)
        _rows_are_as_believed(jobs, model)
        _positions_are_gapless(events, read("SELECT pos FROM jobs.journal_head"))
        told = histories(events)
        _rows_are_folds(jobs, told)
        _histories_are_as_believed(told, model)
        _counters_are_counts(jobs, model, read("SELECT * FROM jobs.job_count"), read("SELECT * FROM jobs.error_group"))
        _outcomes_are_as_believed(read(_OUTCOMES), events, model)
        _controls_are_as_believed(read("SELECT * FROM jobs.queue_control"), model)
        _operations_are_as_believed(read(_OPERATIONS), read(_ITEMS), events, model)


def _rows_are_as_believed(jobs: dict[str, Row], model: Model) -> None:
    assert jobs.keys() == model.jobs.keys()
    for job_id, believed in model.jobs.items():
        row = jobs[job_id]
        there = {name: row[name] for name in _COMPARED} | {"payload": row["payload"] or {}}
        wanted = {name: believed[name] for name in _COMPARED} | {"payload": believed["payload"]}
        wrong = {name: (there[name], wanted[name]) for name in wanted if there[name] != wanted[name]}
        assert not wrong, f"{job_id}: (there, believed) {wrong}; believed history {believed['told']}"


def _positions_are_gapless(events: list[Row], head: list[Row]) -> None:
    assert [event["pos"] for event in events] == list(range(1, head[0]["pos"] + 1))


def _rows_are_folds(jobs: dict[str, Row], told: dict[str, list[Row]]) -> None:
    for job_id, history in told.items():
        state = fold(history)
        if history[-1]["type"] == "job.archived.v1":
            assert job_id not in jobs
        else:
            assert not (wrong := differences(state, jobs[job_id])), f"{job_id}: {wrong}"


def _histories_are_as_believed(told: dict[str, list[Row]], model: Model) -> None:
    everything = model.jobs | model.gone
    assert {job_id: [event["type"] for event in history] for job_id, history in told.items()} == {
        job_id: job["told"] for job_id, job in everything.items()
    }


def _counters_are_counts(jobs: dict[str, Row], model: Model, counts: list[Row], groups: list[Row]) -> None:
    counted = Counter((job["queue"], job["status"]) for job in jobs.values())
    assert {(row["queue"], row["status"]): row["n"] for row in counts if row["n"]} == dict(counted)
    failed = Counter(job["error_type"] for job in jobs.values() if job["status"] == "FAILED")
    assert {row["type"]: row["failed_now"] for row in groups if row["failed_now"]} == dict(failed)
    assert {row["type"]: row["occurrences"] for row in groups} == dict(model.failures)


def _outcomes_are_as_believed(outcomes: list[Row], events: list[Row], model: Model) -> None:
    there = {row["command_id"]: (row["status"], row["code"], row["job_id"]) for row in outcomes}
    assert there == model.outcomes
    caused = {
        (event["command_id"], event["pos"]) for event in events if event["command_id"] and event["type"] != REFUSED
    }
    pointed = {(row["command_id"], row["position"]) for row in outcomes if row["position"] is not None}
    assert caused == pointed, "one event for each command that is done, and it points there"


REFUSED: Final = "command.refused.v1"


def _controls_are_as_believed(rows: list[Row], model: Model) -> None:
    there = {
        (row["sort"], row["name"]): (
            row["version"],
            row["paused"] is not None,
            bool((row["paused"] or {}).get("drain")),
            (row["limits"] or {}).get("concurrency"),
            _rate((row["limits"] or {}).get("rate")),
        )
        for row in rows
    }
    assert there == {
        key: (control.version, control.paused, control.drain, control.concurrency, control.rate)
        for key, control in model.controls.known.items()
    }


def _rate(told: Row | None) -> tuple[int, int, int] | None:
    return None if told is None else (told["starts"], told["every_s"], told["burst"])


def _operations_are_as_believed(rows: list[Row], items: list[Row], events: list[Row], model: Model) -> None:
    there = {row["id"]: (row["status"], row["action"], row["done"], row["codes"], row["total"]) for row in rows}
    believed = {
        one.id: (one.status, one.action, one.done, one.codes, None if one.planned_at is None else len(one.items))
        for one in model.operations.known.values()
    }
    assert there == believed
    planned = [(row["operation"], row["job"], row["code"], row["version"]) for row in items]
    assert planned == [
        (one.id, item.job, item.code, item.version)
        for _, one in sorted(model.operations.known.items())
        for item in one.items
    ]
    changed = {(row["operation"], row["job"], row["version"], row["position"]) for row in items if row["version"]}
    assert changed == {
        (event["stream_id"], one["stream_id"], one["version"], one["pos"])
        for event in events
        if event["type"] == CHUNK
        for one in unfolded(event)
    }
