"""Command intake: each message is acknowledged when its meaning is committed, and never burnt."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from psycopg import OperationalError

from jobplane.chassis import bus as buses
from jobplane.chassis.bus import Connection
from jobplane.chassis.intake import Delivery, Intake
from jobplane.contracts.errors import InvalidMessage, Unavailable
from jobplane.contracts.topology import JOBS_INTAKE
from tests.support.events import ensure_streams
from tests.support.servers import Bus
from tests.support.waiting import eventually

Verdict = Callable[[str], Exception | None]
PATIENCE_NS = 500_000_000


class Desk:
    """Handles deliveries as `verdict` of their text says: None is fine, InvalidMessage is poison, others are raised."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.done: list[str] = []
        self.verdict: Verdict = lambda _text: None

    async def __call__(self, deliveries: Sequence[Delivery]) -> list[InvalidMessage | None]:
        texts = [delivery.data.decode() for delivery in deliveries]
        self.batches.append(texts)
        verdicts = [self.verdict(text) for text in texts]
        for verdict in verdicts:
            if verdict is not None and not isinstance(verdict, InvalidMessage):
                raise verdict
        poison = [verdict if isinstance(verdict, InvalidMessage) else None for verdict in verdicts]
        self.done += [text for text, verdict in zip(texts, poison, strict=True) if verdict is None]
        return poison


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def taking(bus: Bus) -> AsyncIterator[Connection]:
    """A connection that may take commands of jobs."""
    await ensure_streams(bus)
    async with bus.connected("jobs-intake") as connection:
        yield connection


@pytest.fixture
async def impatient(bus: Bus, taking: Connection) -> None:
    """What is not acknowledged comes again soon."""
    nc = await buses.connect(bus.url("test"), user="test", name="test")
    place = f"{JOBS_INTAKE.stream}.{JOBS_INTAKE.name}"
    found = json.loads((await nc.request(f"$JS.API.CONSUMER.INFO.{place}", b"", timeout=10)).data)
    config = found["config"] | {"backoff": [PATIENCE_NS] * 3, "ack_wait": PATIENCE_NS}
    wanted = json.dumps({"stream_name": JOBS_INTAKE.stream, "config": config, "action": "update"}).encode()
    place = f"{place}.{JOBS_INTAKE.filter_subject}"
    answer = await nc.request(f"$JS.API.CONSUMER.CREATE.{place}", wanted, timeout=10)
    assert b'"error"' not in answer.data, answer.data
    await buses.close(nc)


@contextlib.asynccontextmanager
async def running(nc: Connection, desk: Desk, **more: Any) -> AsyncIterator[Intake]:
    intake = Intake(nc, JOBS_INTAKE, desk, dead_letters="dlq.jobs.command", **more)
    stop = asyncio.Event()

    async def wake() -> None:
        intake.wake()

    forget = nc.add_reconnect_listener(wake)
    task = asyncio.create_task(intake.run(stop))
    try:
        yield intake
        assert not task.done()
    finally:
        forget()
        stop.set()
        intake.wake()
        await asyncio.wait_for(task, 5)


async def send(reading: Connection, *texts: str) -> None:
    for text in texts:
        answer = await reading.request("jobs.cmd.gateway.create", text.encode(), timeout=10)
        assert b'"seq"' in answer.data, answer.data


async def state(reading: Connection, stream: str) -> dict[str, Any]:
    answer = await reading.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=10)
    found: dict[str, Any] = json.loads(answer.data)["state"]
    return found


async def waiting(reading: Connection) -> int:
    """How many commands are not acknowledged; a consumer may be late to count what the stream has just taken."""
    stream = await state(reading, JOBS_INTAKE.stream)
    place = f"{JOBS_INTAKE.stream}.{JOBS_INTAKE.name}"
    info = json.loads((await reading.request(f"$JS.API.CONSUMER.INFO.{place}", b"", timeout=10)).data)
    if "error" in info:  # nobody has looked at any of them yet
        return int(stream["messages"])
    return int(stream["last_seq"] - info["delivered"]["stream_seq"] + info["num_ack_pending"])


async def state_of(reading: Connection, messages: int) -> bool:
    return int((await state(reading, JOBS_INTAKE.stream))["messages"]) == messages


async def empty(reading: Connection) -> bool:
    return await waiting(reading) == 0


async def dead(reading: Connection) -> list[tuple[str, dict[str, str]]]:
    """Text and headers of the dead letters."""
    found = []
    for sequence in range(1, int((await state(reading, "DLQ"))["last_seq"]) + 1):
        message = await reading.jetstream().get_msg("DLQ", sequence)
        found.append(((message.data or b"").decode(), dict(message.headers or {})))
    return found


