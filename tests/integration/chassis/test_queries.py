import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from structlog.testing import capture_logs

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis import metrics, queries, tracing
from jobplane.chassis.bus import Connection
from jobplane.contracts.errors import InvalidMessage, Refused, Unavailable
from jobplane.contracts.message import Fact
from tests.support.servers import Bus
from tests.support.waiting import eventually


class Question(Fact):
    number: int


class Answer(Fact):
    double: int
    trace_id: str | None = None


class Service:
    """What a service does with a question."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.under_way = 0
        self.answered = 0

    async def double(self, question: Question) -> Answer:
        """Twice the number."""
        self.under_way += 1
        await self.gate.wait()
        self.under_way -= 1
        if self.error is not None:
            raise self.error
        self.answered += 1
        return Answer(double=2 * question.number, trace_id=tracing.current_trace_id())


async def serve(bus: Bus, service: Service) -> queries.Broker:
    broker = queries.broker(bus.url("jobs"), "jobs", "jobs-1")
    queries.serve(broker, "jobs", "double", Question, service.double)
    await broker.start()
    return broker


@pytest.fixture
async def service(bus: Bus) -> AsyncIterator[Service]:
    service = Service()
    broker = await serve(bus, service)
    yield service
    service.gate.set()
    await broker.stop()


@pytest.fixture
async def gateway(bus: Bus) -> AsyncIterator[Connection]:
    connection = await chassis_bus.connect(bus.url("gateway"), user="gateway", name="gateway-1")
    yield connection
    await chassis_bus.close(connection)


async def ask(gateway: Connection, number: int = 21, timeout_s: float = 2.0) -> Answer:
    return await queries.ask(gateway, "jobs", "double", Question(number=number), Answer, timeout_s)


@pytest.mark.usefixtures("service")
async def test_a_question_is_answered_in_the_same_trace(gateway: Connection) -> None:
    with tracing.span("request") as span:
        assert await ask(gateway) == Answer(double=42, trace_id=span.trace_id)
    assert 'jobplane_query_seconds_count{query="jobs.query.double"}' in metrics.text().decode()


async def test_a_refusal_keeps_code_detail_and_facts(service: Service, gateway: Connection) -> None:
    service.error = Refused("job_not_found", "there is no such job", {"status": "FAILED"})
    with pytest.raises(Refused) as refused:
        await ask(gateway)
    assert (refused.value.code, refused.value.detail) == ("job_not_found", "there is no such job")
    assert refused.value.facts == {"status": "FAILED"}


async def test_unavailable_keeps_code_and_hint(service: Service, gateway: Connection) -> None:
    service.error = Unavailable("writes are halted", code="journal_diverged", retry_after_s=30)
    with pytest.raises(Unavailable) as away:
        await ask(gateway)
    assert (away.value.code, away.value.retry_after_s) == ("journal_diverged", 30)


async def test_a_database_that_is_away_makes_the_service_unavailable(service: Service, gateway: Connection) -> None:
    service.error = psycopg.OperationalError("server closed the connection unexpectedly")
    with pytest.raises(Unavailable) as away:
        await ask(gateway)
    assert away.value.code == "database_unavailable"


async def test_a_bug_is_logged_there_and_unavailable_here(service: Service, gateway: Connection) -> None:
    service.error = KeyError("secret")
    with capture_logs() as lines, pytest.raises(Unavailable) as away:
        await ask(gateway)
    assert away.value.code == "internal"
    assert "secret" not in str(away.value)
    assert [(line["event"], line["subject"]) for line in lines] == [("query.failed", "jobs.query.double")]


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"number": "x"}', b"{}", b"\xff"])
async def test_an_unreadable_question_gets_an_answer_too(gateway: Connection, body: bytes) -> None:
    answer = await gateway.request("jobs.query.double", body, timeout=2)
    assert b'"code":"invalid_request"' in answer.data


@pytest.mark.usefixtures("service")
async def test_an_answer_of_another_shape_is_an_invalid_message(gateway: Connection) -> None:
    with pytest.raises(InvalidMessage, match=r"jobs\.query\.double answered what is not a Question"):
        await queries.ask(gateway, "jobs", "double", Question(number=1), Question)


async def test_nobody_to_ask_is_unavailable_at_once(gateway: Connection) -> None:
    with pytest.raises(Unavailable, match="the jobs service is not running"):
        await ask(gateway, timeout_s=60)


async def test_no_answer_in_time_is_unavailable(service: Service, gateway: Connection) -> None:
    service.gate.clear()
    with pytest.raises(Unavailable, match="does not answer"):
        await ask(gateway, timeout_s=0.05)


async def test_a_bus_that_is_away_is_unavailable(bus: Bus, gateway: Connection) -> None:
    bus.kill()
    await eventually(lambda: not gateway.is_connected)
    with pytest.raises(Unavailable):
        await ask(gateway)


async def test_a_slow_answer_does_not_hold_up_the_others(service: Service, gateway: Connection) -> None:
    service.gate.clear()
    waiting = [asyncio.create_task(ask(gateway, number)) for number in range(5)]
    await eventually(lambda: service.under_way == 5)
    service.gate.set()
    assert [answer.double for answer in await asyncio.gather(*waiting)] == [0, 2, 4, 6, 8]


async def test_replicas_share_the_questions(bus: Bus, service: Service, gateway: Connection) -> None:
    other = Service()
    broker = await serve(bus, other)
    await asyncio.gather(*(ask(gateway, number) for number in range(40)))
    assert service.answered + other.answered == 40
    assert service.answered > 0
    assert other.answered > 0
    await broker.stop()


async def test_answers_go_on_after_the_bus_was_away(bus: Bus, service: Service, gateway: Connection) -> None:
    bus.kill()
    await eventually(lambda: not gateway.is_connected)
    await asyncio.to_thread(bus.start)

    async def answered() -> bool:
        try:
            return (await ask(gateway, timeout_s=0.5)).double == 42
        except Unavailable:
            return False

    await eventually(answered)
    assert service.answered > 0


async def test_a_forged_reply_subject_reaches_nobody(bus: Bus, service: Service) -> None:
    heard: list[bytes] = []
    test = await chassis_bus.connect(bus.url("test"), user="test", name="victim")
    await test.subscribe_sink("jobs.evt.>", lambda _subject, _reply, _headers, body: heard.append(body))
    await test.flush()
    await test.publish("jobs.query.double", b'{"number": 1}', reply="jobs.evt.0.default.job_created")
    await eventually(lambda: service.answered == 1)
    await test.flush()
    assert heard == []
    await chassis_bus.close(test)


async def test_stopping_while_the_bus_is_away_neither_raises_nor_hangs(bus: Bus) -> None:
    broker = await serve(bus, Service())
    bus.kill()
    async with asyncio.timeout(5):
        await broker.stop()
