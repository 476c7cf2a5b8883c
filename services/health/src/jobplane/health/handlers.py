"""The questions that the health service answers."""

from datetime import timedelta
from typing import Final

from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.contracts.fleet import DetailedHealth, QueueActivities, QueueActivity
from jobplane.contracts.queries import Nothing
from jobplane.health import fleet, history
from jobplane.health.checkup import Checkup
from jobplane.health.subscribers import Listener

_WINDOW: Final = timedelta(minutes=4)
"""Whole minutes that are looked at besides the one that is not over."""


class Handlers:
    """Answers from the latest checkup, the latest heartbeats and what was counted."""

    def __init__(self, pool: AsyncConnectionPool, listener: Listener, checkup: Checkup) -> None:
        self._pool = pool
        self._listener = listener
        self._checkup = checkup

    async def detailed(self, _query: Nothing) -> DetailedHealth:
        """Everything, at most two seconds old."""
        return await self._checkup.latest()

    async def queues(self, _query: Nothing) -> QueueActivities:
        """How fast each queue goes and how many look after it; counts are about a second behind."""
        now = clock.now()
        since = now.replace(second=0, microsecond=0) - _WINDOW
        async with self._pool.connection() as conn:
            found = await history.by_queue(conn, since)
        for queue, workers in fleet.serving(fleet.alive(self._listener.fleet, now, fleet.WORKER)).items():
            found[queue] = found.get(queue, QueueActivity()).model_copy(update={"workers": workers})
        return QueueActivities(window_s=(now - since).total_seconds(), queues=found)