async def test_messages_are_handled_in_order_in_batches_and_then_gone(
    taking: Connection, reading: Connection, desk: Desk
) -> None:
    texts = [str(n) for n in range(1200)]
    await asyncio.gather(*(send(reading, text) for text in texts))
    async with running(taking, desk):
        await eventually(lambda: empty(reading))
        await send(reading, "later")
        await eventually(lambda: empty(reading))
    assert set(desk.done) == {*texts, "later"}
    assert max(len(batch) for batch in desk.batches) <= 512
    assert len(desk.batches) < 100


async def test_poison_is_dead_lettered_with_its_reason_and_the_others_pass(
    taking: Connection, reading: Connection, desk: Desk
) -> None:
    desk.verdict = lambda text: InvalidMessage("not a\nword: ü") if text == "poison" else None
    await send(reading, "a", "poison", "b")
    headers = {"Nats-Msg-Id": "1", "traceparent": "00-1-2-01"}
    await reading.request("jobs.cmd.gateway.create", b"poison", headers=headers, timeout=10)
    async with running(taking, desk):
        await eventually(lambda: empty(reading))
        await send(reading, "c")
        await eventually(lambda: empty(reading))
    assert desk.done == ["a", "b", "c"]
    first, second = await dead(reading)
    assert first == (
        "poison",
        {"Jobplane-Dead-Reason": "not a word: ?", "Jobplane-Dead-Subject": "jobs.cmd.gateway.create"},
    )
    assert second[1]["traceparent"] == "00-1-2-01"
    assert "Nats-Msg-Id" not in second[1]


async def send_raw(nc: Connection, head: bytes, body: bytes) -> None:
    """Send what no client would send, but the server takes."""
    block = b"NATS/1.0\r\n" + head + b"\r\n"
    told = b"HPUB jobs.cmd.gateway.create %d %d\r\n" % (len(block), len(block) + len(body))
    await nc._send_command(told + block + body + b"\r\n")
    await nc.flush()


async def test_poison_with_headers_that_nobody_may_send_on_is_dead_lettered(
    taking: Connection, reading: Connection, desk: Desk
) -> None:
    desk.verdict = lambda text: InvalidMessage("poison") if text == "poison" else None
    await send_raw(reading, b"X-Odd: a\rb\nc\tf\x00g\r\nOd\rd: 1\r\nno colon\r\n: no name\r\n", b"poison")
    await eventually(lambda: state_of(reading, 1))
    async with running(taking, desk):
        await eventually(lambda: empty(reading))
    [(text, headers)] = await dead(reading)
    assert text == "poison"
    assert headers["X-Odd"] == "a b c f g"
    assert headers["Jobplane-Dead-Reason"] == "poison"


@pytest.mark.parametrize("room", [0, 300], ids=["full", "nearly full"])
async def test_poison_that_fills_a_message_is_dead_lettered_as_far_as_there_is_room(
    taking: Connection, reading: Connection, desk: Desk, room: int
) -> None:
    desk.verdict = lambda text: InvalidMessage("poison " * 200) if text.startswith("x") else None
    head = b"X-Large: %s\r\n" % (b"y" * 5000)
    body = b"x" * (reading.max_payload - len(head) - len(b"NATS/1.0\r\n\r\n") - room)
    await send_raw(reading, head, body)
    await eventually(lambda: state_of(reading, 1))
    async with running(taking, desk):
        await eventually(lambda: empty(reading))
        await send(reading, "a")
        await eventually(lambda: desk.done == ["a"])
    [(text, headers)] = await dead(reading)
    assert body.startswith(text.encode())
    assert "X-Large" not in headers
    assert headers.get("Jobplane-Dead-Size") == (None if len(text) == len(body) else str(len(body)))


async def test_a_message_that_fails_five_times_alone_is_dead_lettered_while_its_neighbours_pass(
    taking: Connection, reading: Connection, desk: Desk
) -> None:
    desk.verdict = lambda text: KeyError("a bug") if text == "bad" else None
    await send(reading, "a", "bad", "b", "c")
    async with running(taking, desk):
        await eventually(lambda: empty(reading), timeout=20)
    assert set(desk.done) == {"a", "b", "c"}
    assert desk.batches.count(["bad"]) == 5
    [(text, headers)] = await dead(reading)
    assert (text, headers["Jobplane-Dead-Reason"]) == ("bad", "failed 5 times alone: KeyError")


