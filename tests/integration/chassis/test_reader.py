import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis import streams
from jobplane.chassis.bus import Connection
from jobplane.chassis.reader import Dropped, StreamReader
from jobplane.contracts.topology import EVT_JOBS, stream
from tests.support.retention import keep
from tests.support.servers import Bus
from tests.support.waiting import eventually

SUBJECT = "jobs.evt.0.default.x"


@pytest.fixture
async def admin(bus: Bus) -> AsyncIterator[Connection]:
    connection = await chassis_bus.connect(bus.url("test"), user="test", name="admin")
    await streams.create(connection, stream(EVT_JOBS))
    yield connection
    await chassis_bus.close(connection)


@pytest.fixture
async def nc(bus: Bus) -> AsyncIterator[Connection]:
    connection = await chassis_bus.connect(bus.url("audit-reader"), user="audit-reader", name="reader")
    yield connection
    await chassis_bus.close(connection)


class Reading:
    """A reader in the background and what it gave."""

    def __init__(self, nc: Connection, start: int = 1, batch: int = 500, rest_s: float = 0.0) -> None:
        self.reader = StreamReader(nc, EVT_JOBS, start, batch=batch, rest_s=rest_s)
        self.seen: list[tuple[int, bytes]] = []
        self.headers: list[dict[str, str] | None] = []
        self.batches = 0
        self.largest = 0
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for messages in self.reader.batches():
            self.batches += 1
            self.largest = max(self.largest, len(messages))
            self.seen += [(sequence, body) for sequence, _, body in messages]
            self.headers += [headers for _, headers, _ in messages]

    @property
    def sequences(self) -> list[int]:
        return [sequence for sequence, _ in self.seen]

    async def until(self, last: int, first: int = 1) -> None:
        await eventually(lambda: len(self.seen) > 0 and self.seen[-1][0] >= last, timeout=15)
        assert self.sequences == list(range(first, last + 1))

    async def close(self) -> None:
        await self.reader.close()
        await asyncio.wait_for(self.task, 3)


async def publish(nc: Connection, count: int, size: int = 20, headers: dict[str, str] | None = None) -> None:
    waiting = [nc.request(SUBJECT, b"x" * size, timeout=10, headers=headers) for _ in range(count)]
    for answer in await asyncio.gather(*waiting):
        assert b"error" not in answer.data


async def api(nc: Connection, call: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await nc.request(f"$JS.API.{call}", b"", timeout=5)).data)
    assert "error" not in answer, answer
    return answer


async def test_a_whole_stream_is_read_in_order_in_batches(admin: Connection, nc: Connection) -> None:
    await publish(admin, 1_700, headers={"ce-type": "job.created.v1"})
    with capture_logs() as lines:
        reading = Reading(nc, batch=100)
        await reading.until(1_700)
        await reading.close()
    assert reading.largest <= 100
    assert reading.headers[0] == {"ce-type": "job.created.v1"}
    assert lines == []  # one consumer served it all


async def test_reading_begins_at_the_given_sequence_and_goes_on_with_new_messages(
    admin: Connection, nc: Connection
) -> None:
    await publish(admin, 10)
    reading = Reading(nc, start=8)
    await reading.until(10, first=8)
    await publish(admin, 5)
    await reading.until(15, first=8)
    assert reading.reader.next_sequence == 16
    await reading.close()


async def test_large_messages_do_not_break_the_order(admin: Connection, nc: Connection) -> None:
    for _ in range(4):
        await publish(admin, 10, size=700 * 1024)
        await publish(admin, 3)
    with capture_logs() as lines:
        reading = Reading(nc)
        await reading.until(52)
        await reading.close()
    assert lines == []


async def test_a_killed_server_costs_nothing_but_time(bus: Bus, admin: Connection, nc: Connection) -> None:
    await publish(admin, 300)
    reading = Reading(nc, batch=50)
    await reading.until(300)
    for last in (600, 900):
        bus.kill()
        await eventually(lambda: not nc.is_connected)
        await asyncio.to_thread(bus.start)
        await eventually(lambda: admin.is_connected)
        await eventually(lambda: api(admin, f"STREAM.INFO.{EVT_JOBS}"))
        await publish(admin, 300)
        await reading.until(last)
    await reading.close()


