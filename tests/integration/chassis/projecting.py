"""Runs projections that write down each application of each event, and checks what they wrote."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from jobplane.chassis import journal_pages, queries
from jobplane.chassis.journal import Journal
from jobplane.chassis.projection import Projection
from jobplane.chassis.relay import Relay
from jobplane.contracts.topology import EVT_JOBS
from tests.integration.chassis.relaying import SOURCE, subject_of
from tests.integration.chassis.writing import fill
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually

Make = Callable[..., Projection]


class Rows:
    """The projected rows: one per event and application, with nothing that would hide a second one."""

    def __init__(self, database: Database) -> None:
        self._admin_url = database.admin_url
        self.change("CREATE TABLE audit.seen (position bigint, id text, by text)")
        self.change("GRANT SELECT, INSERT ON audit.seen TO jobplane_audit")

    def change(self, statement: str) -> int:
        with psycopg.connect(self._admin_url, autocommit=True) as admin:
            return admin.execute(statement).rowcount

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._admin_url, autocommit=True) as admin:
            return admin.execute(query).fetchall()

    @property
    def count(self) -> int:
        return int(self.ask("SELECT count(*) FROM audit.seen")[0][0])

    @property
    def appliers(self) -> set[str]:
        return {row[0] for row in self.ask("SELECT DISTINCT by FROM audit.seen")}

    async def assert_each_once(self, count: int) -> None:
        """Events 1 to `count`, in order, each one time."""
        await eventually(lambda: self.count >= count, timeout=20)
        assert [row[0] for row in self.ask("SELECT position FROM audit.seen")] == list(range(1, count + 1))
        [(position, halted)] = self.ask("SELECT position, halted FROM audit.checkpoint")
        assert (position, halted) == (count, None)


async def publish(journal: Journal, relay: Relay, count: int) -> None:
    """Append events that mean nothing, and put them on the bus."""
    await fill(journal, count)
    assert await relay.run_once() == count


@asynccontextmanager
async def owner(bus: Bus, journal: Journal) -> AsyncIterator[queries.Broker]:
    """The service that owns the journal, as far as it answers with pages."""
    broker = queries.broker(bus.url("jobs"), "jobs", "jobs-1")
    journal_pages.serve(broker, EVT_JOBS, journal, source=SOURCE, subject_of=subject_of, relayed=lambda: 0)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()
