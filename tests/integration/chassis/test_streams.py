import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis import streams
from jobplane.chassis.bus import Connection
from jobplane.chassis.streams import TopologyDrift
from jobplane.contracts.errors import JobplaneError, Unavailable
from jobplane.contracts.topology import CMD, EVT_ADMIN, EVT_JOBS, JOBS_INTAKE, STREAMS, stream
from tests.support.servers import Bus

OWNERS = sorted({spec.owner for spec in STREAMS})


@pytest.fixture
async def topology(bus: Bus) -> AsyncIterator[Connection]:
    connection = await chassis_bus.connect(bus.url("topology"), user="topology", name="tests")
    yield connection
    await chassis_bus.close(connection)


async def api(nc: Connection, call: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await nc.request(f"$JS.API.{call}", json.dumps(request or {}).encode())).data)
    assert "error" not in answer, answer
    return answer


@pytest.mark.parametrize("owner", OWNERS)
async def test_what_is_missing_is_created_and_then_found_as_declared(topology: Connection, owner: str) -> None:
    assert await streams.ensure(topology, owner) == []
    assert await streams.ensure(topology, owner) == []
    names = (await api(topology, "STREAM.NAMES")).get("streams")
    # a journal's stream is made by its relay, which knows where it begins
    assert sorted(names or []) == sorted(spec.name for spec in STREAMS if spec.owner == owner and not spec.journal)


async def test_replicas_may_create_at_the_same_time(topology: Connection) -> None:
    answers = await asyncio.gather(*(streams.ensure(topology, "jobs") for _ in range(5)))
    assert answers == [[]] * 5


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"subjects": ["admin.evt.only"]}, "subjects"),
        ({"storage": "memory"}, "storage"),
        ({"retention": "interest"}, "retention"),
    ],
)
async def test_a_drift_that_loses_messages_stops_the_start(
    topology: Connection, change: dict[str, Any], word: str
) -> None:
    config = {"name": EVT_ADMIN, "subjects": ["admin.evt.>"], "storage": "file", "retention": "limits"} | change
    await api(topology, f"STREAM.CREATE.{EVT_ADMIN}", config)
    with pytest.raises(TopologyDrift, match=f"the stream {EVT_ADMIN} has another {word} than declared"):
        await streams.ensure(topology, "gateway")


async def test_a_work_queue_of_an_earlier_version_is_replaced_when_it_is_empty(topology: Connection, bus: Bus) -> None:
    spec = stream(CMD)
    config = {"name": CMD, "subjects": list(spec.subjects), "storage": "file", "retention": "workqueue"}
    await api(topology, f"STREAM.CREATE.{CMD}", config)
    anybody = await chassis_bus.connect(bus.url("test"), user="test", name="anybody")
    await anybody.request("jobs.cmd.gateway.create", b"{}")
    with pytest.raises(TopologyDrift, match="still holds 1 messages: start that version once more"):
        await streams.ensure(topology, "jobs")
    await api(anybody, f"STREAM.PURGE.{CMD}")
    assert await streams.ensure(topology, "jobs") == []
    assert await streams.differences(topology, spec) == {}
    assert await streams.differences(topology, JOBS_INTAKE) == {}
    await chassis_bus.close(anybody)


