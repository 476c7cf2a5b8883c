"""Journals without the services that own them: written by hand, relayed and asked for pages."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields

from jobplane.chassis import bus as buses
from jobplane.chassis import database as databases
from jobplane.chassis import journal_pages, queries
from jobplane.chassis.journal import Journal
from jobplane.chassis.new_events import NewEvent
from jobplane.chassis.relay import Relay, creator
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS
from tests.support.events import subject_of
from tests.support.servers import Bus, Database

_OWNERS = {EVT_JOBS: ("jobs", "jobs"), EVT_ADMIN: ("gateway", "gateway-answers")}


@asynccontextmanager
async def owner(bus: Bus, database: Database, stream: str) -> AsyncIterator[Relay]:
    """A service as far as it owns a journal: it answers with pages; gives its relay, which does not run."""
    service, user = _OWNERS[stream]
    source = f"jobplane/{service}"

    def subject(event: EventRecord) -> str:
        return subject_of(stream, event)

    async with AsyncExitStack() as stack:
        pool = await databases.open_pool(database.url(service), schema=service, service=service)
        stack.push_async_callback(pool.close)
        nc = await buses.connect(bus.url(f"{service}-relay"), user=f"{service}-relay", name=f"relay of {service}")
        stack.push_async_callback(buses.close, nc)
        journal = Journal(pool)
        create = creator(bus.url("topology"), stream)
        broker = queries.broker(bus.url(user), user, service)
        journal_pages.serve(broker, stream, journal, source=source, subject_of=subject, relayed=lambda: 0)
        await broker.start()
        stack.push_async_callback(broker.stop)
        yield Relay(journal, nc, stream=stream, source=source, subject_of=subject, create=create)


async def record(database: Database, service: str, events: Sequence[EventRecord]) -> None:
    """Append these events to the journal of a service."""
    pool = await databases.open_pool(database.url(service), schema=service, service=service)
    common = [field.name for field in fields(NewEvent)]
    async with Journal(pool).transaction() as tx:
        await tx.append([NewEvent(**{name: getattr(event, name) for name in common}) for event in events])
    await pool.close()