async def test_a_lost_consumer_is_replaced(admin: Connection, nc: Connection) -> None:
    await publish(admin, 10)
    reading = Reading(nc)
    await reading.until(10)
    for name in (await api(admin, f"CONSUMER.NAMES.{EVT_JOBS}"))["consumers"]:
        await api(admin, f"CONSUMER.DELETE.{EVT_JOBS}.{name}")
    await publish(admin, 10)
    await reading.until(20)
    await reading.close()


async def test_a_stream_made_anew_is_followed_and_nothing_is_given_twice(admin: Connection, nc: Connection) -> None:
    await publish(admin, 20)
    reading = Reading(nc)
    await reading.until(20)
    await api(admin, f"STREAM.DELETE.{EVT_JOBS}")
    await streams.create(admin, stream(EVT_JOBS), first_sequence=11)  # retention had dropped the first ten
    await publish(admin, 25)
    await reading.until(35)
    await reading.close()


async def test_a_stream_that_does_not_exist_yet_is_waited_for(bus: Bus, nc: Connection) -> None:
    topology = await chassis_bus.connect(bus.url("test"), user="test", name="late")
    with capture_logs() as lines:
        reading = Reading(nc)
        await eventually(lambda: "reader.restarts" in [line["event"] for line in lines])  # it was told there is none
    await streams.create(topology, stream(EVT_JOBS))
    await publish(topology, 3)
    await reading.until(3)
    await reading.close()
    await chassis_bus.close(topology)


async def test_messages_lost_by_the_client_are_read_again(admin: Connection, nc: Connection) -> None:
    await publish(admin, 10)
    reading = Reading(nc)
    await reading.until(10)
    sid, sink = next(iter(nc._sinks.items()))
    nc._sinks[sid] = lambda *_message: None
    await publish(admin, 5)
    await nc.flush()
    nc._sinks[sid] = sink
    await publish(admin, 5)
    await reading.until(20)
    await reading.close()


async def test_what_retention_dropped_shows_as_a_jump(admin: Connection, nc: Connection) -> None:
    await streams.create(admin, stream("EVT_ADMIN"), first_sequence=501)
    assert b"error" not in (await admin.request("admin.evt.login.x", b"{}")).data
    reader = StreamReader(nc, "EVT_ADMIN", 3)
    async for messages in reader.batches():
        assert [sequence for sequence, _, _ in messages] == [501]
        break
    await reader.close()


async def read_whole(reader: StreamReader, after_first: Callable[[], Awaitable[object]] | None = None) -> list[int]:
    """Everything until the reader ends; `after_first` is done behind the first batch."""
    given: list[int] = []
    try:
        async for messages in reader.batches():
            first = not given
            given += [sequence for sequence, _, _ in messages]
            if first and after_first is not None:
                await after_first()
    except Dropped as dropped:
        return [*given, dropped.first]
    finally:
        await reader.close()
    raise AssertionError


async def batches_up_to(last: int, reader: StreamReader) -> list[list[int]]:
    """The sequences of each batch, until that one was given."""
    given: list[list[int]] = []
    async for messages in reader.batches():
        given.append([sequence for sequence, _, _ in messages])
        if given[-1][-1] >= last:
            break
    await reader.close()
    return given


async def test_a_reader_of_the_whole_stream_tells_what_retention_dropped(admin: Connection, nc: Connection) -> None:
    await publish(admin, 10)
    await keep(admin, EVT_JOBS, 4)
    assert await read_whole(StreamReader(nc, EVT_JOBS, 3, whole=True)) == [7]
    given = await batches_up_to(10, StreamReader(nc, EVT_JOBS, 7, whole=True))
    assert [one for batch in given for one in batch] == [7, 8, 9, 10]


async def test_a_stream_that_lost_everything_tells_where_it_will_go_on(admin: Connection, nc: Connection) -> None:
    await streams.create(admin, stream("EVT_ADMIN"), first_sequence=501)
    assert await read_whole(StreamReader(nc, "EVT_ADMIN", 3, whole=True)) == [501]


