"""The heartbeat of a process: every 5 seconds what it is, how it feels, and a last one when it ends on purpose."""

import asyncio
import contextlib
import functools
import importlib.metadata
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import psutil
from nats.aio.client import Client
from nats.errors import Error as NatsError
from pydantic import JsonValue

from jobplane.chassis import clock
from jobplane.chassis.loops import Loop
from jobplane.contracts import subjects
from jobplane.contracts.fleet import Heartbeat as Beat
from jobplane.contracts.fleet import PoolFigures

EVERY_S: Final = 5.0
_TICK_S: Final = 0.5

Ready = Callable[[], Awaitable[bool | str]]


class Heartbeat:
    """Sends beats until stopped; a bus that is away costs only the beats of that time.

    `pool`, `in_flight` and `detail` are asked at every beat; `ready` gives True or why not.
    """

    def __init__(
        self,
        nc: Client,
        kind: str,
        instance: str,
        *,
        ready: Ready,
        pool: Callable[[], PoolFigures] | None = None,
        in_flight: Callable[[], int] | None = None,
        detail: Callable[[], dict[str, JsonValue]] | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self._nc = nc
        self._kind = kind
        self._instance = instance
        self._ready = ready
        self._pool = pool
        self._in_flight = in_flight
        self._detail = detail
        self._started_at = clock.now()
        self._process = psutil.Process()
        self._lag_s = 0.0
        self._tick_task: asyncio.Task[None] | None = None
        self._loop = Loop("heartbeat", self.run_once, every_s)

    def start(self) -> None:
        """Send the first beat at once."""
        self._process.cpu_percent()  # the first call only sets the mark
        self._tick_task = asyncio.get_running_loop().create_task(self._watch_lag(), name="heartbeat lag")
        self._loop.start()

    def nudge(self) -> None:
        """Something changed: send a beat now."""
        self._loop.nudge()

    async def stop(self) -> None:
        """Say that this process ends on purpose, and be silent."""
        await self._loop.stop()
        if self._tick_task is not None:
            self._tick_task.cancel()
            await asyncio.wait({self._tick_task})
        with contextlib.suppress(NatsError, OSError):
            await self._send(stopping=True)

    async def run_once(self) -> None:
        """Send one beat, if the bus is there."""
        if self._nc.is_connected:
            with contextlib.suppress(NatsError, OSError):
                await self._send(stopping=False)

    async def _send(self, *, stopping: bool) -> None:
        beat = await self._beat(stopping=stopping)
        subject = subjects.fleet_beat(self._kind, self._instance)
        await self._nc.publish(subject, beat.model_dump_json(exclude_none=True).encode())

    async def _beat(self, *, stopping: bool) -> Beat:
        lag_s, self._lag_s = self._lag_s, 0.0
        detail = dict(self._detail()) if self._detail is not None else {}
        verdict = not stopping and await self._is_ready(detail)
        return Beat(
            kind=self._kind,
            instance=self._instance,
            version=_version(),
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at=self._started_at,
            sent_at=clock.now(),
            ready=verdict,
            cpu_percent=self._process.cpu_percent(),
            rss_bytes=self._process.memory_info().rss,
            loop_lag_ms=round(lag_s * 1000, 3),
            pool=self._pool() if self._pool is not None else None,
            in_flight=self._in_flight() if self._in_flight is not None else 0,
            stopping=stopping,
            detail=detail,
        )

    async def _is_ready(self, detail: dict[str, JsonValue]) -> bool:
        try:
            async with asyncio.timeout(_TICK_S * 2):
                verdict = await self._ready()
        except Exception as error:  # noqa: BLE001 - told in the beat: a process that cannot say so is not ready
            verdict = type(error).__name__
        if isinstance(verdict, str):
            detail["not_ready"] = verdict
            return False
        return verdict

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(_TICK_S)
            self._lag_s = max(self._lag_s, loop.time() - before - _TICK_S)


@functools.cache
def _version() -> str:
    return importlib.metadata.version("jobplane-common")
