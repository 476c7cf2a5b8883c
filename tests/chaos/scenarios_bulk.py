"""Bulk operations that are killed, paused, stopped and undone in the middle."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from tests.chaos.act import Act, Scenario
from tests.chaos.evidence import Evidence
from tests.chaos.unfold import histories

_JOBS: Final = 90
_RATE: Final = 30
"""Jobs a second, and as many to a chunk: there is time to break something between two of them."""
_TAG: Final = "many"


def _make_many(act: Act) -> None:
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    body = {"kind": "chaos.quick", "payload": {"marker": None}, "tags": [_TAG], "run_at": later}
    for _ in range(_JOBS):
        made = act.http.post("/jobs", json=body, headers={"Prefer": "wait=2"})
        assert made.status_code == 201, made.text


def _begin(act: Act, path: str, body: dict[str, Any]) -> str:
    """Ask until it is answered, under one key: it is one operation."""
    key = f"bulk-{act.dice.getrandbits(64):x}"
    found: list[str] = []

    def begun() -> bool:
        answer = act.http.post(path, json=body | {"reason": "chaos"}, headers={"Idempotency-Key": key})
        if answer.status_code in {200, 202} and "action" in answer.json():
            found.append(answer.json()["id"])
        return bool(found)

    act.wait(begun, f"{path} is not answered")
    return found[0]


def _told(act: Act, column: str, operation: str) -> Any:
    """A column of its row; None while the database is away."""
    try:
        return act.stage.query(f"SELECT {column} FROM jobs.operation WHERE id = %s", operation)[0][0]
    except psycopg.OperationalError:
        return None


def _begins(act: Act, operation: str) -> None:
    act.wait(lambda: (_told(act, "done", operation) or 0) > 0, "nothing is done")


def _ends(act: Act, operation: str) -> None:
    act.wait(lambda: _told(act, "status", operation) == "done", "an operation does not end", 30.0)


def _steer(act: Act, operation: str, do: str) -> None:
    def answered() -> bool:
        return act.http.post(f"/operations/{operation}/{do}", json={}).status_code in {200, 409}

    act.wait(answered, f"{do} is not answered")


def _killed(victim: str) -> Any:
    def play(act: Act) -> None:
        _make_many(act)
        cancelled = _begin(act, "/jobs/bulk", {"action": "cancel", "filter": f"tag:{_TAG}", "rate": _RATE})
        _begins(act, cancelled)
        act.faults.kill(victim)
        _steer(act, cancelled, "pause")
        act.faults.kill(victim)
        _steer(act, cancelled, "resume")
        _ends(act, cancelled)
        undone = _begin(act, f"/operations/{cancelled}/undo", {"rate": _RATE})
        _begins(act, undone)
        act.faults.kill(victim)
        _ends(act, undone)
        last = _begin(act, "/jobs/bulk", {"action": "cancel", "filter": f"tag:{_TAG}"})
        act.faults.kill(victim)
        _ends(act, last)
        act.facts["operations"] = [cancelled, undone, last]

    return play


def _each_once(act: Act, evidence: Evidence) -> None:
    """Every job was cancelled, restored and cancelled: no more, no less."""
    for operation in act.facts["operations"]:
        row = evidence.operations[operation]
        assert (row["total"], row["done"], row["codes"]) == (_JOBS, _JOBS, {}), f"{operation}: {row}"
    items = {item["job"] for item in evidence.items if item["operation"] == act.facts["operations"][0]}
    told = histories(evidence.journals["EVT_JOBS"].events)
    wanted = ["job.created.v1", "job.cancelled.v1", "job.restored.v1", "job.cancelled.v1"]
    wrong = {job: types for job in items if (types := [event["type"] for event in told[job]]) != wanted}
    assert not wrong, f"not done once each: {wrong}"


SCENARIOS: Final = tuple(
    Scenario(
        f"bulk-{victim}",
        "kill -9 in the middle of a bulk operation",
        "cancelled, paused, resumed, undone and cancelled again, killed each time: every job was done once each time",
        _killed(victim),
        _each_once,
    )
    for victim in ("jobs", "postgres")
)
