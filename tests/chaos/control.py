"""I9: bulk operations, queues and kinds are what their events say, each item was done once, and an undo undid.

Folded a second time, from docs/bulk.md and docs/queues.md, not with the product's code.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tests.chaos.evidence import Evidence, Row
from tests.chaos.fold import BrokenHistory, fold
from tests.chaos.history import Record
from tests.chaos.unfold import CHUNK, histories, unfolded

DIRECTIVES: Final = {
    "bulk": "operation.requested.v1",
    "undo": "operation.requested.v1",
    "run_operation": "operation.started.v1",
    "pause_operation": "operation.paused.v1",
    "resume_operation": "operation.resumed.v1",
    "stop_operation": "operation.stopped.v1",
    "pause_queue": "queue.paused.v1",
    "drain_queue": "queue.paused.v1",
    "resume_queue": "queue.resumed.v1",
    "limit_queue": "queue.limited.v1",
}
_STEPS: Final[dict[str, tuple[set[str | None], str]]] = {
    "operation.requested.v1": ({None}, "planning"),
    "operation.planned.v1": ({"planning"}, "planned"),
    "operation.started.v1": ({"planned"}, "running"),
    "operation.paused.v1": ({"planning", "running"}, "paused"),
    "operation.resumed.v1": ({"paused"}, "running"),
    "operation.stopped.v1": ({"planning", "planned", "running", "paused"}, "stopped"),
    "operation.finished.v1": ({"running"}, "done"),
    "operation.failed.v1": ({"planning"}, "failed"),
    CHUNK: ({"running"}, "running"),
}
_STOPS: Final = frozenset({"job.stop_confirmed.v1", "job.finished_anyway.v1", "job.stop_unconfirmed.v1"})
_EDITED: Final = ("queue", "priority", "max_attempts")


def controls_are_kept(evidence: Evidence, history: Sequence[Record], losses: Any) -> Iterator[str]:
    """I9, whole."""
    events = evidence.journals["EVT_JOBS"].events
    streams: dict[str, list[Row]] = defaultdict(list)
    for event in events:
        if event["type"].startswith("operation."):
            streams[event["stream_id"]].append(event)
    yield from (f"operation {one} has a row and no events" for one in evidence.operations.keys() - streams.keys())
    for operation, told in streams.items():
        yield from (f"operation {operation}: {text}" for text in _operation(evidence, operation, told))
    yield from _undone(evidence, streams)
    yield from _queues(evidence, events)
    yield from _asked_once(evidence, history, losses)


def _operation(evidence: Evidence, operation: str, told: Sequence[Row]) -> Iterator[str]:
    status: str | None = None
    for version, event in enumerate(told, start=1):
        before, after = _STEPS[event["type"]]
        if event["version"] != version:
            yield f"version {event['version']} comes where {version} should"
        if status not in before:
            yield f"{event['type']} happened while it was {status}"
        # What is paused while it is planned is planned all the same, and then waits.
        status = status if (status, after) == ("planning", "paused") else after
    row = evidence.operations.get(operation)
    if row is None:
        yield "it has events and no row"
        return
    if (row["status"], row["version"]) != (status, len(told)):
        yield f"it is {row['status']} at {row['version']}, its events say {status} at {len(told)}"
    items = [item for item in evidence.items if item["operation"] == operation]
    yield from _items(items, told)
    done = sum(item["version"] is not None for item in items)
    codes = dict(Counter(item["code"] for item in items if item["code"] is not None))
    if (row["total"] or 0, row["done"], row["codes"]) != (len(items), done, codes):
        yield f"it counts {row['done']} done and {row['codes']} of {row['total']}, its items {done}, {codes}"
    if told[-1]["type"] in {"operation.finished.v1", "operation.stopped.v1"}:
        said = json.loads(told[-1]["data"])
        if (said["done"], said.get("skipped") or {}) != (done, codes):
            yield f"its last event says {said['done']} done and {said.get('skipped')}, its items {done}, {codes}"
    if status == "done" and done + sum(codes.values()) != len(items):
        yield f"it is done, but of {len(items)} jobs {done} were changed and {sum(codes.values())} skipped"


def _items(items: Sequence[Row], told: Sequence[Row]) -> Iterator[str]:
    """Each job is there once; what was done to it is told by one event, which its item names."""
    yield from (f"{job} is {n} of its items" for job, n in Counter(item["job"] for item in items).items() if n > 1)
    yield from (f"{item['job']} was done and skipped" for item in items if item["version"] and item["code"])
    kept = Counter((item["job"], item["version"], item["position"]) for item in items if item["version"] is not None)
    changed = Counter((one["stream_id"], one["version"], one["pos"]) for event in told for one in unfolded(event))
    if kept != changed:
        yield f"items and not events: {list((kept - changed).elements())}, events: {list((changed - kept).elements())}"


def _undone(evidence: Evidence, streams: dict[str, list[Row]]) -> Iterator[str]:
    """What an undo changed nobody had changed since, and it is as it was before."""
    told_of = histories(evidence.journals["EVT_JOBS"].events)
    changed: dict[str, dict[str, int]] = {
        operation: {one["stream_id"]: one["version"] for event in told for one in unfolded(event)}
        for operation, told in streams.items()
    }
    for operation, told in streams.items():
        undone = json.loads(told[0]["data"]).get("undo_of")
        for job, version in changed[operation].items() if undone else ():
            first = changed.get(undone, {}).get(job)
            if first is None:
                yield f"operation {operation} undid {job}, which {undone} had not changed"
                continue
            between = {event["type"] for event in told_of[job][first : version - 1]} - _STOPS
            if between:
                yield f"operation {operation} undid {job} over {sorted(between)}"
            yield from _is_as_before(told_of[job], first, version)


def _is_as_before(told: Sequence[Row], first: int, version: int) -> Iterator[str]:
    try:
        before, undone, after = fold(told[: first - 1]), told[first - 1]["type"], fold(told[:version])
    except BrokenHistory:
        return  # told by I5
    if undone == "job.edited.v1":
        wrong = {name: (before[name], after[name]) for name in _EDITED if before[name] != after[name]}
        if wrong:
            yield f"{told[0]['stream_id']} is not what it was before the edit that was undone: {wrong}"
    elif after["status"] != ("PENDING" if undone == "job.cancelled.v1" else "CANCELLED"):
        yield f"{told[0]['stream_id']} is {after['status']} after the undo of {undone}"


def _queues(evidence: Evidence, events: Sequence[Row]) -> Iterator[str]:
    """Rows are what the events say; and where one is paused, only forced jobs start."""
    told: dict[str, Row] = {}
    forced: set[str] = set()
    for event in events:
        body = json.loads(event["data"])
        if event["type"].startswith("queue."):
            key = f"kind:{body['kind']}" if body.get("kind") else f"queue:{body['queue']}"
            told[key] = _controlled(told.get(key, {"version": 0, "paused": False, "limits": {}}), event, body)
        for one in unfolded(event):
            said = json.loads(one["data"])
            paused = any(told.get(key, {}).get("paused") for key in (f"queue:{said['queue']}", f"kind:{said['kind']}"))
            if one["type"] == "job.force_run.v1":
                forced.add(one["stream_id"])
            elif one["type"] == "job.started.v1":
                if paused and one["stream_id"] not in forced:
                    yield f"{one['stream_id']} was started at {one['pos']}, while its queue or kind was paused"
                forced.discard(one["stream_id"])
    kept = {
        key: {"version": row["version"], "paused": row["paused"] is not None, "limits": _limits(row["limits"])}
        for key, row in evidence.controls.items()
    }
    if kept != told:
        yield f"queues are controlled as {kept}, their events say {told}"


def _controlled(before: Row, event: Row, body: Row) -> Row:
    match event["type"]:
        case "queue.limited.v1":
            return before | {"version": event["version"], "limits": _limits(body["after"])}
        case kind:
            return before | {"version": event["version"], "paused": kind == "queue.paused.v1"}


def _limits(told: Row | None) -> Row:
    return {name: value for name, value in (told or {}).items() if name in {"concurrency", "rate"} and value}


def _asked_once(evidence: Evidence, history: Sequence[Record], losses: Any) -> Iterator[str]:
    """However often a request was repeated, it made one operation, and that is there."""
    made: dict[str, set[str]] = defaultdict(set)
    for record in history:
        if record["what"] == "answer" and record.get("operation") and not losses.may_be_gone(record["mono"]):
            made[record["op"]].add(record["operation"])
    for op, operations in made.items():
        if len(operations) > 1:
            yield f"{op} was answered with several operations: {sorted(operations)}"
        yield from (
            f"{op} was told of operation {one}, which is not there" for one in operations - evidence.operations.keys()
        )
