"""The worker protocol by hand, from docs/workers.md: a worker that says everything twice, in the wrong order."""

import asyncio
import contextlib
import json
import random
import threading
import uuid
from pathlib import Path
from typing import Any, Final, Self

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError

from tests.chaos.history import Recorder

_INBOX: Final = b"_INBOX_worker"
_LEASE_MS: Final = 2000
_BEAT_S: Final = 0.5


async def _connect(url: str) -> Client:
    return await nats.connect(url, inbox_prefix=_INBOX, connect_timeout=5, max_reconnect_attempts=-1)


def lease_once(url: str) -> dict[str, Any]:
    """Ask for one job of a kind that nobody makes, without waiting; gives the answer."""

    async def ask() -> dict[str, Any]:
        client = await _connect(url)
        try:
            return await _ask(client, "jobs.lease.default", _wish("asker", ["chaos.none"], 1))
        finally:
            await client.close()

    return asyncio.run(ask())


def _wish(worker: str, kinds: list[str], most: int) -> dict[str, Any]:
    return {
        "request_id": str(uuid.uuid4()),
        "worker": worker,
        "kinds": kinds,
        "max": most,
        "wait_ms": 0,
        "lease_ms": _LEASE_MS,
    }


async def _ask(client: Client, subject: str, told: dict[str, Any]) -> dict[str, Any]:
    answer = await client.request(subject, json.dumps(told).encode(), timeout=8)
    found: dict[str, Any] = json.loads(answer.data)
    return found


class Stutterer:
    """A worker that repeats every request and every report, shuffled; runs take no time."""

    def __init__(self, url: str, name: str, seed: str, history: Path, kinds: list[str]) -> None:
        self._url = url
        self._name = name
        self._dice = random.Random(seed)
        self._history = Recorder(history / f"{name}.jsonl", name)
        self._kinds = kinds
        self._stop = threading.Event()
        self._held: dict[str, dict[str, Any]] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    async def _run(self) -> None:
        client = await _connect(self._url)
        beating = asyncio.create_task(self._beat(client))
        try:
            while not self._stop.is_set() or self._held:
                with contextlib.suppress(NatsError, TimeoutError):
                    if not self._stop.is_set():
                        await self._lease(client)
                    await self._report(client)
                await asyncio.sleep(0.05)
        finally:
            beating.cancel()
            await client.close()

    async def _lease(self, client: Client) -> None:
        """The same request three times, two of them at once: the same jobs must come."""
        wish = _wish(self._name, self._kinds, 5)
        first, second = await asyncio.gather(
            _ask(client, "jobs.lease.default", wish), _ask(client, "jobs.lease.default", wish | {"repeated": True})
        )
        third = await _ask(client, "jobs.lease.default", wish | {"repeated": True})
        for answer in (first, second, third):
            for job in answer.get("jobs", []):
                if job["token"] not in self._held:
                    self._held[job["token"]] = job
                    told = {"job": job["job"], "run": job["run"], "token": job["token"]}
                    self._history.note("run_started", worker=self._name, attempt=job["attempt"], **told)

    async def _report(self, client: Client) -> None:
        """Every outcome three times, in reports of any size and order; old tokens among them."""
        items = [self._outcome(job) for job in self._held.values()] * 3
        self._dice.shuffle(items)
        while items:
            some = [items.pop() for _ in range(min(len(items), self._dice.randint(1, 4)))]
            reports = [_ask(client, "jobs.done", {"worker": self._name, "items": some}) for _ in range(2)]
            for reply in await asyncio.gather(*reports):
                for item, answer in zip(some, reply.get("answers", []), strict=False):
                    self._settle(item, answer)

    def _outcome(self, job: dict[str, Any]) -> dict[str, Any]:
        told = {"job": job["job"], "token": job["token"]}
        if job["run"] % 2 or "failures" not in job["payload"]:
            return told | {"outcome": "completed", "result": {"by": self._name}}
        error = {"type": "ValueError", "message": "told to fail", "stack": "", "retryable": True}
        return told | {"outcome": "failed", "error": error}

    def _settle(self, item: dict[str, Any], answer: dict[str, Any]) -> None:
        job = self._held.pop(item["token"], None)
        if job is not None:
            told = {"job": item["job"], "run": job["run"], "token": item["token"], "outcome": item["outcome"]}
            self._history.note("reported", worker=self._name, status=answer["status"], **told)

    async def _beat(self, client: Client) -> None:
        while True:
            running = [{"job": job["job"], "token": token} for token, job in self._held.items()]
            with contextlib.suppress(NatsError, TimeoutError):
                await _ask(client, "jobs.beat", {"worker": self._name, "running": running})
            await asyncio.sleep(_BEAT_S)
