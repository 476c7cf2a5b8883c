"""The projections of a service as one thing: started, stopped, and told about in its heartbeat."""

from collections.abc import Mapping
from functools import partial
from typing import Final, Self

from nats.aio.client import Client
from psycopg_pool import AsyncConnectionPool
from pydantic import JsonValue

from jobplane.chassis import dead_events, metrics
from jobplane.chassis.projection import Projection

_READY_S: Final = 1.0


class Following:
    """What a service that only derives does: it follows streams, each with a projection, by stream."""

    def __init__(self, pool: AsyncConnectionPool, nc: Client, projections: Mapping[str, Projection]) -> None:
        self._pool = pool
        self._nc = nc
        self._projections = projections
        self._dead = 0

    async def __aenter__(self) -> Self:
        """Follow every stream until the end of the block."""
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin to follow every stream."""
        for stream, projection in self._projections.items():
            projection.start()
            metrics.gauge("jobplane_projection_halted").labels(stream).set_function(partial(_is_halted, projection))

    async def stop(self) -> None:
        """End; what a transaction under way has not committed is read again at the next start."""
        for projection in self._projections.values():
            await projection.stop()

    async def ready(self) -> bool | str:
        """Whether database and bus are there; a halted projection is no reason to be taken out of service."""
        if not self._nc.is_connected:
            return "the bus is away"
        async with self._pool.connection(timeout=_READY_S) as conn:
            self._dead = await dead_events.count(conn)
        return True

    def detail(self) -> dict[str, JsonValue]:
        """For the heartbeat: `checkpoints`, `halted` and `waiting` by stream, `dead_events` as of the last look."""
        return {
            "checkpoints": {stream: projection.position for stream, projection in self._projections.items()},
            "halted": {
                stream: projection.halted
                for stream, projection in self._projections.items()
                if projection.halted is not None
            },
            "waiting": {
                stream: projection.waiting
                for stream, projection in self._projections.items()
                if projection.waiting is not None
            },
            "dead_events": self._dead,
        }


def _is_halted(projection: Projection) -> float:
    return float(projection.halted is not None)
