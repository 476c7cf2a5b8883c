"""Clients at work: they ask for what `wishes` says until they are answered; what they were answered is recorded."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import httpx2

from tests.chaos import wishes
from tests.chaos.history import Recorder
from tests.chaos.stage import Stage
from tests.chaos.wishes import SIDE, Operation, Request, operations
from tests.support.waiting import eventually_sync

_PATIENCE_S: Final = 40.0
_REQUEST_S: Final = 8.0
_DECIDED_S: Final = 12.0
_JSON: Final = frozenset({"application/json", "application/problem+json"})


class Client:
    """One client: asks, is patient, remembers."""

    def __init__(self, stage: Stage, name: str, seed: str, token: str, pace_s: float) -> None:
        self.name = name
        self.known: list[str] = []
        self.answered = 0
        self.asked = 0
        self.operations: list[str] = []
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
        request = wishes.request(operation, self.name, self.known, self.operations)
        if request is None:
            return
        self.asked += 1
        answered = self._until_answered(operation, request)
        if answered and operation.duplicate:
            self._once(operation, request)

    def _until_answered(self, operation: Operation, request: Request) -> bool:
        while True:
            status = self._once(operation, request)
            if status is not None and status not in {429, 500, 503}:
                self.answered += 1
                return True
            if operation.gives_up and status is not None:
                return False
            if time.monotonic() > self._deadline:
                self._recorder.note("stuck", detail=f"{operation.name} was never answered, at last {status}")
                return False
            threading.Event().wait(0.1)

    def _once(self, operation: Operation, request: Request) -> int | None:
        self._recorder.note("invoke", op=operation.name, verb=request.verb, path=request.path, body=request.body)
        headers = {"Idempotency-Key": operation.name, "Prefer": "wait=2"}
        sent = time.monotonic()
        try:
            answer = self._http.request(request.method, request.path, json=request.body, headers=headers)
        except httpx2.TransportError as error:
            self._recorder.note("no_answer", op=operation.name, error=type(error).__name__)
            return None
        self._recorder.note("answer", op=operation.name, sent=sent, **self._told(operation, request, answer, sent))
        return answer.status_code

    def _told(self, operation: Operation, request: Request, answer: httpx2.Response, sent: float) -> dict[str, Any]:
        if answer.headers.get("content-type", "").partition(";")[0] not in _JSON:
            return {"status": answer.status_code, "text": answer.text[:200]}
        told = answer.json()
        status = answer.status_code
        facts = {"status": status, "code": told.get("code"), "command_id": told.get("command_id")}
        if "undo_of" in told or "action" in told:
            if told["id"] not in self.operations:
                self.operations.append(told["id"])
            return facts | ({"operation": told["id"]} if request.verb in {"bulk", "undo"} else {})
        if status in {200, 201} and request.verb.endswith("_queue"):
            facts |= {"position": told["position"], "existing": False}
        elif status in {200, 201}:
            makes = request.verb in {"create", "clone"}
            job = told if makes else told["job"]
            facts |= {"job": job["id"], "position": told["position"], "existing": False}
            if makes:
                facts |= {"command_id": answer.headers["Jobplane-Command-Id"], "existing": status == 200}
                self.known.append(job["id"])
        elif status == 202:
            self._waiting[operation.name] = (told["command_id"], sent)
        elif status == 503:
            facts["surely_not"] = told.get("code") == "not_accepted" and "command_id" not in told
        return facts

    def _settle(self) -> None:
        """Ask what became of every command that was only accepted; resume what is paused of the own operations."""
        until = time.monotonic() + _DECIDED_S
        for name, (command, sent) in self._waiting.items():
            left = max(0.0, until - time.monotonic())
            try:
                eventually_sync(partial(self._decided, name, command), timeout=left)
            except AssertionError:
                self._recorder.note("undecided", op=name, command_id=command, sent=sent)
        for operation in self.operations:
            try:
                eventually_sync(partial(self._ended, operation), timeout=max(0.5, until - time.monotonic()))
            except AssertionError:
                self._recorder.note("stuck", detail=f"operation {operation} does not come to its end")

    def _ended(self, operation: str) -> bool:
        try:
            answer = self._http.get(f"/operations/{operation}")
            status = answer.json().get("status") if answer.status_code == 200 else None
            if status == "paused":
                self._http.post(f"/operations/{operation}/resume", json={})
        except httpx2.TransportError:
            return False
        # one that a restored copy of the database did not have is gone
        return answer.status_code == 404 or status in {"planned", "done", "stopped", "failed"}

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

    def __init__(self, stage: Stage, token: str, clients: list[Client]) -> None:
        self._stage = stage
        self._token = token
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
        eventually_sync(self._let_go, timeout=_PATIENCE_S)

    def _let_go(self) -> bool:
        """Whatever is left paused or limited goes on."""
        headers = {"Authorization": f"Bearer {self._token}"}
        address = f"{self._stage.platform.url}/api/admin/queues/{SIDE}"
        unlimited = {"reason": "the end", "concurrency": None, "rate": None}
        try:
            resumed = httpx2.post(f"{address}/resume", json={"reason": "the end"}, headers=headers)
            free = httpx2.put(f"{address}/limits", json=unlimited, headers=headers)
        except httpx2.TransportError:
            return False
        return {resumed.status_code, free.status_code} <= {200, 409}


@contextmanager
def workload(stage: Stage, seed: str, *, clients: int = 3, pace_s: float = 0.04) -> Iterator[Workload]:
    """Clients at work inside the block."""
    token = stage.platform.token()
    load = Workload(stage, token, [Client(stage, f"client{n}", seed, token, pace_s) for n in range(1, clients + 1)])
    for client in load.clients:
        client.start()
    try:
        yield load
    finally:
        load.finish()
