import asyncio
from collections.abc import AsyncIterator

import pytest

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis.bus import Connection
from jobplane.chassis.heartbeat import Heartbeat
from jobplane.contracts.fleet import Heartbeat as Beat
from jobplane.contracts.fleet import PoolFigures
from tests.support.servers import Bus
from tests.support.waiting import eventually


class Ear:
    """Hears beats as the health service does."""

    def __init__(self) -> None:
        self.beats: list[Beat] = []

    def hear(self, _subject: str, _reply: str, _headers: dict[str, str] | None, body: bytes) -> None:
        self.beats.append(Beat.model_validate_json(body))


@pytest.fixture
async def ear(bus: Bus) -> AsyncIterator[Ear]:
    nc = await chassis_bus.connect(bus.url("health-reader"), user="health-reader", name="health-1")
    ear = Ear()
    await nc.subscribe_sink("fleet.beat.>", ear.hear)
    await nc.flush()
    yield ear
    await chassis_bus.close(nc)


@pytest.fixture
async def worker(bus: Bus) -> AsyncIterator[Connection]:
    nc = await chassis_bus.connect(bus.url("worker"), user="worker", name="worker-1")
    yield nc
    await chassis_bus.close(nc)


async def ready() -> bool:
    return True


async def test_a_beat_tells_how_the_process_feels(ear: Ear, worker: Connection) -> None:
    figures = PoolFigures(size=2, max=10, in_use=1, waiting=0, wait_ms=0.5)
    heartbeat = Heartbeat(
        worker,
        "worker",
        "worker-1",
        ready=ready,
        pool=lambda: figures,
        in_flight=lambda: 3,
        detail=lambda: {"queues": ["default"]},
    )
    heartbeat.start()
    await eventually(lambda: ear.beats)
    await heartbeat.stop()
    beat = ear.beats[0]
    assert (beat.kind, beat.instance, beat.ready, beat.stopping) == ("worker", "worker-1", True, False)
    assert (beat.pool, beat.in_flight, beat.detail) == (figures, 3, {"queues": ["default"]})
    assert beat.rss_bytes > 10_000_000
    assert beat.started_at <= beat.sent_at


async def test_the_last_beat_says_that_the_end_is_on_purpose(ear: Ear, worker: Connection) -> None:
    heartbeat = Heartbeat(worker, "worker", "worker-1", ready=ready)
    heartbeat.start()
    await eventually(lambda: ear.beats)
    await heartbeat.stop()
    await eventually(lambda: ear.beats[-1].stopping)
    assert not ear.beats[-1].ready


async def test_a_process_that_is_not_ready_says_why(ear: Ear, worker: Connection) -> None:
    async def away() -> str:
        return "the database is away"

    async def broken() -> bool:
        raise KeyError("bug")

    await Heartbeat(worker, "worker", "worker-1", ready=away).run_once()
    await Heartbeat(worker, "worker", "worker-2", ready=broken).run_once()
    await eventually(lambda: len(ear.beats) == 2)
    assert [beat.ready for beat in ear.beats] == [False, False]
    assert [beat.detail["not_ready"] for beat in ear.beats] == ["the database is away", "KeyError"]


async def test_a_blocked_event_loop_shows_as_lag(ear: Ear, worker: Connection) -> None:
    heartbeat = Heartbeat(worker, "worker", "worker-1", ready=ready, every_s=0.05)
    heartbeat.start()
    await eventually(lambda: ear.beats)
    until = asyncio.get_running_loop().time() + 0.8
    while asyncio.get_running_loop().time() < until:
        pass  # what a careless handler does
    await eventually(lambda: max(beat.loop_lag_ms for beat in ear.beats) > 250)
    await heartbeat.stop()


async def test_beats_go_on_after_the_bus_was_away(bus: Bus, ear: Ear, worker: Connection) -> None:
    heartbeat = Heartbeat(worker, "worker", "worker-1", ready=ready, every_s=0.05)
    heartbeat.start()
    await eventually(lambda: ear.beats)
    bus.kill()
    await eventually(lambda: not worker.is_connected)
    await heartbeat.run_once()
    ear.beats.clear()
    await asyncio.to_thread(bus.start)
    await eventually(lambda: ear.beats)
    await heartbeat.stop()