async def test_retention_that_overtakes_a_reader_of_the_whole_stream_is_told(admin: Connection, nc: Connection) -> None:
    await publish(admin, 100)
    reader = StreamReader(nc, EVT_JOBS, 1, batch=10, whole=True)
    *given, first = await read_whole(reader, after_first=lambda: keep(admin, EVT_JOBS, 5))
    assert given == list(range(1, len(given) + 1))
    assert 1 <= len(given) < 95
    assert first == 96


async def test_a_jump_without_retention_is_given_as_it_is(admin: Connection, nc: Connection) -> None:
    config = {"name": EVT_JOBS, "subjects": ["jobs.evt.>"]}
    await api(admin, f"STREAM.DELETE.{EVT_JOBS}")
    await admin.request(f"$JS.API.STREAM.CREATE.{EVT_JOBS}", json.dumps(config).encode(), timeout=5)
    await publish(admin, 6)
    await admin.request(f"$JS.API.STREAM.MSG.DELETE.{EVT_JOBS}", b'{"seq":3}', timeout=5)
    given = await batches_up_to(6, StreamReader(nc, EVT_JOBS, 1, whole=True))
    assert [one for batch in given for one in batch] == [1, 2, 4, 5, 6]
    assert not [batch for batch in given if {2, 4} <= set(batch)], "a batch has no jump inside"


async def test_closing_takes_the_consumer_away_and_ends_the_waiting(admin: Connection, nc: Connection) -> None:
    reading = Reading(nc)
    await eventually(lambda: consumers(admin))
    await reading.close()
    assert await consumers(admin) == []
    await reading.reader.close()


async def consumers(admin: Connection) -> list[str]:
    names: list[str] | None = (await api(admin, f"CONSUMER.NAMES.{EVT_JOBS}"))["consumers"]
    return names or []


async def test_a_resting_reader_gives_the_first_message_at_once_and_the_next_ones_together(
    admin: Connection, nc: Connection
) -> None:
    reading = Reading(nc, rest_s=60)
    await publish(admin, 1)
    await reading.until(1)
    for _ in range(4):
        await publish(admin, 25)
    assert reading.batches == 1
    reading.reader.rest(0.01)
    await reading.until(101)
    assert reading.batches == 2
    await reading.close()


async def test_a_resting_reader_that_is_behind_does_not_rest(admin: Connection, nc: Connection) -> None:
    await publish(admin, 1_050)
    with capture_logs() as lines:
        reading = Reading(nc, batch=100, rest_s=60)
        await reading.until(1_050)
        await reading.close()
    assert reading.largest <= 100
    assert lines == []


async def test_a_resting_reader_misses_nothing_of_a_busy_stream(admin: Connection, nc: Connection) -> None:
    reading = Reading(nc, batch=40, rest_s=0.01)
    for size in (1, 3, 39, 40, 41, 120, 1, 1, 200):
        await publish(admin, size)
    await reading.until(446)
    await publish(admin, 4)
    await reading.until(450)
    await reading.close()


async def test_a_resting_reader_survives_a_killed_server_and_a_lost_consumer(
    bus: Bus, admin: Connection, nc: Connection
) -> None:
    await publish(admin, 30)
    reading = Reading(nc, batch=20, rest_s=0.01)
    await reading.until(30)
    bus.kill()
    await eventually(lambda: not nc.is_connected)
    await asyncio.to_thread(bus.start)
    await eventually(lambda: admin.is_connected)
    await eventually(lambda: api(admin, f"STREAM.INFO.{EVT_JOBS}"))
    await publish(admin, 30)
    await reading.until(60)
    for name in (await api(admin, f"CONSUMER.NAMES.{EVT_JOBS}"))["consumers"]:
        await api(admin, f"CONSUMER.DELETE.{EVT_JOBS}.{name}")
    await publish(admin, 30)
    await reading.until(90)
    await reading.close()


async def test_a_resting_reader_ends_at_once(admin: Connection, nc: Connection) -> None:
    await publish(admin, 5)
    reading = Reading(nc, rest_s=60)
    await reading.until(5)
    await reading.close()
    assert reading.task.done()
