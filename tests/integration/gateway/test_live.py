"""The live stream: everything once and in order, through breaks, restarts, slow readers and ends of sessions."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from nats.aio.client import Client

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis import streams
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Role, worker
from jobplane.contracts.envelope import EventRecord, event_headers
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import EventId
from jobplane.contracts.subjects import job_event
from jobplane.contracts.topology import EVT_JOBS, stream
from jobplane.gateway import live
from jobplane.gateway.live_ring import Entry
from tests.integration.gateway.conftest import Running, code_of, running
from tests.integration.gateway.scripted_jobs import NOW
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually

LIVE = "/api/admin/live"


@dataclass
class Heard:
    """What a reader got."""

    events: list[dict[str, Any]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    last_id: str = ""
    over: bool = False

    def positions(self, source: str = "EVT_JOBS") -> list[int]:
        return [event["position"] for event in self.events if event.get("source") == source]

    def line(self, line: str) -> None:
        name, _, value = line.partition(":")
        match name:
            case "":
                self.comments.append(value.strip())
            case "id":
                self.last_id = value.strip()
            case "event":
                self.names.append(value.strip())
            case "data":
                self.events.append(json.loads(value))


@asynccontextmanager
async def listening(client: httpx2.AsyncClient, last_id: str = "", **options: Any) -> AsyncIterator[Heard]:
    """A reader while the block lasts; it has an id before the block begins."""
    heard = Heard()

    async def read() -> None:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with client.stream("GET", LIVE, headers=headers, **options) as answer:
            assert answer.status_code == 200, answer.status_code
            async for line in answer.aiter_lines():
                if line:
                    heard.line(line)
        heard.over = True

    task = asyncio.create_task(read())
    try:
        await eventually(lambda: heard.last_id or task.done())
        yield heard
    finally:
        task.cancel()
        await asyncio.wait({task})


@dataclass
class Journal:
    """Publishes events of jobs as the relay does."""

    nc: Client
    position: int = 0

    async def write(self, count: int = 1, event_type: str = "job.created.v1") -> None:
        for _ in range(count):
            self.position += 1
            event = EventRecord(
                position=self.position,
                stream_id=new_id(),
                version=1,
                type=event_type,
                id=EventId(new_id()),
                command_id=None,
                actor=worker("w-1"),
                reason="why\nnot",
                correlation_id=new_id(),
                causation_id=None,
                traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                at=NOW,
                data=b'{\n "queue": "default"}',
            )
            subject = job_event(event.stream_id, "default", event_type)
            await self.nc.request(subject, event.data, headers=event_headers(event, "jobplane/jobs"))


@pytest.fixture
async def journal(gateway: Running) -> AsyncIterator[Journal]:
    nc = await chassis_bus.connect(gateway.bus.url("jobs-relay"), user="jobs-relay", name="relay")
    yield Journal(nc)
    await chassis_bus.close(nc)


@pytest.fixture
async def viewer(gateway: Running) -> httpx2.AsyncClient:
    return await gateway.bearer(Role.VIEWER)


async def test_an_event_says_who_did_what(viewer: httpx2.AsyncClient, journal: Journal) -> None:
    async with listening(viewer) as heard:
        await journal.write()
        await eventually(lambda: heard.positions() == [1])
    [event] = [event for event in heard.events if event["source"] == "EVT_JOBS"]
    assert heard.names[-1] == event["type"] == "job.created.v1"
    assert event["actor"] == {"id": "w-1", "kind": "worker"}
    assert event["reason"] == "why\nnot"
    assert event["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert event["data"] == {"queue": "default"}
    assert event["command_id"] is None
    assert heard.last_id.startswith("1.j1.a")


async def test_the_gateways_own_events_are_there_too(gateway: Running, viewer: httpx2.AsyncClient) -> None:
    async with listening(viewer) as heard:
        await gateway.bearer()
        await eventually(lambda: "user.created.v1" in heard.names)
    assert heard.positions("EVT_ADMIN")


async def test_a_break_loses_and_repeats_nothing(viewer: httpx2.AsyncClient, journal: Journal) -> None:
    async with listening(viewer) as heard:
        await journal.write(5)
        await eventually(lambda: len(heard.positions()) == 5)
    await journal.write(5)
    async with listening(viewer, heard.last_id) as again:
        await journal.write(5)
        await eventually(lambda: len(again.positions()) == 10)
    assert again.positions() == list(range(6, 16))


async def test_the_last_id_may_stand_in_the_address_and_name_one_stream(
    viewer: httpx2.AsyncClient, journal: Journal
) -> None:
    await journal.write(3)
    async with listening(viewer, params={"last_event_id": "1.j1"}) as heard:
        await eventually(lambda: heard.positions() == [2, 3])


async def test_what_left_the_ring_is_read_from_the_stream(
    gateway: Running, viewer: httpx2.AsyncClient, journal: Journal
) -> None:
    gateway.gateway.live._ring_events = 8
    await gateway.gateway.live.restart()
    await journal.write(40)
    await eventually(lambda: gateway.gateway.live.ring.positions[0] == 40)
    async with listening(viewer, "1.j2.a0.h0") as heard:
        await journal.write(3)
        await eventually(lambda: len(heard.positions()) == 41)
    assert heard.positions() == list(range(3, 44))


async def test_what_is_no_longer_kept_is_a_reset(
    gateway: Running, viewer: httpx2.AsyncClient, journal: Journal
) -> None:
    async with listening(viewer, "1.j900.a0.h0") as heard:
        await eventually(lambda: heard.names[:1] == ["reset"])
        await journal.write()
        await eventually(lambda: heard.positions() == [1])
    async with listening(viewer, "7.j0.a0.h0") as heard:
        await eventually(lambda: heard.names[:1] == ["reset"])
    assert heard.events[0] == {"reason": "new_epoch"}
    assert gateway.gateway.live.position.startswith("1.j1.")


async def test_an_unreadable_id_is_refused(viewer: httpx2.AsyncClient) -> None:
    answer = await viewer.get(LIVE, headers={"Last-Event-ID": "yesterday"})
    assert answer.status_code == 422
    assert code_of(answer) == "invalid_cursor"


async def test_a_logout_ends_the_stream_within_seconds(gateway: Running) -> None:
    browser = await gateway.browser(Role.VIEWER)
    async with listening(browser) as heard:
        assert (await browser.delete("/api/admin/session")).status_code == 204
        await eventually(lambda: heard.over, timeout=2 * live.CHECK_S + 2)
    assert "the session ended" in heard.comments


async def test_a_restarted_bus_loses_and_repeats_nothing(
    gateway: Running, viewer: httpx2.AsyncClient, journal: Journal
) -> None:
    async with listening(viewer) as heard:
        await journal.write(3)
        await eventually(lambda: len(heard.positions()) == 3)
        gateway.bus.kill()
        gateway.bus.start()
        await eventually(lambda: journal.nc.stats["reconnects"] and journal.nc.is_connected, timeout=10)
        await journal.write(3)
        await eventually(lambda: len(heard.positions()) == 6, timeout=10)
    assert heard.positions() == [1, 2, 3, 4, 5, 6]


async def test_a_reader_that_falls_out_of_the_ring_is_sent_away(gateway: Running) -> None:
    hub = gateway.gateway.live

    async def always() -> bool:
        return True

    reader = hub.events(None, always)
    assert await anext(reader) == b"retry: 2000\n\n"
    assert (await anext(reader)).startswith(b"id: 1.j0.")
    for position in range(1, live.RING_EVENTS + 2):
        hub.ring.append(Entry(0, position, None, b""))
    assert (await anext(reader)).startswith(b": too slow")
    assert [chunk async for chunk in reader] == []
    assert hub.readers == 0


async def test_many_readers_share_one_consumer(gateway: Running, viewer: httpx2.AsyncClient, journal: Journal) -> None:
    before = len(gateway.nc._subs)
    async with listening(viewer) as one, listening(viewer) as two, listening(viewer) as three:
        await journal.write(20)
        await eventually(lambda: all(len(heard.positions()) == 20 for heard in (one, two, three)))
        assert len(gateway.nc._subs) == before
        assert gateway.gateway.live.readers == 3
    await eventually(lambda: gateway.gateway.live.readers == 0, timeout=10)


async def test_a_follower_that_died_is_replaced_and_nothing_is_missed(
    gateway: Running, viewer: httpx2.AsyncClient, journal: Journal
) -> None:
    hub = gateway.gateway.live
    async with listening(viewer) as heard:
        await journal.write(2)
        await eventually(lambda: len(heard.positions()) == 2)
        follower = hub._followers[0]
        await hub._stream_readers[0].close()
        await eventually(follower.done)
        await journal.write(2)
        await hub.look()
        await eventually(lambda: len(heard.positions()) == 4)
    assert heard.positions() == [1, 2, 3, 4]


async def test_a_stream_that_is_made_later_is_followed_from_its_beginning(
    bus: Bus, database: Database, tmp_path: Path
) -> None:
    async with running(bus, database, tmp_path, journals=()) as gateway:
        viewer = await gateway.bearer(Role.VIEWER)
        async with listening(viewer) as heard:
            topology = await chassis_bus.connect(bus.url("topology"), user="topology", name="topology")
            await streams.create(topology, stream(EVT_JOBS))
            await chassis_bus.close(topology)
            relay = await chassis_bus.connect(bus.url("jobs-relay"), user="jobs-relay", name="relay")
            await Journal(relay).write(3)
            await chassis_bus.close(relay)
            await eventually(lambda: heard.positions() == [1, 2, 3])


async def test_nobody_follows_while_the_beginning_of_a_stream_is_unknown_so_nothing_is_skipped(
    gateway: Running, viewer: httpx2.AsyncClient, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = gateway.gateway.live

    async def away(_stream: int) -> None:
        raise Unavailable("No answer.")

    async with listening(viewer) as first:
        await journal.write(3)
        await eventually(lambda: len(first.positions()) == 3)
    with monkeypatch.context() as patched:
        patched.setattr(hub, "bounds", away)
        await hub.restart()
        await journal.write(2)
        async with listening(viewer, first.last_id) as turned_away:
            await eventually(lambda: turned_away.over)
        assert turned_away.events == []
        assert "resume in a moment" in turned_away.comments[-1]
    await hub.look()
    await journal.write(1)
    async with listening(viewer, first.last_id) as second:
        await eventually(lambda: second.positions() == [4, 5, 6])
