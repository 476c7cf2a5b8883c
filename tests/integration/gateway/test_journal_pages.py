"""The gateway answers with pages of its journal, and whoever answers for it may do nothing else."""

from collections.abc import AsyncIterator

import pytest

from jobplane.chassis import bus as buses
from jobplane.chassis import journal_pages
from jobplane.chassis.bus import Connection
from jobplane.contracts.queries import JOURNAL_PAGE
from jobplane.contracts.topology import EVT_ADMIN
from tests.integration.gateway.conftest import Running
from tests.support.retention import assert_as_stored
from tests.support.servers import Bus
from tests.support.waiting import eventually


@pytest.fixture
async def anybody(bus: Bus) -> AsyncIterator[Connection]:
    """May do everything."""
    async with bus.connected("test") as nc:
        yield nc


async def test_a_page_has_what_the_stream_has(gateway: Running, bus: Bus, anybody: Connection) -> None:
    for name in ("nobody", "nöbody 100 %"):
        await gateway.client().post("/api/admin/token", json={"username": name, "password": "no such password"})
    head = (await gateway.gateway.log.journal.figures()).position
    await eventually(lambda: gateway.relay.relayed == head)
    audit = await buses.connect(bus.url("audit-reader"), user="audit-reader", name="audit-1")
    page = await journal_pages.ask(audit, EVT_ADMIN, 0, 500)
    assert [event.position for event in page.events] == list(range(1, head + 1))
    assert head > 2
    await assert_as_stored(page, anybody, EVT_ADMIN)
    assert (page.figures.position, page.figures.relayed, page.figures.halted) == (head, head, None)
    await buses.close(audit)


FORBIDDEN = (
    "jobs.cmd.gateway.cancel",
    "jobs.query.list",
    "admin.evt.login.forged",
    "_INBOX_gateway.x",
    "_INBOX_worker.x",
    "$JS.API.STREAM.INFO.EVT_ADMIN",
)


async def test_whoever_answers_publishes_to_inboxes_of_followers_only(bus: Bus, anybody: Connection) -> None:
    heard: list[str] = []
    await anybody.subscribe_sink(">", lambda subject, *_: heard.append(subject))
    await anybody.flush()
    nc = await buses.connect(bus.url("gateway-answers"), user="gateway-answers", name="forging")
    for subject in (*FORBIDDEN, "_INBOX_audit-reader.x"):
        await nc.publish(subject, b"forged")
    await nc.flush()
    await anybody.flush()
    await eventually(lambda: "_INBOX_audit-reader.x" in heard)
    assert not set(heard) & set(FORBIDDEN)
    await buses.close(nc)


@pytest.mark.parametrize(
    ("subject", "queue"),
    [
        (f"gateway.query.{JOURNAL_PAGE}", ""),
        (f"gateway.query.{JOURNAL_PAGE}", "spies"),
        ("_INBOX_gateway.>", "gateway"),
        ("jobs.cmd.>", "gateway"),
        (">", "gateway"),
    ],
)
async def test_whoever_answers_hears_questions_only_and_only_as_one_of_its_group(
    bus: Bus, anybody: Connection, subject: str, queue: str
) -> None:
    nc = await buses.connect(bus.url("gateway-answers"), user="gateway-answers", name="spying")
    ears = await nc.subscribe(subject, queue=queue)
    allowed = await nc.subscribe(f"gateway.query.{JOURNAL_PAGE}", queue="gateway")
    await nc.flush()
    for target in (f"gateway.query.{JOURNAL_PAGE}", "_INBOX_gateway.x", "jobs.cmd.gateway.cancel"):
        await anybody.publish(target, b"{}")
    await anybody.flush()
    await nc.flush()
    assert (ears.pending_msgs, allowed.pending_msgs) == (0, 1)
    await buses.close(nc)
