"""What a gateway does beside answering requests: relaying its journal, beating, cleaning up, and answering probes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from jobplane.chassis import database, metrics, tasks
from jobplane.chassis.bus import Connection
from jobplane.chassis.heartbeat import Heartbeat
from jobplane.chassis.loops import Loop
from jobplane.chassis.probe import Probe
from jobplane.chassis.relay import Relay
from jobplane.gateway.housekeeping import EVERY_S, Housekeeping
from jobplane.gateway.routes.health import readiness
from jobplane.gateway.wiring import Gateway

_LAST_EVENTS_S = 1.0


@asynccontextmanager
async def relaying(relay: Relay, nc: Connection) -> AsyncIterator[None]:
    """Publish the journal; at the end what is still unpublished has a second, the rest follows at the next start."""

    async def recheck() -> None:
        relay.recheck()

    forget = nc.add_reconnect_listener(recheck)
    ended = asyncio.Event()
    task = asyncio.create_task(relay.run(ended), name="relay")
    try:
        yield
    finally:
        forget()
        ended.set()
        relay.nudge()
        await asyncio.wait({task}, timeout=_LAST_EVENTS_S)
        await tasks.end(task)


@asynccontextmanager
async def working(gateway: Gateway, nc: Connection, relay: Relay, drifts: Sequence[str]) -> AsyncIterator[None]:
    """Beat, clean up and answer probes; at the end refusals that were only counted are recorded."""
    settings, pool = gateway.settings, gateway.pool
    sweep = Loop("housekeeping", Housekeeping(gateway).run_once, EVERY_S)
    probe = Probe(settings.probe_port, lambda: readiness(gateway))
    metrics.gauge("jobplane_live_clients").set_function(lambda: gateway.live.readers)
    beat = Heartbeat(
        nc,
        "gateway",
        settings.instance,
        ready=lambda: readiness(gateway),
        pool=lambda: database.pool_figures(pool),
        in_flight=lambda: gateway.bus.in_flight,
        detail=lambda: {"relayed": relay.relayed, "live_readers": gateway.live.readers, "drifts": list(drifts)},
    )
    sweep.start()
    await probe.start()
    beat.start()
    try:
        yield
    finally:
        await beat.stop()
        await probe.stop()
        await sweep.stop()
        await gateway.stop()