async def test_a_command_that_comes_while_its_stream_is_replaced_is_kept_or_refused(
    topology: Connection, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = stream(CMD)
    config = {"name": CMD, "subjects": list(spec.subjects), "storage": "file", "retention": "workqueue"}
    await api(topology, f"STREAM.CREATE.{CMD}", config)
    gateway = await chassis_bus.connect(bus.url("gateway"), user="gateway", name="asking")
    ask = streams.api

    async def late(nc: Connection, call: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
        if call.startswith("STREAM.UPDATE") and not sent:
            sent.append(await gateway.request("jobs.cmd.gateway.create", b"{}"))
        if call.startswith("STREAM.DELETE"):
            with pytest.raises(NoRespondersError):
                await gateway.request("jobs.cmd.gateway.create", b"{}", timeout=5)
        return await ask(nc, call, request)

    sent: list[Msg] = []
    monkeypatch.setattr(streams, "api", late)
    with pytest.raises(TopologyDrift, match="still holds 1 messages"):
        await streams.ensure(topology, "jobs")
    info = await api(topology, f"STREAM.INFO.{CMD}")
    assert (info["state"]["messages"], info["config"]["subjects"]) == (1, list(spec.subjects))
    await api(topology, f"STREAM.PURGE.{CMD}")
    assert await streams.ensure(topology, "jobs") == []
    await chassis_bus.close(gateway)


async def test_any_other_drift_is_told_and_left_alone(topology: Connection) -> None:
    await streams.create(topology, stream(EVT_JOBS))
    found = (await api(topology, f"STREAM.INFO.{EVT_JOBS}"))["config"]
    await api(topology, f"STREAM.UPDATE.{EVT_JOBS}", found | {"max_bytes": 1_000_000})
    drifts = await streams.ensure(topology, "jobs")
    assert len(drifts) == 1
    assert "max_bytes" in drifts[0]
    assert (await api(topology, f"STREAM.INFO.{EVT_JOBS}"))["config"]["max_bytes"] == 1_000_000


async def test_a_consumer_that_drifted_is_told(topology: Connection) -> None:
    await streams.ensure(topology, "jobs")
    found = (await api(topology, "CONSUMER.INFO.CMD.jobs"))["config"]
    request = {"stream_name": "CMD", "config": found | {"max_ack_pending": 7}, "action": "update"}
    await api(topology, "CONSUMER.CREATE.CMD.jobs.jobs.cmd.>", request)
    (drift,) = await streams.ensure(topology, "jobs")
    assert "max_ack_pending" in drift


async def test_a_stream_made_anew_begins_where_it_is_told(topology: Connection, bus: Bus) -> None:
    await streams.create(topology, stream(EVT_JOBS), 1001)
    publisher = await chassis_bus.connect(bus.url("jobs-relay"), user="jobs-relay", name="tests")
    answer = json.loads((await publisher.request("jobs.evt.0.default.x", b"{}")).data)
    assert answer["seq"] == 1001
    await chassis_bus.close(publisher)


async def test_what_jetstream_refuses_is_told(topology: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(streams.__dict__, "_stream_config", lambda spec: {"name": spec.name, "max_bytes": 10**15})
    with pytest.raises(JobplaneError, match=rf"JetStream refuses STREAM\.CREATE\.{EVT_ADMIN}: .*storage"):
        await streams.create(topology, stream(EVT_ADMIN))


async def test_jetstream_that_is_still_starting_is_waited_for(
    topology: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    request = topology.request

    async def starting(subject: str, *arguments: Any, **options: Any) -> Msg:
        asked.append(subject)
        if len(asked) == 1:
            raise NoRespondersError
        if len(asked) == 2:
            return Msg(topology, data=b'{"error":{"code":503,"err_code":10008,"description":"unavailable"}}')
        return await request(subject, *arguments, **options)

    monkeypatch.setattr(topology, "request", starting)
    assert await streams.ensure(topology, "gateway") == []
    assert len(asked) == 3


async def test_a_bus_that_goes_away_is_unavailable(topology: Connection, bus: Bus) -> None:
    bus.kill()
    with pytest.raises(Unavailable):
        await streams.ensure(topology, "jobs")


class Failing:
    """A server that fails so many creations of a consumer before it does as it is asked."""

    def __init__(self, nc: Connection, times: int) -> None:
        self._request = nc.request
        self.times = times

    async def request(self, subject: str, payload: bytes = b"", timeout: float = 1.0) -> Msg:
        answer = await self._request(subject, payload, timeout) if not self._fails(subject) else None
        if answer is None:
            self.times -= 1
            error = {"code": 500, "err_code": 10104, "description": "error creating store for consumer"}
            answer = Msg(_client=None, data=json.dumps({"error": error}).encode())  # type: ignore[arg-type]
        return answer

    def _fails(self, subject: str) -> bool:
        return ".CONSUMER.CREATE." in subject and self.times > 0


async def test_a_server_that_fails_is_asked_again(topology: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing(topology, 2)
    monkeypatch.setattr(topology, "request", failing.request)
    assert await streams.ensure(topology, "jobs") == []
    assert failing.times == 0
    assert await streams.differences(topology, JOBS_INTAKE) == {}


async def test_a_server_that_goes_on_failing_is_away(topology: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "request", Failing(topology, 1000).request)
    with pytest.raises(Unavailable, match="error creating store for consumer"):
        await streams.ensure(topology, "jobs")
