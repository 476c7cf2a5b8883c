"""What strangers, and users of the bus who want more than they may, achieve: nothing."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from jobplane.chassis import bus as buses
from jobplane.chassis import queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import system
from jobplane.contracts.envelope import REPLY_TO
from jobplane.contracts.queries import JournalFigures, Nothing
from tests.integration.jobs.driving import Driver, message
from tests.support.servers import Bus
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anybody(bus: Bus) -> AsyncIterator[Connection]:
    """May do everything: watches, and plays users with rights that nobody has."""
    async with bus.connected("test") as connection:
        yield connection


async def state(anybody: Connection, stream: str) -> dict[str, Any]:
    found = json.loads((await anybody.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=10)).data)
    return dict(found["state"])


async def last_dead(anybody: Connection, before: int) -> tuple[bytes, str]:
    """Text and reason of the dead letter after those that were there before."""

    async def arrived() -> bool:
        return int((await state(anybody, "DLQ"))["last_seq"]) == before + 1

    await eventually(arrived)
    letter = await anybody.jetstream().get_msg("DLQ", before + 1)
    return letter.data or b"", (letter.headers or {})["Jobplane-Dead-Reason"]


async def assert_stream_is_the_journal(driver: Driver, anybody: Connection) -> None:
    """The stream ends where the journal ends, after another event of ours."""
    await driver.create()

    async def same() -> bool:
        figures = await queries.ask(driver.gateway, "jobs", "journal", Nothing(), JournalFigures)
        assert figures.halted is None
        return bool((await state(anybody, "EVT_JOBS"))["last_seq"] == figures.position)

    await eventually(same)


@pytest.mark.parametrize(
    "inbox",
    [
        "jobs.evt.0._.forged",
        "jobs.cmd.gateway.cancel",
        "_INBOX_worker.victim",
        "_INBOX_gatewayish.victim",
        "_INBOX_gateway",
        "_INBOX_gateway.*",
        "_INBOX_gateway.>",
    ],
)
async def test_an_outcome_goes_to_an_inbox_of_its_issuer_and_nowhere_else(
    driver: Driver, anybody: Connection, inbox: str
) -> None:
    watch = await anybody.subscribe(inbox.split(".", maxsplit=1)[0] + ".>" if inbox.startswith("_") else inbox)
    await anybody.flush()
    wanted = message(driver.creation())
    await driver.gateway.publish(
        "jobs.cmd.gateway.create", wanted.model_dump_json().encode(), headers={REPLY_TO: inbox}
    )

    async def decided() -> bool:
        return bool((await driver.page(queue=[driver.queue])).items)

    await eventually(decided)
    await anybody.flush()
    outcome = f'"command_id":"{wanted.command_id}","status"'.encode()
    assert [one async for one in _pending(watch) if outcome in one] == []
    await watch.unsubscribe()
    await assert_stream_is_the_journal(driver, anybody)


async def _pending(subscription: Any) -> AsyncIterator[bytes]:
    while subscription.pending_msgs:
        yield (await subscription.next_msg(timeout=1)).data


@pytest.mark.parametrize("reply", ["jobs.evt.0._.forged", "jobs.evt.3.default.job_completed", "dlq.jobs.command"])
async def test_a_worker_makes_nobody_write_into_a_stream(driver: Driver, anybody: Connection, reply: str) -> None:
    before = await state(anybody, "DLQ")
    lease = {"request_id": new_id(), "worker": driver.name, "kinds": ["test.echo"], "wait_ms": 0}
    await driver.worker.publish(f"jobs.lease.{driver.queue}", json.dumps(lease).encode(), reply=reply)
    await driver.worker.publish("jobs.beat", json.dumps({"worker": driver.name}).encode(), reply=reply)
    await driver.worker.publish("jobs.done", b'{"worker": "w", "items": []}', reply=reply)
    await driver.worker.flush()
    assert await driver.lease(wait_ms=0, kinds=["nothing"]) == []
    await assert_stream_is_the_journal(driver, anybody)
    assert await state(anybody, "DLQ") == before


async def test_only_the_gateway_speaks_for_people(driver: Driver, anybody: Connection) -> None:
    dead = int((await state(anybody, "DLQ"))["last_seq"])
    wanted = message(driver.creation())
    await anybody.publish("jobs.cmd.health.create", wanted.model_dump_json().encode())
    text, reason = await last_dead(anybody, dead)
    assert text == wanted.model_dump_json().encode()
    assert reason == "issuer health may not speak for a user"
    assert (await driver.page(queue=[driver.queue])).items == []

    allowed = message(driver.creation(), actor=system("cleanup"))
    await anybody.publish("jobs.cmd.health.create", allowed.model_dump_json().encode())

    async def created() -> bool:
        return bool((await driver.page(queue=[driver.queue])).items)

    await eventually(created)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"command": {"type": "explode", "job_id": new_id()}}, "command"),
        ({"command": {"type": "cancel", "job_id": new_id()}}, "was sent as"),
        ({"command": {"type": "create", "job_id": "../../etc/passwd", "kind": "x"}}, "job_id"),
        ({"command_id": "1"}, "command_id"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"actor": {"id": "me", "kind": "god"}}, "actor"),
        ({"reason": "nul\x00"}, "reason"),
        ({"surprise": 1}, "surprise"),
        ({"command": {"type": "create", "job_id": new_id(), "kind": "x", "payload": {"a": "x" * 300_000}}}, "payload"),
    ],
    ids=["verb", "subject", "job", "id", "naive time", "actor", "nul", "surprise", "large"],
)
async def test_what_is_no_command_is_dead_lettered_and_the_next_one_is_served(
    driver: Driver, anybody: Connection, change: dict[str, Any], why: str
) -> None:
    dead = int((await state(anybody, "DLQ"))["last_seq"])
    told = message(driver.creation()).model_dump(mode="json") | change
    await driver.gateway.publish("jobs.cmd.gateway.create", json.dumps(told).encode())
    assert (await driver.create()).version == 1
    _, reason = await last_dead(anybody, dead)
    assert why in reason
    assert "passwd" not in reason, "values may be secret"


@pytest.mark.parametrize("data", [b"", b"no json", b"\xff\xfe", b"[]", b'{"a":' * 5000])
async def test_noise_is_dead_lettered(driver: Driver, anybody: Connection, data: bytes) -> None:
    dead = int((await state(anybody, "DLQ"))["last_seq"])
    await driver.gateway.publish("jobs.cmd.gateway.create", data)
    assert (await last_dead(anybody, dead))[0] == data


FORBIDDEN = {
    "worker": ("jobs.cmd.worker.cancel", "jobs.evt.0._.x", "_INBOX_gateway.x", "jobs.signal.w", "jobs.query.list"),
    "gateway": ("jobs.cmd.health.create", "jobs.evt.0._.x", "jobs.lease.default", "jobs.done", "jobs.signal.w"),
    "jobs": ("jobs.evt.0._.x", "jobs.cmd.jobs.cancel", "dlq.jobs.command", "$JS.API.STREAM.INFO.EVT_JOBS"),
    "jobs-intake": ("jobs.evt.0._.x", "_INBOX_worker.x", "$JS.API.STREAM.DELETE.CMD", "jobs.signal.w"),
    "jobs-relay": ("admin.evt.x.y", "$JS.API.STREAM.DELETE.EVT_JOBS", "_INBOX_gateway.x", "jobs.cmd.x.y"),
    "gateway-relay": ("jobs.evt.0._.x", "jobs.cmd.gateway.cancel"),
    "gateway-answers": ("jobs.cmd.gateway.cancel", "jobs.query.list", "admin.evt.x.y", "_INBOX_gateway.x"),
    "audit-reader": ("jobs.cmd.gateway.cancel", "jobs.evt.0._.x", "_INBOX_gateway.x", "jobs.query.list"),
    "health-reader": ("jobs.cmd.gateway.cancel", "jobs.evt.0._.x", "$JS.API.STREAM.PURGE.CMD", "jobs.query.detail"),
    "producer": ("jobs.cmd.producer.cancel", "jobs.cmd.gateway.create", "jobs.evt.0._.x", "_INBOX_gateway.x"),
    "topology": ("jobs.evt.0._.x", "jobs.cmd.topology.cancel"),
}


ASKED_BY_THE_GATEWAY = tuple(
    f"jobs.query.{name}" for name in ("dead_letters", "dead_letter", "dead_letter_replay", "dead_letter_discard")
)


@pytest.mark.parametrize("user", FORBIDDEN)
async def test_nobody_publishes_what_is_not_theirs(bus: Bus, anybody: Connection, jobs: object, user: str) -> None:
    nc = await buses.connect(bus.url(user), user=user, name=f"forging {user}")
    subjects = (
        *FORBIDDEN[user],
        *(() if user == "gateway" else ("jobs.cmd.gateway.cancel", *ASKED_BY_THE_GATEWAY)),
        *(() if user == "topology" else ("$JS.API.STREAM.MSG.GET.DLQ", "$JS.API.STREAM.MSG.DELETE.DLQ")),
        *(() if user == "jobs-intake" else ("dlq.jobs.command",)),
    )
    watches = [await anybody.subscribe(subject) for subject in subjects]
    await anybody.flush()
    for subject in subjects:
        await nc.publish(subject, b"forged")
    await nc.flush()
    await anybody.flush()
    for watch in watches:
        assert not [one async for one in _pending(watch) if one == b"forged"], watch.subject
        await watch.unsubscribe()
    await buses.close(nc)


@pytest.mark.parametrize(
    "subject",
    ["_INBOX_gateway.>", "_INBOX_jobs.>", "jobs.cmd.>", "jobs.evt.>", "jobs.lease.>", "jobs.done", "fleet.>", ">"],
)
async def test_a_worker_does_not_listen_to_others(bus: Bus, driver: Driver, anybody: Connection, subject: str) -> None:
    spy = await buses.connect(bus.url("worker"), user="worker", name="spy")
    ears = await spy.subscribe(subject)
    await spy.flush()
    await driver.create()
    await driver.lease()
    await anybody.flush()
    await spy.flush()
    assert ears.pending_msgs == 0
    await buses.close(spy)
