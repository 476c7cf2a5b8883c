"""The health service's parts on real servers."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import bus as buses
from jobplane.chassis import queries
from jobplane.chassis.bus import Connection
from jobplane.contracts.ids import Position
from jobplane.contracts.jobs import JobStatus, QueueStats, Stats
from jobplane.contracts.queries import JournalFigures, Nothing
from tests.support.events import ensure_streams
from tests.support.servers import Bus, Database

Connect = Callable[[str], Awaitable[Connection]]


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    async with database.pool("health") as opened:
        yield opened


@pytest.fixture
async def connect(bus: Bus) -> AsyncIterator[Connect]:
    """Connections as any user, on a bus that has its streams."""
    await ensure_streams(bus)
    opened: list[Connection] = []

    async def as_user(user: str) -> Connection:
        opened.append(await buses.connect(bus.url(user), user=user, name=f"test {user}"))
        return opened[-1]

    yield as_user
    for nc in opened:
        await buses.close(nc)


@pytest.fixture
async def reader(connect: Connect) -> Connection:
    """The service's own reading connection."""
    return await connect("health-reader")


class JobsPeer:
    """Answers for the jobs service; a test sets what it says."""

    def __init__(self) -> None:
        self.figures = JournalFigures(position=10, relayed=10, epoch=1)
        self.queues: list[QueueStats] = []

    async def journal(self, _query: Nothing) -> JournalFigures:
        return self.figures

    async def stats(self, _query: Nothing) -> Stats:
        return Stats(
            by_status=dict.fromkeys(JobStatus, 0), queues=self.queues, position=Position(self.figures.position)
        )


@pytest.fixture
async def jobs(bus: Bus, connect: Connect) -> AsyncIterator[JobsPeer]:
    peer = JobsPeer()
    broker = queries.broker(bus.url("jobs"), "jobs", "jobs-1")
    queries.serve(broker, "jobs", "journal", Nothing, peer.journal)
    queries.serve(broker, "jobs", "stats", Nothing, peer.stats)
    await broker.start()
    yield peer
    await broker.stop()
