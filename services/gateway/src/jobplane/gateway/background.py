"""What a gateway does beside answering requests: relaying its journal, beating, cleaning up, and answering probes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from pydantic import JsonValue

from jobplane.chassis import database, journal_pages, metrics, queries, tasks
from jobplane.chassis.bus import Connection
from jobplane.chassis.heartbeat import Heartbeat
from jobplane.chassis.journal import Journal
from jobplane.chassis.loops import Loop
from jobplane.chassis.probe import Probe
from jobplane.chassis.relay import Relay
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.subjects import admin_event
from jobplane.contracts.topology import EVT_ADMIN
from jobplane.gateway.admin_log import SOURCE
from jobplane.gateway.housekeeping import EVERY_S, Housekeeping
from jobplane.gateway.routes.health import readiness
from jobplane.gateway.settings import GatewaySettings
from jobplane.gateway.wiring import Gateway

log = structlog.get_logger()

_LAST_EVENTS_S = 1.0
_COMPARED_S = 5.0
_FIGURES_EVERY_S = 5.0


def subject_of(event: EventRecord) -> str:
    """Where an event of the gateway is published."""
    return admin_event(event.type)


class JournalNews:
    """What the heartbeat tells of the journal: how far the relay is behind, and why writes are halted, if they are."""

    def __init__(self, journal: Journal, relay: Relay) -> None:
        self._journal = journal
        self._relay = relay
        self.told: dict[str, JsonValue] = {}
        """As of the last look; nothing while the journal cannot be read."""

    async def look(self) -> None:
        """Read the figures of the journal."""
        self.told = {}
        figures = await self._journal.figures(self._relay.relayed)
        lag = max(0, figures.position - figures.relayed)
        self.told = {"relay_lag": lag, "journal_halted": figures.halted}


@asynccontextmanager
async def relaying(relay: Relay, nc: Connection) -> AsyncIterator[None]:
    """Publish the journal, having compared it with the bus first, if the bus is there.

    At the end what is still unpublished has a second, the rest follows at the next start.
    """

    async def recheck() -> None:
        relay.recheck()

    forget = nc.add_reconnect_listener(recheck)
    ended = asyncio.Event()
    task = asyncio.create_task(relay.run(ended), name="relay")
    try:
        await _compared(relay)
        yield
    finally:
        forget()
        ended.set()
        relay.nudge()
        await asyncio.wait({task}, timeout=_LAST_EVENTS_S)
        await tasks.end(task)


async def _compared(relay: Relay) -> None:
    try:
        async with asyncio.timeout(_COMPARED_S):
            await relay.verified.wait()
    except TimeoutError:
        log.warning("journal.not_compared_yet")


@asynccontextmanager
async def answering(settings: GatewaySettings, journal: Journal, relay: Relay) -> AsyncIterator[None]:
    """Answer those who follow the journal and were away for longer than the bus keeps events."""
    broker = queries.broker(settings.answers_nats_url.get_secret_value(), "gateway-answers", settings.instance)
    journal_pages.serve(broker, EVT_ADMIN, journal, source=SOURCE, subject_of=subject_of, relayed=lambda: relay.relayed)
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


@asynccontextmanager
async def working(gateway: Gateway, nc: Connection, relay: Relay, drifts: Sequence[str]) -> AsyncIterator[None]:
    """Beat, clean up and answer probes; at the end refusals that were only counted are recorded."""
    settings, pool = gateway.settings, gateway.pool
    sweep = Loop("housekeeping", Housekeeping(gateway).run_once, EVERY_S)
    news = JournalNews(gateway.log.journal, relay)
    figures = Loop("journal figures", news.look, _FIGURES_EVERY_S)
    probe = Probe(settings.probe_port, lambda: readiness(gateway))
    metrics.gauge("jobplane_live_clients").set_function(lambda: gateway.live.readers)
    beat = Heartbeat(
        nc,
        "gateway",
        settings.instance,
        ready=lambda: readiness(gateway),
        pool=lambda: database.pool_figures(pool),
        in_flight=lambda: gateway.bus.in_flight,
        detail=lambda: {
            "relayed": relay.relayed,
            "live_readers": gateway.live.readers,
            "drifts": list(drifts),
            **news.told,
        },
    )
    sweep.start()
    figures.start()
    await probe.start()
    beat.start()
    try:
        yield
    finally:
        await beat.stop()
        await probe.stop()
        await figures.stop()
        await sweep.stop()
        await gateway.stop()
