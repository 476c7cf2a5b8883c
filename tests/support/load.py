"""Clients that send commands while something breaks, and remember what was accepted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx2

from tests.support.platform import Platform
from tests.support.waiting import eventually_sync

_CLIENTS = 3


class Load:
    """Creates jobs until stopped; an unanswered request is repeated with its Idempotency-Key until it is answered."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._token = platform.token()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(_CLIENTS)]
        self.accepted: list[str] = []
        """Ids of the jobs that were answered."""
        self.problems: list[str] = []
        """Answers that no client should get."""

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "a client never got its answer"

    def reaches(self, count: int) -> None:
        """Wait until so many jobs were accepted."""
        eventually_sync(lambda: len(self.accepted) >= count or self.problems, timeout=60)

    def _run(self) -> None:
        with httpx2.Client(
            base_url=self._platform.url, headers={"Authorization": f"Bearer {self._token}"}, timeout=10
        ) as client:
            while not self._stop.is_set():
                self._create(client, str(uuid4()))

    def _create(self, client: httpx2.Client, key: str) -> None:
        body = {"kind": "test.quick", "payload": {"key": key}}
        while True:
            try:
                answer = client.post("/api/admin/jobs", json=body, headers={"Idempotency-Key": key, "Prefer": "wait=5"})
            except httpx2.TransportError:
                self._stop.wait(0.05)
                continue
            if answer.status_code in {200, 201}:
                self.accepted.append(answer.json()["id"])
                return
            if answer.status_code not in {202, 429, 503}:
                self.problems.append(f"{answer.status_code} {answer.text}")
                return
            self._stop.wait(0.05)


@contextmanager
def load_on(platform: Platform) -> Iterator[Load]:
    """Clients at work inside the block."""
    load = Load(platform)
    load.start()
    try:
        yield load
    finally:
        load.stop()
