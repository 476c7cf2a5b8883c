"""Seeded clients: what they ask for is decided by the seed alone; what they were answered is recorded."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import httpx2

from tests.chaos.history import Recorder
from tests.chaos.stage import Stage
from tests.support.waiting import eventually_sync

_VERBS: Final = {"create": 64, "retry": 8, "cancel": 12, "run": 6, "restore": 5, "edit": 5}
_KINDS: Final = {"chaos.quick": 70, "chaos.slow": 12, "chaos.blocks": 4, "chaos.fails": 14}
_PATIENCE_S: Final = 40.0
_REQUEST_S: Final = 8.0
_DECIDED_S: Final = 12.0
_JSON: Final = frozenset({"application/json", "application/problem+json"})


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


def _body(dice: random.Random, verb: str, name: str) -> dict[str, Any]:
    if verb == "create":
        return _job(dice, name)
    because = {"reason": f"because of {name}"}
    return because | {"priority": dice.choice([0, 3, 9])} if verb == "edit" else because


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
    return job


class Client:
    """One client: asks, is patient, remembers."""

    def __init__(self, stage: Stage, name: str, seed: str, token: str, pace_s: float) -> None:
        self.name = name
        self.known: list[str] = []
        self.answered = 0
        self.asked = 0
        self._waiting: dict[str, tuple[str, float]] = {}
        self._recorder = Recorder(stage.history_directory / f"{name}.jsonl", name)
        self._operations = operations(seed, name, pace_s)
        self._stop = threading.Event()
        self._deadline = float("inf")
        self._http = httpx2.Client(
            base_url=f"{stage.platform.url}/api/admin",
            headers={"Authorization": f"Bearer {token}"},
            timeout=_REQUEST_S,
        )
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def finish(self) -> None:
        """Ask nothing new; what is under way is repeated until it is answered."""
        self._deadline = time.monotonic() + _PATIENCE_S
        self._stop.set()

    def join(self) -> None:
        """Wait until everything that was asked is answered, or patience is over."""
        self._thread.join(_PATIENCE_S + 2 * _REQUEST_S)
        if self._thread.is_alive():
            self._recorder.note("stuck", detail=f"{self.name} hangs in a request")
        self._http.close()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                operation = next(self._operations)
                self._ask(operation)
                self._stop.wait(operation.pause_s)
            self._settle()
        except Exception as error:
            self._recorder.note("stuck", detail=f"{self.name} failed: {error!r}")
            raise

    def _ask(self, operation: Operation) -> None:
        if operation.verb == "create":
            path, body = "/jobs", dict(operation.body)
            if operation.due_in_s:
                body["run_at"] = (datetime.now(UTC) + timedelta(seconds=operation.due_in_s)).isoformat()
        elif self.known:
            target = self.known[min(len(self.known) - 1, int(operation.target * len(self.known)))]
            action = "" if operation.verb == "edit" else f"/{operation.verb}"
            path, body = f"/jobs/{target}{action}", dict(operation.body)
        else:
            return
        self.asked += 1
        answered = self._until_answered(operation, path, body)
        if answered and operation.duplicate:
            self._once(operation, path, body)

    def _until_answered(self, operation: Operation, path: str, body: dict[str, Any]) -> bool:
        while True:
            status = self._once(operation, path, body)
            if status is not None and status not in {429, 500, 503}:
                self.answered += 1
                return True
            if operation.gives_up and status is not None:
                return False
            if time.monotonic() > self._deadline:
                self._recorder.note("stuck", detail=f"{operation.name} was never answered, at last {status}")
                return False
            threading.Event().wait(0.1)

    def _once(self, operation: Operation, path: str, body: dict[str, Any]) -> int | None:
        self._recorder.note("invoke", op=operation.name, verb=operation.verb, path=path, body=body)
        headers = {"Idempotency-Key": operation.name, "Prefer": "wait=2"}
        sent = time.monotonic()
        try:
            method = "PATCH" if operation.verb == "edit" else "POST"
            answer = self._http.request(method, path, json=body, headers=headers)
        except httpx2.TransportError as error:
            self._recorder.note("no_answer", op=operation.name, error=type(error).__name__)
            return None
        self._recorder.note("answer", op=operation.name, sent=sent, **self._told(operation, answer, sent))
        return answer.status_code

    def _told(self, operation: Operation, answer: httpx2.Response, sent: float) -> dict[str, Any]:
        if answer.headers.get("content-type", "").partition(";")[0] not in _JSON:
            return {"status": answer.status_code, "text": answer.text[:200]}
        told = answer.json()
        status = answer.status_code
        facts = {"status": status, "code": told.get("code"), "command_id": told.get("command_id")}
        if status in {200, 201}:
            job = told if operation.verb == "create" else told["job"]
            facts |= {"job": job["id"], "position": told["position"], "existing": False}
            if operation.verb == "create":
                facts |= {"command_id": answer.headers["Jobplane-Command-Id"], "existing": status == 200}
                self.known.append(job["id"])
        elif status == 202:
            self._waiting[operation.name] = (told["command_id"], sent)
        elif status == 503:
            facts["surely_not"] = told.get("code") == "not_accepted" and "command_id" not in told
        return facts

    def _settle(self) -> None:
        """Ask what became of every command that was only accepted."""
        until = time.monotonic() + _DECIDED_S
        for name, (command, sent) in self._waiting.items():
            left = max(0.0, until - time.monotonic())
            try:
                eventually_sync(partial(self._decided, name, command), timeout=left)
            except AssertionError:
                self._recorder.note("undecided", op=name, command_id=command, sent=sent)

    def _decided(self, name: str, command: str) -> bool:
        try:
            answer = self._http.get(f"/commands/{command}")
        except httpx2.TransportError:
            return False
        if answer.status_code != 200 or answer.json().get("status") == "pending":
            return False
        told = answer.json()
        self._recorder.note("decided", op=name, command_id=command, status=told["status"], position=told["position"])
        return True


class Workload:
    """Some clients at work."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients

    @property
    def answered(self) -> int:
        """How many requests got their answer."""
        return sum(client.answered for client in self.clients)

    @property
    def asked(self) -> int:
        """How many operations were begun."""
        return sum(client.asked for client in self.clients)

    def reaches(self, more: int, timeout: float = 30.0) -> None:
        """Wait until so many more requests were answered."""
        goal = self.answered + more
        eventually_sync(lambda: self.answered >= goal, timeout=timeout)

    def finish(self) -> None:
        """Let every client end what it began."""
        for client in self.clients:
            client.finish()
        for client in self.clients:
            client.join()


@contextmanager
def workload(stage: Stage, seed: str, *, clients: int = 3, pace_s: float = 0.04) -> Iterator[Workload]:
    """Clients at work inside the block."""
    token = stage.platform.token()
    load = Workload([Client(stage, f"client{n}", seed, token, pace_s) for n in range(1, clients + 1)])
    for client in load.clients:
        client.start()
    try:
        yield load
    finally:
        load.finish()
