"""The stream of commands forgets what was acknowledged, and nothing else."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.msg import Msg

from jobplane.chassis.bus import Connection
from jobplane.chassis.trim import Trim
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.topology import CMD, CONSUMERS, JOBS_INTAKE, stream
from tests.support.events import ensure_streams
from tests.support.servers import Bus
from tests.support.waiting import eventually


@pytest.fixture
async def nc(bus: Bus) -> AsyncIterator[Connection]:
    """The one that takes commands."""
    await ensure_streams(bus)
    async with bus.connected("jobs-intake") as connection:
        yield connection


@pytest.fixture
async def gateway(bus: Bus) -> AsyncIterator[Connection]:
    async with bus.connected("gateway") as connection:
        yield connection


class Taken:
    """Commands that were pulled."""

    def __init__(self, nc: Connection) -> None:
        self._nc = nc
        self.messages: list[Msg] = []
        self.acknowledged = 0

    async def pull(self, count: int) -> None:
        inbox = self._nc.new_inbox()
        await self._nc.subscribe(inbox, cb=self._take)
        request = json.dumps({"batch": count, "expires": 5_000_000_000}).encode()
        await self._nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.{CMD}.{JOBS_INTAKE.name}", request, inbox)
        await eventually(lambda: len(self.messages) == count)

    async def _take(self, message: Msg) -> None:
        if message.reply:
            self.messages.append(message)

    async def acknowledge(self, *numbers: int) -> None:
        for number in numbers:
            await self._nc.publish(self.messages[number].reply, b"+ACK")
        self.acknowledged += len(numbers)


async def kept(nc: Connection) -> tuple[int, int]:
    """How many messages the stream has, and the first."""
    state: dict[str, Any] = json.loads((await nc.request(f"$JS.API.STREAM.INFO.{CMD}")).data)["state"]
    return state["messages"], state["first_seq"]


async def test_what_is_acknowledged_is_forgotten_up_to_what_is_not(nc: Connection, gateway: Connection) -> None:
    for _ in range(6):
        await gateway.request("jobs.cmd.gateway.create", b"{}")
    taken = Taken(nc)
    trim = Trim(nc, JOBS_INTAKE, lambda: taken.acknowledged)
    await trim.run_once()
    assert await kept(nc) == (6, 1)
    await taken.pull(5)
    await taken.acknowledge(0, 1, 3)

    async def forgotten(messages: int, first: int) -> bool:
        await trim.run_once()
        return await kept(nc) == (messages, first)

    await eventually(lambda: forgotten(4, 3))
    await taken.acknowledge(2, 4)
    await eventually(lambda: forgotten(1, 6))
    await trim.run_once()
    assert await kept(nc) == (1, 6)


async def test_while_nothing_is_acknowledged_the_server_is_left_alone(
    nc: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    request = nc.request

    async def listen(subject: str, *rest: Any) -> Msg:
        asked.append(subject)
        return await request(subject, *rest)

    monkeypatch.setattr(nc, "request", listen)
    trim = Trim(nc, JOBS_INTAKE, lambda: 0)
    for _ in range(3):
        await trim.run_once()
    assert asked == [f"$JS.API.CONSUMER.INFO.{CMD}.{JOBS_INTAKE.name}"]


async def test_a_purge_that_is_refused_is_told_and_asked_for_again(
    nc: Connection, gateway: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.request("jobs.cmd.gateway.create", b"{}")
    taken = Taken(nc)
    await taken.pull(1)
    await taken.acknowledge(0)
    trim = Trim(nc, JOBS_INTAKE, lambda: taken.acknowledged)
    request = nc.request

    async def refuse(subject: str, *rest: Any) -> Msg:
        if ".PURGE." in subject:
            return Msg(nc, data=b'{"error":{"description":"not now"}}')
        return await request(subject, *rest)

    async def acknowledged() -> bool:
        info = json.loads((await request(f"$JS.API.CONSUMER.INFO.{CMD}.{JOBS_INTAKE.name}")).data)
        return bool(info["ack_floor"]["stream_seq"] == 1)

    await eventually(acknowledged)
    with monkeypatch.context() as patch:
        patch.setattr(nc, "request", refuse)
        with pytest.raises(Unavailable, match="not now"):
            await trim.run_once()
    await trim.run_once()
    assert (await kept(nc))[0] == 0


def test_whoever_trims_has_seen_everything() -> None:
    """A purge asks nobody else: no subject of the stream may be beside what the one consumer gets."""
    prefix = JOBS_INTAKE.filter_subject.removesuffix(">")
    assert all(subject.startswith(prefix) for subject in stream(CMD).subjects)
    assert [consumer for consumer in CONSUMERS if consumer.stream == CMD] == [JOBS_INTAKE]


async def test_a_bus_that_is_away_is_waited_for(bus: Bus, nc: Connection, gateway: Connection) -> None:
    await gateway.request("jobs.cmd.gateway.create", b"{}")
    taken = Taken(nc)
    trim = Trim(nc, JOBS_INTAKE, lambda: taken.acknowledged)
    await taken.pull(1)
    await taken.acknowledge(0)
    await nc.flush()
    bus.stop()
    await eventually(lambda: not nc.is_connected)
    await trim.run_once()
    bus.start()
    await eventually(lambda: nc.is_connected, timeout=30)

    async def empty() -> bool:
        await trim.run_once()
        return (await kept(nc))[0] == 0

    await eventually(empty, timeout=30)
