"""Runs relays, and compares what they published with what the journal has."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import Final

from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.reader import StreamReader
from jobplane.chassis.relay import Relay, creator
from jobplane.contracts.envelope import EventRecord, event_from_message
from jobplane.contracts.subjects import job_event
from jobplane.contracts.topology import EVT_JOBS
from tests.integration.chassis.writing import everything
from tests.support.servers import Bus

SOURCE: Final = "jobplane/jobs"


def subject_of(event: EventRecord) -> str:
    """Where the jobs service publishes an event."""
    return job_event(event.stream_id, event.body().get("queue"), event.type)


def relay_of(bus: Bus, journal: Journal, nc: Connection) -> Relay:
    """A relay as the jobs service wires it."""
    relay = Relay(
        journal,
        nc,
        stream=EVT_JOBS,
        source=SOURCE,
        subject_of=subject_of,
        create=creator(bus.url("topology"), EVT_JOBS),
    )

    async def recheck() -> None:
        relay.recheck()

    nc.add_reconnect_listener(recheck)
    return relay


@contextlib.asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    """Relays at work; one that dies fails the test."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(relay.run(stop, poll_s=0.05)) for relay in relays]
    try:
        yield
        assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
    finally:
        stop.set()
        for relay in relays:
            relay.nudge()
        await asyncio.gather(*tasks)


def wipe(bus: Bus) -> None:
    """The server loses all it had, and starts again."""
    bus.stop()
    shutil.rmtree(bus.directory / "nats" / "store")
    bus.start()


async def published(reading: Connection, count: int) -> list[EventRecord]:
    """The first events of the stream, which must be numbered from 1 without gap."""
    reader = StreamReader(reading, EVT_JOBS, 1)
    found: list[EventRecord] = []
    try:
        async with asyncio.timeout(15):
            async for messages in reader.batches():
                for sequence, headers, data in messages:
                    assert sequence == len(found) + 1
                    event = event_from_message(headers, data)
                    assert event.position == sequence
                    found.append(event)
                if len(found) >= count:
                    return found
    finally:
        await reader.close()
    raise AssertionError


async def assert_relayed(journal: Journal, reading: Connection) -> None:
    """The stream has every event of the journal once, byte for byte, at its position."""
    events = await everything(journal)
    assert await published(reading, len(events)) == events