async def test_a_failure_that_passes_kills_nobody(taking: Connection, reading: Connection, desk: Desk) -> None:
    failures = iter(range(4))
    desk.verdict = lambda text: KeyError("once more") if text == "b" and next(failures, None) is not None else None
    await send(reading, "a", "b", "c")
    async with running(taking, desk):
        await eventually(lambda: empty(reading), timeout=20)
    assert set(desk.done) == {"a", "b", "c"}
    assert (await state(reading, "DLQ"))["messages"] == 0


@pytest.mark.parametrize("error", [OperationalError("away"), Unavailable("halted")], ids=["database", "journal"])
async def test_while_the_database_is_away_nothing_is_taken_and_nothing_burnt(
    taking: Connection, reading: Connection, desk: Desk, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobplane.chassis.intake._REST_S", 0.05)
    away = True
    desk.verdict = lambda _text: error if away else None
    await send(reading, "a", "b")
    async with running(taking, desk):
        await eventually(lambda: len(desk.batches) >= 8)
        await send(reading, "c")
        tried = len(desk.batches)
        await eventually(lambda: len(desk.batches) > tried + 3)
        assert desk.batches[-1] == desk.batches[0], "it holds what it has, and takes no more"
        assert await waiting(reading) == 3
        away = False
        await eventually(lambda: empty(reading))
    assert sorted(set(desk.done)) == ["a", "b", "c"]
    assert (await state(reading, "DLQ"))["messages"] == 0


async def test_an_acknowledgement_that_is_lost_brings_the_message_again(
    impatient: None, taking: Connection, reading: Connection, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_all = taking.publish_all
    lost = 0

    async def lose(messages: Sequence[tuple[str, None, bytes]]) -> None:
        nonlocal lost
        if messages[0][2] == b"+ACK" and not lost:
            lost += 1
            return
        await publish_all(messages)

    monkeypatch.setattr(taking, "publish_all", lose)
    await send(reading, "a")
    async with running(taking, desk):
        await eventually(lambda: empty(reading), timeout=15)  # the first acknowledgement is waited for 5 s
    assert desk.done == ["a", "a"]


async def test_what_cannot_be_dead_lettered_stays(
    impatient: None, taking: Connection, reading: Connection, desk: Desk, bus: Bus
) -> None:
    desk.verdict = lambda _text: InvalidMessage("poison")
    await reading.request("$JS.API.STREAM.DELETE.DLQ", b"", timeout=10)
    await send(reading, "poison")
    async with running(taking, desk):
        await eventually(lambda: desk.batches)
        assert await waiting(reading) == 1
        await ensure_streams(bus)
        await eventually(lambda: empty(reading))
    assert [text for text, _ in await dead(reading)] == ["poison"]


async def test_another_intake_gets_what_the_first_did_not_finish(
    impatient: None, taking: Connection, reading: Connection, desk: Desk
) -> None:
    desk.verdict = lambda _text: OperationalError("away")
    await send(reading, "a", "b")
    async with running(taking, desk):
        await eventually(lambda: desk.batches)
    other = Desk()
    async with running(taking, other):
        await eventually(lambda: empty(reading))
    assert sorted(other.done) == ["a", "b"]


async def test_intake_goes_on_after_a_restart_of_the_bus(
    taking: Connection, reading: Connection, desk: Desk, bus: Bus
) -> None:
    async with running(taking, desk):
        await send(reading, "a")
        await eventually(lambda: empty(reading))
        bus.kill()
        await eventually(lambda: not reading.is_connected and not taking.is_connected)
        bus.start()
        await eventually(lambda: reading.is_connected and taking.is_connected)
        await send(reading, "b")
        await eventually(lambda: empty(reading))
    assert set(desk.done) == {"a", "b"}  # a killed server may have forgotten an acknowledgement: "a" may come again


async def test_a_consumer_that_was_deleted_is_made_anew(
    taking: Connection, reading: Connection, desk: Desk, bus: Bus
) -> None:
    repairs = 0

    async def repair() -> None:
        nonlocal repairs
        repairs += 1
        await ensure_streams(bus)

    async with running(taking, desk, repair=repair):
        await send(reading, "a")
        await eventually(lambda: empty(reading))
        await reading.request("$JS.API.CONSUMER.DELETE.CMD.jobs", b"", timeout=10)
        await eventually(lambda: repairs)
        await send(reading, "b")
        await eventually(lambda: empty(reading))
    assert set(desk.done) == {"a", "b"}  # what was acknowledged but not trimmed comes again, and finds its outcome
    assert repairs == 1
