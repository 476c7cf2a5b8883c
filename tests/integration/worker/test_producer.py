"""Another service enqueues over the bus; the real jobs service decides."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from jobplane.chassis import bus as buses
from jobplane.chassis import streams
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.ids import CommandId
from jobplane.contracts.jobs import JobStatus
from jobplane.worker import Context
from jobplane.worker.command_bus import CommandBus, groups
from jobplane.worker.handlers import Handlers
from jobplane.worker.producer import EnqueuedJob, InvalidJob, NewJob, NotEnqueued, Producer
from tests.integration.worker.conftest import Start
from tests.integration.worker.real_jobs import RealJobs, real_jobs
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually


@pytest.fixture
async def jobs(bus: Bus, database: Database) -> AsyncIterator[RealJobs]:
    async with real_jobs(bus, database) as service:
        yield service


@pytest.fixture
async def producer(jobs: RealJobs, bus: Bus) -> AsyncIterator[Producer]:
    async with Producer.connect(bus.url("producer"), name="shop") as connected:
        yield connected


async def test_what_is_enqueued_runs(producer: Producer, jobs: RealJobs, start: Start, handlers: Handlers) -> None:
    @handlers.handler("greet")
    async def greet(_ctx: Context, payload: dict[str, str]) -> str:
        return f"Hello, {payload['name']}!"

    await start()
    made = await producer.enqueue("greet", {"name": "Ada"}, tags=["first"])
    assert made.position == 1
    job = await jobs.becomes(made.id, JobStatus.COMPLETED)
    assert (job.result, job.tags) == ("Hello, Ada!", ["first"])


async def test_thousands_are_enqueued_at_once_in_order(producer: Producer, jobs: RealJobs) -> None:
    made = await producer.enqueue_many([NewJob(kind="k", payload={"n": n}) for n in range(2500)])
    first = [one for one in made if isinstance(one, EnqueuedJob)]
    assert [one.position for one in first] == list(range(1, 2501))
    last = await jobs.job(first[-1].id)
    assert last.payload == {"n": 2499}
    assert await producer.enqueue_many([]) == []


async def test_the_same_key_is_enqueued_once_and_another_wish_refused(producer: Producer, jobs: RealJobs) -> None:
    wish = NewJob(kind="k", payload={"n": 1}, key="order-1")
    together = await asyncio.gather(*(producer.enqueue_many([wish, NewJob(kind="k")]) for _ in range(3)))
    [made] = {one.id for one, _ in together if isinstance(one, EnqueuedJob)}
    assert (await jobs.job(made)).version == 1
    [other] = await producer.enqueue_many([NewJob(kind="k", payload={"n": 2}, key="order-1")])
    assert isinstance(other, NotEnqueued)
    assert (other.code, other.refused) == ("idempotency_key_reused", True)
    with pytest.raises(InvalidJob, match="same key"):
        await producer.enqueue_many([wish, wish])


async def test_a_taken_unique_key_gives_its_holder(producer: Producer) -> None:
    holder = await producer.enqueue("k", unique_key="one")
    again = await producer.enqueue("k", unique_key="one")
    assert (again.id, again.existed, holder.existed) == (holder.id, True, False)


async def test_it_repeats_through_a_bus_that_was_killed(producer: Producer, bus: Bus) -> None:
    await producer.enqueue("k")
    bus.kill()
    jobs = [NewJob(kind="k") for _ in range(20)]
    made, _ = await asyncio.gather(producer.enqueue_many(jobs), asyncio.to_thread(bus.start))
    assert len({one.id for one in made if isinstance(one, EnqueuedJob)}) == 20


async def test_where_nobody_decides_the_caller_is_told_what_is_known(bus: Bus) -> None:
    async with Producer.connect(bus.url("producer")) as alone:
        [outcome] = await alone.enqueue_many([NewJob(kind="k")], timeout_s=0.3)
        assert isinstance(outcome, NotEnqueued)
        assert (outcome.code, outcome.refused) == ("not_accepted", False)
        topology = await buses.connect(bus.url("topology"), user="topology", name="test topology")
        await streams.ensure(topology, "jobs")
        await buses.close(topology)
        for count in (1, 2):
            outcomes = await alone.enqueue_many([NewJob(kind="k")] * count, timeout_s=0.3)
            assert [one.code for one in outcomes if isinstance(one, NotEnqueued)] == ["not_decided"] * count


async def test_a_call_waits_no_longer_than_it_may_for_another_with_the_same_key(bus: Bus) -> None:
    wish = NewJob(kind="k", key="order-1")
    async with Producer.connect(bus.url("producer")) as alone:
        first = asyncio.create_task(alone.enqueue_many([wish], timeout_s=60))
        under_way = alone._commands._flights
        await eventually(lambda: under_way)
        [outcome] = await alone.enqueue_many([wish], timeout_s=0.05)
        assert isinstance(outcome, NotEnqueued)
        assert (first.done(), outcome.code, len(under_way)) == (False, "not_accepted", 1)
        assert "another call with the same key is under way" in outcome.detail
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert not under_way


@pytest.mark.parametrize("count", [1, 2])
async def test_what_stood_in_the_way_is_forgotten_when_it_is_overcome(bus: Bus, count: int) -> None:
    async with Producer.connect(bus.url("producer")) as alone:
        [group] = groups((CommandId(new_id()), b"{}") for _ in range(count))
        settling = asyncio.create_task(alone._commands.settle(group, 60))
        await eventually(lambda: group.obstacle == "the stream of commands is away")
        topology = await buses.connect(bus.url("topology"), user="topology", name="test topology")
        await streams.ensure(topology, "jobs")
        await buses.close(topology)
        await eventually(lambda: group.obstacle == "no outcome was told in time", timeout=30)
        assert [flight.accepted for flight in group.flights] == [True] * count
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)


async def test_a_stream_without_atomic_batches_is_served_one_by_one(bus: Bus, database: Database) -> None:
    anybody = await buses.connect(bus.url("test"), user="test", name="older version")
    config = {"name": "CMD", "subjects": ["jobs.cmd.*.*"]}
    await anybody.request("$JS.API.STREAM.CREATE.CMD", json.dumps(config).encode())
    async with real_jobs(bus, database), Producer.connect(bus.url("producer")) as producer:
        made = await producer.enqueue_many([NewJob(kind="k") for _ in range(10)])
    assert len({one.id for one in made if isinstance(one, EnqueuedJob)}) == 10
    await buses.close(anybody)


@pytest.mark.parametrize("kind", [ActorKind.USER, ActorKind.SYSTEM, ActorKind.WORKER])
async def test_a_producer_speaks_for_agents_only(
    producer: Producer, bus: Bus, monkeypatch: pytest.MonkeyPatch, kind: ActorKind
) -> None:
    anybody = await buses.connect(bus.url("test"), user="test", name="anybody")
    letters = await anybody.subscribe("dlq.jobs.command")
    await anybody.flush()
    monkeypatch.setattr(producer, "_actor", Actor(id=new_id(), kind=kind, role=Role.ADMIN))
    [outcome] = await producer.enqueue_many([NewJob(kind="k")], timeout_s=0.5)
    assert isinstance(outcome, NotEnqueued)
    letter = await letters.next_msg(timeout=5)
    assert (letter.headers or {})["Jobplane-Dead-Reason"] == f"issuer producer may not speak for a {kind}"
    await buses.close(anybody)


async def test_an_unreadable_outcome_is_no_outcome(producer: Producer, bus: Bus) -> None:
    commands: CommandBus = producer._commands
    anybody = await buses.connect(bus.url("test"), user="test", name="anybody")
    await anybody.publish(commands._inbox, b"noise")
    await anybody.flush()
    made = await producer.enqueue("k")
    assert made.position == 1
    await eventually(lambda: not commands._flights)
    await buses.close(anybody)
