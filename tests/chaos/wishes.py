"""What seeded clients want: decided by the seed; which job or operation is meant depends on what there is then."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_VERBS: Final = {"create": 56, "retry": 7, "cancel": 10, "run": 5, "restore": 5, "edit": 6, "clone": 4} | {
    "bulk": 9,
    "steer": 6,
    "undo": 5,
    "queue": 6,
}
_KINDS: Final = {"chaos.quick": 70, "chaos.slow": 12, "chaos.blocks": 4, "chaos.fails": 14}
_ACTIONS: Final = {"retry": "failed", "cancel": "pending", "run": "pending", "restore": "cancelled", "edit": "pending"}
SIDE: Final = "side"
"""The queue that is paused and limited while the others go on."""
_ANYTHING: Final = {"seconds": 0.3, "failures": 1, "fatal": False}
"""What the handlers of all kinds can do with."""


@dataclass(frozen=True, slots=True)
class Operation:
    """What one client asks for."""

    name: str
    """Also its Idempotency-Key, and the marker in the payload of the job that it makes."""
    verb: str
    body: dict[str, Any]
    due_in_s: float
    """For a create: so many seconds after it is sent (0: at once)."""
    target: float
    """For a control: which of the jobs this client knows (0: its first, 1: its latest)."""
    duplicate: bool
    """Sent a second time with the same key, whatever the first answer was."""
    gives_up: bool
    """Not repeated when it was not accepted."""
    pause_s: float


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it is sent, and repeated."""

    verb: str
    method: str
    path: str
    body: dict[str, Any]


def operations(seed: str, client: str, pace_s: float) -> Iterator[Operation]:
    """The endless list of one client; the same for the same seed."""
    dice = random.Random(f"{seed} {client}")
    number = 0
    while True:
        number += 1
        name = f"{client}-{number}"
        verb = dice.choices(list(_VERBS), weights=list(_VERBS.values()))[0] if number > 1 else "create"
        yield Operation(
            name=name,
            verb=verb,
            body=_body(dice, verb, name),
            due_in_s=dice.choice([0, 0, 0, 0, 0, 1, 2]),
            target=1 - dice.random() ** 2,
            duplicate=dice.random() < 0.08,
            gives_up=dice.random() < 0.1,
            pause_s=dice.uniform(0.2, 1.8) * pace_s,
        )


def _body(dice: random.Random, verb: str, name: str) -> dict[str, Any]:  # noqa: PLR0911 - one case per verb
    because = {"reason": f"because of {name}"}
    match verb:
        case "create":
            return _job(dice, name)
        case "clone":
            return because | {"payload": _ANYTHING | {"marker": name}}
        case "edit":
            payload = {"payload": _ANYTHING | {"marker": None}} if dice.random() < 0.3 else {}
            return because | {"priority": dice.choice([0, 3, 9])} | payload
        case "bulk":
            return because | _bulk(dice)
        case "steer":
            return because | {"do": dice.choice(["run", "run", "pause", "pause", "resume", "resume", "stop"])}
        case "queue":
            return because | {"do": dice.choice(["pause", "drain", "resume", "resume", "limits"])}
        case _:
            return because


def _bulk(dice: random.Random) -> dict[str, Any]:
    action = dice.choice(list(_ACTIONS))
    body: dict[str, Any] = {"action": action, "dry_run": dice.random() < 0.25, "many": dice.choice([0, 2, 6, 12])}
    if action == "edit":
        body["edit"] = {"priority": dice.choice([1, 2, 4]), "max_attempts": dice.choice([2, 3])}
    return body | ({"rate": 15} if dice.random() < 0.3 else {})


def _job(dice: random.Random, marker: str) -> dict[str, Any]:
    kind = dice.choices(list(_KINDS), weights=list(_KINDS.values()))[0]
    payload: dict[str, Any] = {"marker": marker}
    if kind in {"chaos.slow", "chaos.blocks"}:
        payload["seconds"] = round(dice.uniform(0.2, 2.5), 2)
    if kind == "chaos.fails":
        payload |= {"failures": dice.choice([1, 1, 2]), "fatal": dice.random() < 0.6}
    job = {"kind": kind, "payload": payload, "priority": dice.choice([0, 0, 0, 5, -5]), "max_attempts": 2}
    if dice.random() < 0.15:
        job["unique_key"] = f"unique-{dice.randrange(6)}"
    if dice.random() < 0.1:
        job["timeout_s"] = 20
    if dice.random() < 0.2:
        job["queue"] = SIDE
    return job


def request(  # noqa: PLR0911 - one case per verb
    wanted: Operation, client: str, jobs: Sequence[str], operations_known: Sequence[str]
) -> Request | None:
    """What to send; None where there is nothing yet that it could be about."""
    body = dict(wanted.body)
    match wanted.verb:
        case "create":
            if wanted.due_in_s:
                body["run_at"] = (datetime.now(UTC) + timedelta(seconds=wanted.due_in_s)).isoformat()
            return Request("create", "POST", "/jobs", body | {"tags": [client]})
        case "queue":
            return _of_queue(body)
        case "bulk":
            return _of_many(body, client, wanted.target, jobs)
        case "undo" | "steer":
            if not operations_known:
                return None
            do = body.pop("do", "undo")
            verb = do if do == "undo" else f"{do}_operation"
            return Request(verb, "POST", f"/operations/{_one_of(operations_known, wanted.target)}/{do}", body)
        case verb:
            if not jobs:
                return None
            path = f"/jobs/{_one_of(jobs, wanted.target)}"
            return (
                Request(verb, "PATCH", path, body) if verb == "edit" else Request(verb, "POST", f"{path}/{verb}", body)
            )


def _of_queue(body: dict[str, Any]) -> Request:
    do = body.pop("do")
    if do == "limits":
        return Request("limit_queue", "PUT", f"/queues/{SIDE}/limits", body | {"concurrency": 2, "rate": None})
    return Request(f"{do}_queue", "POST", f"/queues/{SIDE}/{do}", body)


def _of_many(body: dict[str, Any], client: str, target: float, jobs: Sequence[str]) -> Request | None:
    """Some jobs by id, or those that this client made and that fit."""
    many = body.pop("many")
    if not many:
        return Request(
            "bulk", "POST", "/jobs/bulk", body | {"filter": f"tag:{client} status:{_ACTIONS[body['action']]}"}
        )
    if not jobs:
        return None
    start = max(0, min(len(jobs) - many, int(target * len(jobs))))
    return Request("bulk", "POST", "/jobs/bulk", body | {"ids": list(dict.fromkeys(jobs[start : start + many]))})


def _one_of(known: Sequence[str], target: float) -> str:
    return known[min(len(known) - 1, int(target * len(known)))]
