import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg
from nats.errors import BadHeaderError, MaxPayloadError, NoRespondersError, StaleConnectionError
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from structlog.testing import capture_logs

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis.bus import Connection, NotConnected
from jobplane.contracts.errors import Unavailable
from jobplane.local import nats, ports
from tests.support.servers import Bus
from tests.support.waiting import eventually


@pytest.fixture
async def connection(bus: Bus) -> AsyncIterator[Connection]:
    made = await chassis_bus.connect(bus.url("test"), user="test", name="tests")
    yield made
    await chassis_bus.close(made)


async def test_inboxes_carry_the_users_prefix(connection: Connection) -> None:
    assert connection.new_inbox().startswith("_INBOX_test.")


async def test_a_server_that_starts_later_is_waited_for(bus: Bus) -> None:
    bus.stop()
    connecting = asyncio.create_task(chassis_bus.connect(bus.url("test"), user="test", name="tests"))
    await asyncio.to_thread(bus.start)
    connection = await connecting
    assert connection.is_connected
    await chassis_bus.close(connection)


async def test_nobody_there_is_unavailable_in_time() -> None:
    with pytest.raises(Unavailable, match=r"does not answer at 127\.0\.0\.1") as away:
        await chassis_bus.connect(
            f"nats://u:secret@127.0.0.1:{ports.free_port()}", user="test", name="tests", timeout_s=0.2
        )
    assert "secret" not in str(away.value)


async def test_refused_credentials_are_told_at_once(bus: Bus) -> None:
    wrong = nats.url("jobs", "wrong", f"127.0.0.1:{bus.port}")
    with pytest.raises(Unavailable, match="refuses the user jobs") as refused:
        await chassis_bus.connect(wrong, user="jobs", name="tests")
    assert refused.value.code == "bus_credentials"


async def test_while_disconnected_nothing_is_sent_and_nothing_is_kept(bus: Bus, connection: Connection) -> None:
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    await connection.subscribe("x", cb=hear)
    bus.kill()
    await eventually(lambda: not connection.is_connected)
    with pytest.raises(NotConnected) as away:
        await connection.publish("x", b"lost")
    assert isinstance(away.value, Unavailable)
    assert isinstance(away.value, NatsError)
    with pytest.raises(NotConnected):
        await connection.request("x", b"lost", timeout=1)
    await asyncio.to_thread(bus.start)
    await eventually(lambda: connection.is_connected)
    await connection.publish("x", b"kept")
    await eventually(lambda: heard == [b"kept"])


async def test_after_a_reconnect_every_listener_is_told(bus: Bus) -> None:
    told: list[str] = []

    async def listen() -> None:
        told.append("given at the start")

    async def fail() -> None:
        raise ValueError("a listener's own fault")

    async def listen_too() -> None:
        told.append("added later")

    connection = await chassis_bus.connect(bus.url("test"), user="test", name="tests", on_reconnect=listen)
    connection.add_reconnect_listener(fail)
    forget = connection.add_reconnect_listener(listen)
    connection.add_reconnect_listener(listen_too)
    forget()
    forget()
    with capture_logs() as lines:
        bus.kill()
        await eventually(lambda: not connection.is_connected)
        await asyncio.to_thread(bus.start)
        await eventually(lambda: told == ["given at the start", "added later"])
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == [
        "bus.disconnected",
        "bus.reconnected",
        "bus.listener_failed",
    ]
    await chassis_bus.close(connection)


async def test_a_denial_is_logged_because_nobody_else_hears_of_it(bus: Bus) -> None:
    worker = await chassis_bus.connect(bus.url("worker"), user="worker", name="worker-1")
    with capture_logs() as lines:
        await worker.publish("jobs.evt.0.default.job_created", b"forged")
        await eventually(lambda: any(line["event"] == "bus.denied" for line in lines))
    denied = next(line for line in lines if line["event"] == "bus.denied")
    assert denied["connection"] == "worker-1"
    assert "jobs.evt.0.default.job_created" in denied["detail"]
    await chassis_bus.close(worker)


async def test_a_failing_callback_is_logged(connection: Connection) -> None:
    async def fail(_message: Msg) -> None:
        raise KeyError("bug")

    await connection.subscribe("x", cb=fail)
    with capture_logs() as lines:
        await connection.publish("x", b"")
        await eventually(lambda: [line["event"] for line in lines] == ["bus.callback_failed"])


async def test_requests_share_an_inbox_and_each_gets_its_own_answer(connection: Connection) -> None:
    async def echo(message: Msg) -> None:
        await connection.publish(message.reply, message.data, headers=message.headers)
        await connection.publish(message.reply, b"a second answer")

    await connection.subscribe("echo", cb=echo)
    answers = await asyncio.gather(
        *(connection.request("echo", b"%d" % n, timeout=5, headers={"N": str(n)}) for n in range(50))
    )
    assert [(answer.data, answer.headers) for answer in answers] == [(b"%d" % n, {"N": str(n)}) for n in range(50)]


async def test_a_request_that_nobody_answers_ends(connection: Connection) -> None:
    with pytest.raises(NoRespondersError):
        await connection.request("nobody", timeout=5)

    async def keep_silent(_message: Msg) -> None:
        return

    await connection.subscribe("silent", cb=keep_silent)
    with pytest.raises(NatsTimeoutError):
        await connection.request("silent", timeout=0.05)


async def test_what_the_server_would_hang_up_for_is_not_sent(connection: Connection) -> None:
    with pytest.raises(MaxPayloadError):
        await connection.publish("x", bytes(connection.max_payload + 1))
    with pytest.raises(MaxPayloadError):
        await connection.publish("x", bytes(connection.max_payload - 10), headers={"name": "value"})
    with pytest.raises(BadHeaderError):
        await connection.publish_all([("x", {"a": "b\nc"}, b"")])
    await connection.flush()
    assert connection.is_connected


async def test_more_than_a_socket_takes_arrives_whole_and_in_order(connection: Connection) -> None:
    heard: list[bytes] = []
    await connection.subscribe_sink("x", lambda *message: heard.append(message[3]))
    sent = [b"%d" % n * 1000 for n in range(2000)]
    for body in sent:
        await connection.publish("x", body)
    await eventually(lambda: len(heard) == len(sent), timeout=30)
    assert heard == sent


async def test_a_sink_hears_until_it_is_ended(connection: Connection) -> None:
    heard: list[tuple[str, str, dict[str, str] | None, bytes]] = []
    end = await connection.subscribe_sink("x", lambda *message: heard.append(message))
    await connection.publish("x", b"1", reply="back", headers={"A": "b"})
    await connection.publish("x", b"2")
    await eventually(lambda: heard == [("x", "back", {"A": "b"}, b"1"), ("x", "", None, b"2")])
    await end()
    await connection.publish("x", b"3")
    await connection.flush()
    assert len(heard) == 2


async def test_a_failing_sink_ends_nothing(connection: Connection) -> None:
    heard: list[bytes] = []

    def fail_once(_subject: str, _reply: str, _headers: dict[str, str] | None, body: bytes) -> None:
        heard.append(body)
        if len(heard) == 1:
            raise KeyError("bug")

    await connection.subscribe_sink("x", fail_once)
    with capture_logs() as lines:
        await connection.publish("x", b"1")
        await connection.publish("x", b"2")
        await eventually(lambda: heard == [b"1", b"2"])
    assert [line["event"] for line in lines] == ["bus.sink_failed"]


async def test_a_connection_that_cannot_read_on_connects_anew(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    await connection.subscribe_sink("x", lambda _subject, _reply, _headers, body: heard.append(body))
    await connection.flush()
    parse = connection._ps.parse

    async def fail_once(_data: bytes) -> None:
        connection._ps.parse = parse  # type: ignore[method-assign]
        raise RuntimeError("a bug in the parser")

    monkeypatch.setattr(connection._ps, "parse", fail_once)
    with capture_logs() as lines:
        await connection.publish("x", b"lost")
        await eventually(lambda: any(line["event"] == "bus.reconnected" for line in lines))
    assert "bus.reading_ended" in [line["event"] for line in lines]
    await connection.publish("x", b"kept")
    await eventually(lambda: heard == [b"kept"])


async def test_a_socket_that_nobody_reads_is_given_up(bus: Bus) -> None:
    stalled = asyncio.Event()
    pipes: list[asyncio.Task[None]] = []
    writers: list[asyncio.StreamWriter] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = len(writers) < 4
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", bus.port)
        writers.extend((writer, server_writer))
        pipes.append(asyncio.create_task(_pipe(reader, server_writer, stalled if first else None)))
        pipes.append(asyncio.create_task(_pipe(server_reader, writer, None)))

    between = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    url = bus.url("test").replace(f":{bus.port}", f":{between.sockets[0].getsockname()[1]}")
    connection = await chassis_bus.connect(url, user="test", name="stalled")
    heard: list[bytes] = []
    await connection.subscribe_sink("x", lambda *message: heard.append(message[3]))
    stalled.set()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while True:
                await connection.publish("x", bytes(100_000))
    await connection._process_op_err(StaleConnectionError())
    await eventually(lambda: connection.is_connected, timeout=10)
    heard.clear()
    await connection.publish("x", b"afterwards")
    await eventually(lambda: heard == [b"afterwards"])
    await chassis_bus.close(connection)
    between.close()
    for writer in writers:
        writer.transport.abort()
    for pipe in pipes:
        pipe.cancel()
    await asyncio.gather(*pipes, return_exceptions=True)
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stalled: asyncio.Event | None) -> None:
    while data := await reader.read(65536):
        if stalled is not None and stalled.is_set():
            await asyncio.Event().wait()
        writer.write(data)


async def test_closing_while_disconnected_neither_raises_nor_takes_long(bus: Bus, connection: Connection) -> None:
    bus.kill()
    await eventually(lambda: not connection.is_connected)
    async with asyncio.timeout(3):
        await chassis_bus.close(connection)
    assert connection.is_closed
